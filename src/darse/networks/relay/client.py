"""The engine's side of the relay (`darse.relay`): which ports it is to serve, and their sockets.

The engine makes a port's socket before the container starts, and so an occupied port is an error there. It listens
from then on: what comes before the relay runs waits, and nobody waits for the relay. The engine keeps a copy of the
socket, for two reasons: a relay that was killed gets it again, and no connection is refused meanwhile; and with the
container's end it is shut down at once, whatever the relay does.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, Protocol

from darse.core import trace
from darse.networks.companions.companion import Companion
from darse.networks.companions.connection import CompanionConnection, CompanionLost, View, close_all
from darse.networks.companions.process import CompanionProcess
from darse.networks.model import PublishedPort
from darse.wire.system import Finding

_PARTS = ("relay/*.py", "linux/libc.py", "linux/loop.py", "linux/packets.py", "linux/proc/sandbox.py")
_SETTLE_SECONDS = 2.0
# No event tells that a program of the host gives up a port.
_RETRY_SECONDS = 2.0
# Changes that are on their way at a time.
_AT_ONCE = 200
_log = logging.getLogger(__name__)


class Sockets(Protocol):
    """The engine's sockets on ports of the host."""

    def socket_of(self, port: PublishedPort) -> int:
        """The descriptor of a port's socket, which is made where there is none. Raises OSError."""

    def adopt(self, port: PublishedPort, descriptor: int) -> None:
        """Keep a socket of an earlier engine, unless there is one; the descriptor is the callee's."""

    def drop_copy(self, port: PublishedPort) -> None:
        """The relay has no copy any more of a port's socket that was released."""


class PortRelay(Companion):
    """The relay of this engine."""

    ends_when_idle: ClassVar = True

    def __init__(self, directory: Path, sockets: Sockets, pid_of: Callable[[str], int | None]) -> None:
        """`directory` is for the process; `pid_of` gives that of a container's first process, None when it has none."""
        process = CompanionProcess(directory, "darse.relay.server", _PARTS)
        super().__init__(process, "relay of published ports")
        self._sockets = sockets
        self._pid_of = pid_of
        #: What is desired: the port, and its container.
        self._ports: dict[str, tuple[PublishedPort, str]] = {}
        self._drops: set[asyncio.Future[View]] = set()
        #: Of what is desired, the ports that a program of the host has, and why they are not served.
        self._lost: dict[str, str] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._closing = False

    def start(self, ports: Iterable[tuple[PublishedPort, str]]) -> None:
        """Find what runs of an engine before this one, and have it serve ports of containers, by id."""
        self._ports = {_id(port): (port, container) for port, container in ports}
        if not self._process.runs():
            # With nothing to get them from, the sockets are made at once: who connects waits for the next process.
            for port, _ in self._ports.values():
                self._open(port)
        self._find()

    def _is_needed(self) -> bool:
        return bool(self._ports)

    def serves(self, port: PublishedPort) -> bool:
        """Whether a port is to be served."""
        return _id(port) in self._ports

    def add(self, container_id: str, ports: Iterable[PublishedPort]) -> None:
        """Serve ports of a container whose sockets there are; or have them lead to another address than before."""
        added = list(ports)
        if not added:
            return
        more = f", and {len(added) - 1} more" if added[1:] else ""
        with trace.step("process", f"relay {_id(added[0])}{more}", *_command(added[0])):
            for port in added:
                self._ports[_id(port)] = port, container_id
                if self._connection is not None:
                    self._set(self._connection, port, container_id).add_done_callback(_report)
            self._keep()

    def examine(self) -> list[Finding]:
        """What `doctor` says of it."""
        if not self._ports:
            return []
        if not self._synchronized.is_set():
            text = f"does not run: {len(self._ports)} ports do not answer at the host's IPv6 addresses"
            remedy = "it is started again; if not, see the engine's log"
            return [Finding("problem", "relay of published ports", text, remedy)]
        remedy = "end the program that has it: `ss -lp` shows which. The engine tries again every two seconds"
        return [Finding("problem", f"port {id_}", reason, remedy) for id_, reason in self._lost.items()]

    def _open(self, port: PublishedPort) -> bool:
        """Have a socket on a port; whether there is one. Who has no socket is tried again."""
        id_ = _id(port)
        try:
            self._sockets.socket_of(port)
        except OSError as error:
            if id_ not in self._lost:
                _log.error("port %s does not lead to its container: %s", id_, error.strerror)
            self._lost[id_] = f"does not lead to its container: {(error.strerror or '').lower()}"
            if self._retry is None and not self._closing:
                self._retry = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._open_lost)
            return False
        if self._lost.pop(id_, None) is not None:
            _log.info("port %s leads to its container again", id_)
        return True

    def _open_lost(self) -> None:
        self._retry = None
        for id_ in list(self._lost):
            port, container_id = self._ports[id_]
            if self._open(port) and self._connection is not None:
                self._set(self._connection, port, container_id).add_done_callback(_report)

    async def close(self) -> None:
        self._closing = True
        if self._retry is not None:
            self._retry.cancel()
        await super().close()

    def _set(self, connection: CompanionConnection, port: PublishedPort, container_id: str) -> asyncio.Future[View]:
        return connection.call({"do": "set", "view": _view(port, container_id)}, [self._sockets.socket_of(port)])

    def drop(self, ports: Iterable[PublishedPort]) -> None:
        """Serve ports no more, whose sockets were shut down; fine when they are not served. `settled` waits for it."""
        for port in ports:
            if self._ports.pop(_id(port), None) is None:
                continue
            self._lost.pop(_id(port), None)
            if self._connection is None:
                self._sockets.drop_copy(port)
                continue
            drop = self._connection.call({"do": "drop", "id": _id(port)})
            self._drops.add(drop)
            drop.add_done_callback(functools.partial(self._dropped, port))

    def _dropped(self, port: PublishedPort, drop: asyncio.Future[View]) -> None:
        self._drops.discard(drop)
        self._sockets.drop_copy(port)
        _report(drop)

    async def settled(self) -> None:
        """Wait until the relay has no socket any more of ports that were dropped; not for ever."""
        if self._drops:
            _, late = await asyncio.wait(list(self._drops), timeout=_SETTLE_SECONDS)
            if late:
                _log.warning("the relay of published ports does not answer")

    def attach(self, container_id: str, pid: int) -> None:
        """A container has a process now: when that ends its ports do, also while no engine runs."""
        if self._connection is not None:
            self._attach(self._connection, container_id, pid)

    def _attach(self, connection: CompanionConnection, container_id: str, pid: int) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return  # it has ended; the engine hears of that, too
        try:
            attached = connection.call({"do": "attach", "container": container_id}, [pidfd])
            attached.add_done_callback(_report)
        finally:
            os.close(pidfd)

    async def _synchronize(self, connection: CompanionConnection) -> None:
        held = set() if self._fresh else await self._held(connection)
        calls = [connection.call({"do": "drop", "id": id_}) for id_ in held - self._ports.keys()]
        for number, id_ in enumerate(list(self._ports)):
            if number % _AT_ONCE == 0:
                for call in calls:
                    await call
                calls.clear()
            # It may have been dropped meanwhile. One that is served keeps its socket.
            port, container_id = self._ports.get(id_, (None, ""))
            if port is not None and self._open(port):
                calls.append(self._set(connection, port, container_id))
        for call in calls:
            await call
        for container_id in {container_id for _, container_id in self._ports.values()}:
            pid = self._pid_of(container_id)
            if pid is not None:
                self._attach(connection, container_id, pid)

    async def _held(self, connection: CompanionConnection) -> set[str]:
        """What a process serves, by ids; the sockets that are desired are kept."""
        held: set[str] = set()
        last, more = "", True
        while more:
            page = await connection.call({"do": "list", "after": last})
            descriptors = page.get("descriptors", [])
            for view, descriptor in zip(page["ports"], descriptors, strict=True):
                last = view["id"]
                held.add(last)
                port, _ = self._ports.get(last, (None, ""))
                if port is not None:
                    self._sockets.adopt(port, descriptor)
                else:
                    close_all([descriptor])
            more = page["more"]
        return held


def _id(port: PublishedPort) -> str:
    return f"{port.protocol} [{port.host_ip}]:{port.host_port}"


def _command(port: PublishedPort) -> list[str]:
    """What does the same in a shell."""
    kind, address = port.protocol.upper(), f"bind=[{port.host_ip}],ipv6only=1,fork"
    target = f"{kind}4:{port.container_ip}:{port.container_port}"
    return ["socat", f"{kind}6-LISTEN:{port.host_port},{address}", target]


def _view(port: PublishedPort, container_id: str) -> View:
    return {
        "id": _id(port),
        "protocol": port.protocol,
        "container": container_id,
        "address": port.container_ip,
        "port": port.container_port,
    }


def _report(done: asyncio.Future[View]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None and not isinstance(error, CompanionLost):
        _log.error("the relay of published ports has not taken a change: %s", error)
