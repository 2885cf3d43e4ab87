"""Network namespaces made ahead of their use, because the kernel takes longer for one than all the rest of a start.

A prepared namespace is connected to the default bridge already; only its address is missing. It is held by a
descriptor alone, so the kernel takes it back (and the veth pair with it) when the engine ends, whatever ends it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from dataclasses import dataclass

from darse.linux.netlink import Netlink, add_veth, set_hairpin
from darse.linux.netns import Netns, NetnsThread

_READY = 4
_log = logging.getLogger(__name__)


@dataclass
class Prepared:
    """A namespace, and the host's end of its link ("" without one)."""

    netns: Netns
    link: str


class NetnsPool:
    """A few prepared namespaces, refilled in the background."""

    def __init__(self, thread: NetnsThread, netlink: Netlink, mtu: int) -> None:
        self._thread = thread
        self._netlink = netlink
        self._mtu = mtu
        self._bridge_index: int | None = None
        self._ready: deque[Prepared] = deque()
        self._wanted = asyncio.Event()
        self._refiller: asyncio.Task[None] | None = None

    def start(self, bridge_index: int | None) -> None:
        """Begin to prepare namespaces; `bridge_index` None: there is no default bridge to connect them to."""
        self._bridge_index = bridge_index
        if bridge_index is not None:
            self._wanted.set()
            self._refiller = asyncio.create_task(self._refill(bridge_index), name="netns pool")

    async def on_default_bridge(self, mtu: int) -> Prepared:
        """Take a namespace that is connected to the default bridge."""
        if self._ready:
            self._wanted.set()
            return self._ready.popleft()
        assert self._bridge_index is not None
        return await self.connected(self._bridge_index, mtu)

    async def connected(self, bridge_index: int, mtu: int) -> Prepared:
        """Make a namespace and connect it to a bridge."""
        netns = await self._thread.run(self._thread.make)
        link = link_name()
        try:
            self._netlink.run(add_veth(link, bridge_index, "eth0", netns.descriptor, mtu), set_hairpin(link))
        except BaseException:
            netns.close()
            raise
        return Prepared(netns, link)

    async def bare(self) -> Prepared:
        """Make a namespace with a loopback only."""
        return Prepared(await self._thread.run(self._thread.make), "")

    async def _refill(self, bridge_index: int) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                while len(self._ready) < _READY:
                    self._ready.append(await self.connected(bridge_index, self._mtu))
            except OSError as error:
                # Starts go on without the pool, and say what is wrong if that persists.
                _log.warning("cannot prepare a network namespace: %s", error)

    async def close(self) -> None:
        """Stop, and give back what is prepared."""
        if self._refiller is not None:
            self._refiller.cancel()
            await asyncio.gather(self._refiller, return_exceptions=True)
        for prepared in self._ready:
            prepared.netns.close()
        self._ready.clear()


def link_name() -> str:
    """A name for the host's end of a veth pair; the kernel allows fifteen characters."""
    return f"dv{secrets.token_hex(5)}"
