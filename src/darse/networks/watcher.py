"""Puts back what others take away from networks: the firewall's table, bridges, their addresses, containers' links.

The kernel reports it (linux/net/notifications.py), so nothing is asked for again and again, and a repair begins within
milliseconds. Notices say where to look; what is wrong is read from the kernel. A repair is the same as recovery at the
engine's start: everything is made anew from the records.

Another program may take the same thing away for ever. Each thing has its `Backoff`: after a few repairs at once it
waits longer and longer, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial

from darse.core import executors
from darse.core.errors import EngineError
from darse.core.locks import KeyedLocks
from darse.core.tasks import begin_lasting
from darse.linux import sysctl
from darse.linux.net.notifications import FLOWTABLE, FORWARDING, LINK, OVERRUN, LinkNotices, TableNotices
from darse.networks.backoff import Backoff
from darse.networks.drivers import BridgeDriver
from darse.networks.model import NetworkRecord, SandboxGone, StackHolders
from darse.networks.pool import NetnsPool
from darse.networks.sandboxes import Sandboxes
from darse.networks.store import NetworkStore

_log = logging.getLogger(__name__)
# Seconds. A link goes with its container; the engine hears of both, and the container's end explains the link's.
_LET_CONTAINERS_END = 0.2
_TABLE = "the firewall's table"


class NetworkRepair:
    """Listens, and repairs."""

    def __init__(
        self,
        store: NetworkStore,
        bridges: BridgeDriver,
        sandboxes: Sandboxes,
        pool: NetnsPool,
        locks: KeyedLocks,
        running: StackHolders,
        rebuild_table: Callable[[], Awaitable[None]],
        look_for_flow_tables: Callable[[], None],
    ) -> None:
        """`rebuild_table` makes the firewall's table anew; `look_for_flow_tables` adapts bridges to them."""
        self._store = store
        self._bridges = bridges
        self._sandboxes = sandboxes
        self._pool = pool
        self._locks = locks
        self._running = running
        self._rebuild_table = rebuild_table
        self._look_for_flow_tables = look_for_flow_tables
        self._links: LinkNotices | None = None
        self._table: TableNotices | None = None
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._repairing: dict[str, asyncio.Task[None]] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._forwards = False

    def listen(self, table: TableNotices | None, *, forwards: bool) -> None:
        """Hear all that happens from now on; `table`: of the firewall's; `forwards`: the host is to forward packets.

        Raises OSError.
        """
        self._forwards = forwards
        self._links, self._table = LinkNotices(), table

    def start(self) -> None:
        """Repair what others have taken away since `listen`."""
        for source in (self._links, self._table):
            if source is not None:
                source.descriptor.listen(partial(self._hear, source))

    def _hear(self, source: LinkNotices | TableNotices) -> None:
        for notice in source.read():
            if notice.what == LINK:
                if notice.gone:
                    self._bridges.is_gone(notice.name)
                self._link_changed(notice.name)
            elif notice.what == FORWARDING:
                self._forwarding_changed()
            elif notice.what == FLOWTABLE:
                self._want("flow tables", self._flow_tables_changed, _LET_CONTAINERS_END)
            elif notice.what == OVERRUN:
                self._overrun(source)
            elif notice.pid != os.getpid():
                who = f"{notice.name or 'a program'} (process {notice.pid}) changed it"
                self._want(_TABLE, partial(self._heal_table, who), 0)

    def _overrun(self, source: LinkNotices | TableNotices) -> None:
        if source is self._table:
            self._want(_TABLE, partial(self._heal_table, "others changed more rules than could be followed"), 0)
            return
        for record in self._store:
            if record.bridge:
                self._want(record.bridge, partial(self._heal_network, record.id), _LET_CONTAINERS_END)
        for sandbox_id in self._store.sandboxes:
            self._want(sandbox_id, partial(self._heal_links, sandbox_id), _LET_CONTAINERS_END)

    def _link_changed(self, name: str) -> None:
        sandbox_id = self._sandboxes.owners.get(name)
        if sandbox_id is not None:
            self._want(sandbox_id, partial(self._heal_links, sandbox_id), _LET_CONTAINERS_END)
        elif not self._pool.lost(name):
            record = next((record for record in self._store if record.bridge == name), None)
            if record is not None:
                self._want(name, partial(self._heal_network, record.id), 0)

    def _forwarding_changed(self) -> None:
        if self._forwards and not sysctl.enabled("net/ipv4/ip_forward"):
            _log.warning(
                "somebody switched off IPv4 forwarding: containers reach this host only, until `sysctl -w "
                "net.ipv4.ip_forward=1`"
            )
        # The switch of the host is copied to every link, those of internal networks among them.
        for record in self._store:
            if record.internal:
                self._want(record.bridge, partial(self._heal_network, record.id), 0)

    async def _flow_tables_changed(self) -> None:
        self._look_for_flow_tables()

    def _want(self, thing: str, repair: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Have a repair done after some `seconds`, or later when the same thing was repaired often lately."""
        if thing in self._waiting:
            return
        loop = asyncio.get_running_loop()
        backoff = self._backoffs.get(thing)
        later = backoff.wait(loop.time()) if backoff is not None else 0.0
        if later:
            _log.warning("%s is taken away again and again: the next repair is in %.0f s", thing, later)
        self._waiting[thing] = loop.call_later(max(seconds, later), self._begin, thing, repair)

    def _begin(self, thing: str, repair: Callable[[], Awaitable[None]]) -> None:
        del self._waiting[thing]
        if thing in self._repairing:
            self._want(thing, repair, _LET_CONTAINERS_END)
            return
        task = begin_lasting(self._run(thing, repair), name=f"repair of {thing}")
        self._repairing[thing] = task
        task.add_done_callback(lambda _: self._repairing.pop(thing, None))

    async def _run(self, thing: str, repair: Callable[[], Awaitable[None]]) -> None:
        try:
            await repair()
        except (EngineError, OSError) as error:
            _log.error("cannot repair %s: %s", thing, error)
            self._repaired(thing)
            self._want(thing, repair, 1)

    def _repaired(self, thing: str) -> None:
        now = asyncio.get_running_loop().time()
        self._backoffs = {name: one for name, one in self._backoffs.items() if not one.is_quiet(now)}
        self._backoffs.setdefault(thing, Backoff()).note(now)

    async def _heal_table(self, why: str) -> None:
        await self._rebuild_table()
        self._repaired(_TABLE)
        _log.warning("%s made anew: %s", _TABLE, why)

    async def _heal_network(self, network_id: str) -> None:
        """Have a bridge as it should be, with the links of the containers that run."""
        async with self._locks.hold(network_id):
            record = self._store.find(network_id)
            if record is None:
                return
            wrong = await executors.kernel.run(self._bridges.what_is_wrong, record)
            if wrong:
                await executors.kernel.run(self._bridges.restore, record)
                connected = await executors.kernel.run(self._reconnect, record)
                self._repaired(record.bridge)
                _log.warning(
                    "bridge %s of network %s was %s: put right, with %d containers",
                    *(record.bridge, record.name, wrong, connected),
                )

    def _reconnect(self, record: NetworkRecord) -> int:
        links = [
            endpoint.link
            for sandbox in list(self._store.sandboxes.values())
            for endpoint in sandbox.endpoints
            if endpoint.network_id == record.id and endpoint.link
        ]
        return sum(self._bridges.plug_again(record, link) for link in links)

    async def _heal_links(self, sandbox_id: str) -> None:
        """Have the links of a container that runs on their bridges; those that are gone are made anew."""
        sandbox = self._store.sandboxes.get(sandbox_id)
        for endpoint in list(sandbox.endpoints) if sandbox is not None else ():
            assert sandbox is not None
            record = self._store.find(endpoint.network_id)
            holder = self._running.holder_of(sandbox.container_id)
            if record is None or not record.bridge or not endpoint.link or holder is None:
                continue
            if await executors.kernel.run(self._bridges.is_plugged, endpoint.link):
                continue
            try:
                async with self._locks.hold(record.id):
                    if not await self._bridges.reconnect(record, endpoint):
                        await self._sandboxes.replug(sandbox_id, holder, record, endpoint)
            except SandboxGone:
                continue
            self._repaired(sandbox_id)
            _log.warning(
                "container %s had lost its link to network %s: connected again", sandbox.container_name, record.name
            )

    async def close(self) -> None:
        """Listen no longer, and let repairs end that have begun."""
        for source in (self._links, self._table):
            if source is not None:
                source.close()
        self._links = self._table = None
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        if self._repairing:
            await asyncio.wait(list(self._repairing.values()))
