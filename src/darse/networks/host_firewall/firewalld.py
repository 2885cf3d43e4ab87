"""Bridges of the engine in a zone of firewalld, where that is the host's firewall.

firewalld lets nothing pass that comes from an interface of no zone: containers would reach neither other machines nor
the host, and no rule of another table can overrule that. Its zone `trusted` lets pass what comes from its interfaces;
what containers may is the engine's table's to say. The zone has the interfaces as long as firewalld runs, and nothing
is written to its configuration. Its starts and reloads are signals on the system's bus.

Weighed: a zone and a policy of one's own, as dockerd's `docker` and `docker-forwarding`. They have to be permanent, and
firewalld makes them only by a reload, which takes away whatever the administrator has set for the time being.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection

from darse.core.tasks import begin_lasting
from darse.networks.host_firewall.bus import BUS, SYSTEM_BUS, Bus, BusError, BusMessage

ZONE = "trusted"
_NAME = "org.fedoraproject.FirewallD1"
_ZONES = (_NAME, "/org/fedoraproject/FirewallD1", f"{_NAME}.zone")
_RULES = (
    f"type='signal',sender='{BUS[0]}',interface='{BUS[2]}',member='NameOwnerChanged',arg0='{_NAME}'",
    f"type='signal',sender='{_NAME}',interface='{_NAME}',member='Reloaded'",
)
_log = logging.getLogger(__name__)


class Firewalld:
    """The host's firewalld, running or not."""

    def __init__(self, bridges: Callable[[], Collection[str]], path: str = SYSTEM_BUS) -> None:
        """`bridges` are the names of those that the engine has; `path` is the bus's socket."""
        self._bridges = bridges
        self._path = path
        self._bus: Bus | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        #: Whether firewalld runs.
        self.running = False

    async def start(self) -> None:
        """Have the bridges in the zone, now and after each start and reload; nothing where there is no bus."""
        if not os.path.exists(self._path):
            return
        try:
            self._bus = await Bus.connect(self._hear, self._lose, self._path)
            for rule in _RULES:
                await self._bus.match(rule)
            self.running = (await self._bus.call(BUS, "NameHasOwner", _NAME)) == [1]
        except (OSError, BusError) as error:
            _log.warning("the system's bus cannot be asked for firewalld: %s", error)
            return
        await self._admit_all()
        self._task = begin_lasting(self._follow(), name="firewalld")

    def _hear(self, signal: BusMessage) -> None:
        if signal.member == "NameOwnerChanged" and signal.interface == BUS[2]:
            self.running = len(signal.arguments) > 2 and bool(signal.arguments[2])
        elif signal.member != "Reloaded":
            return
        self._changed.set()

    def _lose(self) -> None:
        if self.running:
            _log.warning("the system's bus has ended: what firewalld does is not noticed until darsed starts again")
        self.running = False

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._admit_all()

    async def _admit_all(self) -> None:
        for bridge in list(self._bridges()):
            await self.admit(bridge)

    async def admit(self, bridge: str) -> None:
        """Have a bridge in the zone, unless it is in another one; that it cannot be is in the log."""
        await self._call("addInterface", bridge)

    async def dismiss(self, bridge: str) -> None:
        """Take a bridge that is gone out of the zone."""
        await self._call("removeInterface", bridge)

    async def _call(self, member: str, bridge: str) -> None:
        if self._bus is None or not self.running:
            return
        try:
            await self._bus.call(_ZONES, member, ZONE, bridge)
        except BusError as error:
            code = str(error).partition(":")[0]
            if code not in ("ZONE_ALREADY_SET", "ALREADY_ENABLED", "NOT_ENABLED", "UNKNOWN_INTERFACE"):
                _log.warning("bridge %s is not in firewalld's zone %s: %s", bridge, ZONE, error)
        except OSError as error:
            _log.warning("firewalld cannot be asked to have bridge %s in its zone %s: %s", bridge, ZONE, error)

    async def close(self) -> None:
        """Ask no more. The bridges stay in the zone, as their containers may run on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._bus is not None:
            self.running = False
            await self._bus.close()
            self._bus = None
