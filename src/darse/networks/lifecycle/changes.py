"""Networks made, removed and pruned: lease the pools, put it on record, have it on the host; and the way back."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator

from darse.core import executors
from darse.core.errors import Conflict, EngineError, Forbidden, SystemFault
from darse.core.events import EventLog
from darse.core.exhaustion import reason
from darse.core.filters import Filters
from darse.core.locks import KeyedLocks
from darse.core.object_references import ObjectReferences
from darse.core.state import State
from darse.networks import views
from darse.networks.configurations import apply_configuration, check_unused, define_configuration
from darse.networks.definition import PREDEFINED, check_name, check_request, define, lease_pool, pool_requests
from darse.networks.driver_registry import DriverRegistry
from darse.networks.drivers import BridgeDriver, Driver
from darse.networks.endpoint_reaper import EndpointReaper
from darse.networks.ipam import IPAMDriver, PoolRequest
from darse.networks.lifecycle.on_host import HostNetworks
from darse.networks.model import NetworkRecord, SandboxRecord
from darse.networks.store import NetworkStore
from darse.networks.subnet_lock import subnet_allocation
from darse.wire.networks import IPAMConfig, NetworkCreate, NetworkCreated, NetworksPruned

_log = logging.getLogger(__name__)


class NetworkChanges:
    """Makes and removes networks."""

    def __init__(
        self,
        state: State,
        events: EventLog,
        store: NetworkStore,
        registry: DriverRegistry,
        bridges: BridgeDriver,
        host: HostNetworks,
        reaper: EndpointReaper,
        locks: KeyedLocks,
    ) -> None:
        """`locks` are those of networks by their ids."""
        self._state = state
        self._events = events
        self._references = ObjectReferences(state)
        self._store = store
        self._registry = registry
        self._bridges = bridges
        self._host = host
        self._reaper = reaper
        self._locks = locks
        # Names of networks that are being made.
        self._reserved: set[str] = set()

    async def create(self, request: NetworkCreate) -> NetworkCreated:
        """Make a network.

        Raises Conflict for its name, Forbidden for its subnet, NotFound for its driver, InvalidParameter, SystemFault.
        """
        check_name(request.Name)
        if request.ConfigOnly:
            return self._create_configuration(request)
        request = apply_configuration(request, self._store)
        check_request(request)
        driver, ipam = await self._registry.for_request(request)
        asked = pool_requests(request)
        with self._reserve_name(request.Name):
            record = define(request, driver.name)
            async with contextlib.AsyncExitStack() as locks:
                if not (driver.keeps_outside or ipam.keeps_outside):
                    # Plugins may take as long as they like: they are not asked while others wait.
                    await locks.enter_async_context(self._locks.hold("create"))
                    await locks.enter_async_context(subnet_allocation())
                await self._make(record, driver, ipam, asked if driver.addressed else [])
        return NetworkCreated(record.id, "")

    def _create_configuration(self, request: NetworkCreate) -> NetworkCreated:
        with self._reserve_name(request.Name), self._state.transaction():
            record = define_configuration(request)
            self._store.save(record)
            self._publish_network(record, "create")
        return NetworkCreated(record.id, "")

    @contextlib.contextmanager
    def _reserve_name(self, name: str) -> Iterator[None]:
        """Have a name for a new network. Raises Conflict when another has it."""
        if self._store.by_name(name) is not None or name in self._reserved:
            raise Conflict(f"network with name {name} already exists")
        if damage := self._store.damage(name):
            raise Conflict(f"network with name {name} already exists, and its record {damage.found}: {damage.remedy}")
        self._reserved.add(name)
        try:
            yield
        finally:
            self._reserved.discard(name)

    async def _make(
        self, record: NetworkRecord, driver: Driver, ipam: IPAMDriver, asked: list[tuple[PoolRequest, IPAMConfig]]
    ) -> None:
        """Lease a network's pools, put it on record, and have it on the host; all of it or nothing."""
        async with contextlib.AsyncExitStack() as undo:
            for request, given in asked:
                pool = await lease_pool(ipam, request, given)
                if pool is not None:
                    undo.push_async_callback(_attempt, ipam.release_pool, pool)
                    record.pools.append(pool)
            await executors.kernel.run(driver.check, record)
            # The row comes first: a bridge without one would stay on the host for ever after a crash.
            self._store.save(record)
            undo.callback(self._store.delete_network, record)
            undo.push_async_callback(_attempt, driver.delete_network, record)
            try:
                await driver.create_network(record)
            except OSError as error:
                raise SystemFault(f"cannot set up network {record.name}: {reason(error)}") from error
            await self._host.rebuild_firewall()
            undo.push_async_callback(self._host.dismiss, record)
            await self._host.admit(record)
            await self._keep_internal(record)
            self._publish_network(record, "create")
            undo.pop_all()

    async def _keep_internal(self, new: NetworkRecord) -> None:
        """Have internal networks forward nothing: the first of IPv6 that leads out switches on forwarding for all."""
        if new.ipv6 and not new.internal and new.bridge:
            for record in self._store:
                if record.internal and record.ipv6 and record.bridge:
                    await executors.kernel.run(self._bridges.restore, record)

    async def remove(self, reference: str) -> None:
        """Remove a network. Raises NotFound, and Forbidden while containers are connected or for a predefined one."""
        record = self._store.get(reference)
        if record.name in PREDEFINED:
            raise Forbidden(f"{record.name} is a pre-defined network and cannot be removed")
        async with self._locks.hold(record.id):
            record = self._store.get(record.id)
            check_unused(record, self._store)
            connected = self.connected(record)
            if connected:
                endpoints = ", ".join(f'name:"{one.container_name}" id:"{one.container_id[:12]}"' for one in connected)
                raise Forbidden(
                    f"error while removing network: network {record.name} has active endpoints ({endpoints})"
                )
            await self._reaper.settle(record.id)
            await self._remove(record)

    async def _remove(self, record: NetworkRecord) -> None:
        driver = self._registry.networks.get(record.driver)
        # Rules before the bridge, as in HostNetworks.remove_all.
        self._store.hide(record)
        try:
            await self._host.rebuild_firewall()
            if driver is not None:
                await driver.delete_network(record)
            await self._host.dismiss(record)
        except (OSError, EngineError) as error:
            self._store.unhide(record)
            await self._host.rebuild_firewall()
            if isinstance(error, EngineError):
                raise
            raise SystemFault(f"cannot remove network {record.name}: {reason(error)}") from error
        try:
            with self._state.transaction():
                self._store.delete_network(record)
                self._publish_network(record, "destroy")
        except EngineError:
            self._store.unhide(record)
            await self._host.restore_or_report(record)
            await self._host.admit(record)
            await self._host.rebuild_firewall()
            raise
        ipam = self._registry.ipams.get(record.ipam_driver)
        if ipam is not None and not record.config_only:
            for pool in record.pools:
                await _attempt(ipam.release_pool, pool)

    def _publish_network(self, record: NetworkRecord, action: str) -> None:
        self._events.publish("network", action, record.id, {"name": record.name, "type": record.driver})

    def connected(self, record: NetworkRecord) -> list[SandboxRecord]:
        """The sandboxes with an endpoint on a network."""
        return [
            sandbox
            for sandbox in self._store.sandboxes.values()
            if any(endpoint.network_id == record.id for endpoint in sandbox.endpoints)
        ]

    def used(self, record: NetworkRecord) -> bool:
        """Whether containers are on a network, or are to be, or it is one that is always there."""
        return bool(record.name in PREDEFINED or self.connected(record) or self._references.network_users(record.name))

    async def prune(self, filters: Filters) -> NetworksPruned:
        """Remove the networks that no container is on or is to be on."""
        deleted = []
        for record in self._store:
            if views.prunable(record, filters) and not self.used(record):
                await self.remove(record.id)
                deleted.append(record.name)
        return NetworksPruned(deleted or None)


async def _attempt(call: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Undo something; that it cannot be undone is logged, beside the error that led here."""
    try:
        await call(*arguments)
    except (EngineError, OSError) as error:
        _log.warning("a network is not removed as it should be: %s", error)
