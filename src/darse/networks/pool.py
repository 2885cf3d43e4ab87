"""Network namespaces made ahead of their use, because the kernel takes longer for one than all the rest of a start.

A prepared namespace is connected to the default bridge already; only its address is missing. It is held by a
descriptor alone, so the kernel takes it back (and the veth pair with it) when the engine ends, whatever ends that.
From the first start on a network of the user's on, some others are ready, too: without a link, and with the sockets of
a name server and the rules that lead to them.

The kernel makes one namespace or link at a time (its RTNL mutex), so while starts have to make their own because the
pool is empty, the pool waits: refilling it then would only put every other start behind a namespace nobody wants yet.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from darse.core import trace
from darse.core.errors import EngineError
from darse.core.tasks import begin_lasting
from darse.linux.net import dns_sockets
from darse.linux.net.netns import Netns, NetnsThread, Owner
from darse.linux.proc.userns import IdMaps

READY = 4
# Seconds; the start that has taken one needs the processors more than the next one needs the pool.
_REFILL_AFTER = 0.05
_log = logging.getLogger(__name__)


class Prepared(msgspec.Struct):
    """A namespace, and the host's end of its link ("" without one)."""

    netns: Netns
    link: str
    #: How it was made, when that was ahead.
    steps: list[trace.Step] = []
    #: Those of its name server, with the rules that lead to them.
    name_server: list[socket.socket] = []

    def close(self) -> None:
        """Give all of it back."""
        for sock in self.name_server:
            sock.close()
        self.netns.close()


class Statistics(msgspec.Struct):
    """How the pool did."""

    taken: int = 0
    made_on_demand: int = 0
    prepared: int = 0


class PreparedLinks(Protocol):
    """The links of prepared namespaces, on the default bridge. Every method raises OSError and Conflict."""

    def plug(self, netns: Netns) -> str:
        """Give a new namespace its link, and return the link's name. Called in the pool's thread."""
        ...

    def plug_again(self, link: str) -> None:
        """Have a link on the bridge once more, which may have been deleted since."""
        ...


class NetnsPool:
    """A few prepared namespaces, refilled in the background; with `maps` each is of a user namespace of its own."""

    def __init__(self, thread: NetnsThread, maps: IdMaps | None = None) -> None:
        self._thread = thread
        self._maps = maps
        self._links: PreparedLinks | None = None
        self._ready: deque[Prepared] = deque()
        self._refill_needed = asyncio.Event()
        self._on_demand = 0
        self._nobody_waits = asyncio.Event()
        self._nobody_waits.set()
        self._refiller: asyncio.Task[None] | None = None
        self._with_names: deque[Prepared] = deque()
        self._names_refiller: asyncio.Task[None] | None = None
        self._closing = False
        self.statistics = Statistics()

    def start(self, links: PreparedLinks | None) -> None:
        """Begin to prepare namespaces; `links` is None when there is no default bridge."""
        self._links = links
        if links is not None:
            self._refill_needed.set()
            self._refiller = begin_lasting(self._refill(links), name="netns pool")

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def ready_with_name_server(self) -> int:
        """How many of those with a name server's sockets are ready."""
        return len(self._with_names)

    async def on_default_bridge(self, owner: Owner | None) -> Prepared:
        """Take a namespace that is connected to the default bridge, and `owner`'s. Raises OSError and Conflict."""
        if self._ready and owner == self._maps:
            prepared = self._ready.popleft()
            if self._ready:
                asyncio.get_running_loop().call_later(_REFILL_AFTER, self._refill_needed.set)
            else:
                self._refill_needed.set()
            self.statistics.taken += 1
            trace.prepared(prepared.steps)
            return prepared
        assert self._links is not None, "there is no default bridge"
        links = self._links
        return await self._make_on_demand(lambda: self._make(links, owner))

    async def _make_on_demand(self, make: Callable[[], Prepared]) -> Prepared:
        """Make one for a start that waits; the pools do not refill meanwhile."""
        self._on_demand += 1
        self._nobody_waits.clear()
        try:
            self.statistics.made_on_demand += 1
            return await self._thread.obtain(make)
        finally:
            self._on_demand -= 1
            if not self._on_demand:
                self._nobody_waits.set()
                self._refill_needed.set()

    def plug_again(self, link: str) -> None:
        """Have a link that was prepared on its bridge, which may have been deleted since. Raises OSError, Conflict."""
        if self._links is not None:
            self._links.plug_again(link)

    def lost(self, link: str) -> bool:
        """Throw away the prepared namespace whose link somebody has deleted; return whether it was one of these."""
        for prepared in self._ready:
            if prepared.link == link:
                self._ready.remove(prepared)
                prepared.netns.close()
                self._refill_needed.set()
                return True
        return False

    async def with_name_server(self, owner: Owner | None) -> Prepared:
        """Take a namespace with the sockets of a name server, and a loopback only. Raises OSError and NftError.

        From the first of them on some are kept ready.
        """
        self._with_names_soon()
        if self._with_names and owner == self._maps:
            prepared = self._with_names.popleft()
            self.statistics.taken += 1
            trace.prepared(prepared.steps)
            return prepared
        return await self._make_on_demand(lambda: self._make_with_name_server(owner))

    def _with_names_soon(self) -> None:
        if self._names_refiller is None or self._names_refiller.done():
            self._names_refiller = begin_lasting(self._refill_with_names(), name="netns pool, name servers")

    async def _refill_with_names(self) -> None:
        # As with the others: the start that takes one needs the processors more.
        await asyncio.sleep(_REFILL_AFTER)
        while len(self._with_names) < READY and not self._closing:
            await self._nobody_waits.wait()
            try:
                with trace.begin("prepare", "") as operation:
                    prepared = await self._thread.run(lambda: self._make_with_name_server(self._maps))
            except (EngineError, OSError) as error:
                _log.warning("cannot prepare a network namespace: %s", error)
                return
            prepared.steps = operation.steps
            self._with_names.append(prepared)
            self.statistics.prepared += 1

    def _make_with_name_server(self, owner: Owner | None) -> Prepared:
        prepared = Prepared(self._thread.make(owner), "")
        try:
            prepared.name_server = self._thread.inside(prepared.netns, _open_name_server)
        except BaseException:
            prepared.close()
            raise
        return prepared

    async def bare(self, owner: Owner | None) -> Prepared:
        """Make a namespace with a loopback only. Raises OSError."""
        return await self._thread.obtain(lambda: Prepared(self._thread.make(owner), ""))

    def _make(self, links: PreparedLinks, owner: Owner | None) -> Prepared:
        netns = self._thread.make(owner)
        try:
            return Prepared(netns, links.plug(netns))
        except BaseException:
            netns.close()
            raise

    async def _refill(self, links: PreparedLinks) -> None:
        while not self._closing:
            await self._refill_needed.wait()
            self._refill_needed.clear()
            while len(self._ready) < READY and not self._closing:
                await self._nobody_waits.wait()
                try:
                    with trace.begin("prepare", "") as operation:
                        prepared = await self._thread.run(lambda: self._make(links, self._maps))
                    prepared.steps = operation.steps
                    self._ready.append(prepared)
                except Exception as error:
                    # Starts go on without the pool, and say what is wrong if that persists; each tries it again.
                    _log.warning("cannot prepare a network namespace: %s", error)
                    break
                self.statistics.prepared += 1

    async def close(self) -> None:
        """Stop, and give back what is prepared."""
        self._closing = True
        self._refill_needed.set()
        self._nobody_waits.set()
        for refiller in (self._refiller, self._names_refiller):
            if refiller is not None:
                await refiller
        for prepared in (*self._ready, *self._with_names):
            prepared.close()
        self._ready.clear()
        self._with_names.clear()


def _open_name_server() -> list[socket.socket]:
    """In a new namespace. Raises OSError and NftError."""
    dns_sockets.redirect(fresh=True)
    return dns_sockets.open_sockets()


#: What `link_name` makes.
LINK_NAME = re.compile(r"dv[0-9a-f]{10}\Z")


def link_name() -> str:
    """A name for the host's end of a veth pair; the kernel allows fifteen characters."""
    return f"dv{secrets.token_hex(5)}"
