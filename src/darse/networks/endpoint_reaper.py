"""Ends the endpoints of ended containers with those who keep something outside of the kernel and of the engine.

Plugins: network drivers, and IPAM drivers. They are called after the container's end is on record, in the background,
for they may take long or never answer; a row tells the next engine what is still to do. Endpoints of other drivers
need nothing of this: the kernel ends them with the namespace.

An endpoint that is being made, or that leaves a running container, has a row, too, for as long as its plugin may know
of something that no sandbox's row has: an engine that is killed meanwhile leaves that to the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from darse.core.errors import EngineError
from darse.core.tasks import begin_lasting
from darse.networks.drivers import Driver
from darse.networks.endpoint_addresses import EndpointAddresses
from darse.networks.model import Endpoint, NetworkRecord
from darse.networks.store import NetworkStore

_log = logging.getLogger(__name__)


class EndpointReaper:
    """Calls `leave`, `delete_endpoint` and `release_address` for endpoints whose containers have ended."""

    def __init__(self, store: NetworkStore, drivers: Mapping[str, Driver], addresses: EndpointAddresses) -> None:
        self._store = store
        self._drivers = drivers
        self._addresses = addresses
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def reaps(self, record: NetworkRecord) -> bool:
        """Whether endpoints of a network are to be recorded when their container ends."""
        driver = self._drivers.get(record.driver)
        if driver is None or driver.keeps_outside:
            return True
        try:
            return self._addresses.driver(record).keeps_outside
        except EngineError:
            return True

    def record(self, endpoint: Endpoint, *, begin: bool = True) -> None:
        """Put an ended endpoint on record, within the transaction that is open, and end it after that.

        Without `begin` it is left for `start`.
        """
        record = self._store.find(endpoint.network_id)
        if record is not None and self.reaps(record):
            self._store.save_ended(endpoint, (lambda: self._begin(endpoint)) if begin else (lambda: None))

    def expect(self, endpoint: Endpoint) -> None:
        """Have the next engine end an endpoint, if this one is killed before `settled`, `record` or a sandbox's row."""
        record = self._store.find(endpoint.network_id)
        if record is not None and self.reaps(record):
            self._store.save_ended(endpoint, lambda: None)

    def settled(self, endpoint: Endpoint) -> None:
        """An endpoint that was expected to end is a sandbox's, by the transaction that is open, or has ended."""
        record = self._store.find(endpoint.network_id)
        if record is None or self.reaps(record):
            self._store.delete_ended(endpoint)

    def start(self) -> None:
        """End what earlier engines have left."""
        kept = {endpoint.endpoint_id for sandbox in self._store.sandboxes.values() for endpoint in sandbox.endpoints}
        for endpoint in self._store.ended():
            if endpoint.endpoint_id in kept:
                self._store.delete_ended(endpoint)
            else:
                self._begin(endpoint)

    def _begin(self, endpoint: Endpoint) -> None:
        task = begin_lasting(self._end(endpoint), name=f"end of {endpoint.endpoint_id[:12]}")
        self._tasks[endpoint.endpoint_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(endpoint.endpoint_id, None))

    async def _end(self, endpoint: Endpoint) -> None:
        record = self._store.find(endpoint.network_id)
        if record is not None:
            await self._attempt(endpoint, lambda: self._end_with_driver(record, endpoint))
            await self._attempt(endpoint, lambda: self._addresses.release(record, endpoint))
        self._store.delete_ended(endpoint)

    async def _end_with_driver(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        driver = self._drivers.get(record.driver)
        if driver is not None:
            await driver.leave(record, endpoint, None)
            await driver.delete_endpoint(record, endpoint)

    async def _attempt(self, endpoint: Endpoint, call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except (EngineError, OSError) as error:
            _log.warning("network %s: an endpoint has not ended as it should: %s", endpoint.network_name, error)

    async def settle(self, network_id: str) -> None:
        """Wait until a network has no endpoints any more that are to be ended."""
        ending = {endpoint.endpoint_id for endpoint in self._store.ended() if endpoint.network_id == network_id}
        tasks = [task for endpoint_id, task in self._tasks.items() if endpoint_id in ending]
        if tasks:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Stop; the next engine ends what is left."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
