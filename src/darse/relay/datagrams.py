"""UDP: flows, each a client's address at one of the host's, with a socket of its own to the container.

A flow ends when nothing was sent either way for some time, as entries of the kernel's own table do. A port has so many
at most, and so have all together; the one that was used last longest ago makes room for a new one. Answers leave from
the host's address that the client has sent to: IPV6_PKTINFO, see ipv6(7).
"""

from __future__ import annotations

import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.linux.loop import Loop, Timer

#: As docker's.
IDLE_SECONDS = 90.0
#: Flows of a port.
MOST = 1024
# Datagrams of one socket that are taken before it is the turn of others.
_BURST = 32
_LONGEST = 65535
_ANCILLARY = socket.CMSG_SPACE(20)
# IPV6_RECVPKTINFO and IPV6_PKTINFO of <linux/in6.h>.
_RECVPKTINFO, _PKTINFO = 49, 50

_LOCAL = (socket.IPPROTO_IPV6, _PKTINFO)

#: A client's address, and the host's as IPV6_PKTINFO has it.
_Key = tuple[tuple[str, int, int, int], bytes]


class FlowLimits:
    """How many flows there are, and may be, of all ports: each has a socket."""

    def __init__(self, most: int) -> None:
        self.most = max(most, 16)
        self.count = 0
        self._ports: set[DatagramPort] = set()

    def add(self, port: DatagramPort) -> None:
        """There is a port."""
        self._ports.add(port)

    def remove(self, port: DatagramPort) -> None:
        """A port is there no more; fine when it is not known."""
        self._ports.discard(port)

    def make_room(self, port: DatagramPort) -> None:
        """When there is no room for another flow of a port, end one: its own where it has its share of them."""
        if self.count >= self.most:
            has_share = port.active * len(self._ports) >= self.count
            (port if has_share else max(self._ports, key=lambda one: one.active)).end_oldest()


class DatagramPort:
    """A bound socket, and the flows that come by it."""

    #: Whether its socket has the port still: nothing takes that from it. See `StreamPort`.
    holds_port = True

    def __init__(self, loop: Loop, sock: socket.socket, target: tuple[str, int], limits: FlowLimits) -> None:
        """`target` is the container's address and port. Raises OSError, and leaves the socket open then."""
        self.target = target
        self._limits = limits
        self._loop = loop
        self._socket = sock
        #: In the order in which they were used.
        self._flows: dict[_Key, _Flow] = {}
        self._timer: Timer | None = None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, _RECVPKTINFO, 1)
        loop.add(sock.fileno(), self._datagrams)
        limits.add(self)

    @property
    def descriptor(self) -> int:
        """The bound socket's."""
        return self._socket.fileno()

    @property
    def active(self) -> int:
        """How many flows there are."""
        return len(self._flows)

    def _datagrams(self, _: int) -> None:
        for _number in range(_BURST):
            try:
                data, ancillary, _flags, client = self._socket.recvmsg(_LONGEST, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue  # what an answer of before has met
            local = next((found for level, kind, found in ancillary if (level, kind) == _LOCAL), b"")
            key = (client, local)
            flow = self._flows.pop(key, None)
            if flow is None:
                try:
                    flow = self._begin(key)
                except OSError:
                    continue  # lost, as datagrams may be: the container has left, or there are no descriptors
            self._use(flow)
            flow.send(data)

    def _use(self, flow: _Flow) -> None:
        flow.last = time.monotonic()
        self._flows[flow.key] = flow

    def _begin(self, key: _Key) -> _Flow:
        if len(self._flows) >= MOST:
            self.end_oldest()
        self._limits.make_room(self)
        flow = _Flow(self, self._loop, key)
        self._limits.count += 1
        if self._timer is None:
            self._timer = self._loop.later(IDLE_SECONDS, self._end_idle)
        return flow

    def answer(self, flow: _Flow, data: bytes) -> None:
        """Send a client what the container has sent it."""
        if self._flows.pop(flow.key, None) is not None:
            self._use(flow)
        client, local = flow.key
        try:
            self._socket.sendmsg([data], [(*_LOCAL, local)] if local else [], 0, client)
        except OSError:
            return  # it has gone, or takes nothing

    def end_oldest(self) -> None:
        """End the flow that was used last longest ago; there is one."""
        self._end(next(iter(self._flows.values())))

    def _end(self, flow: _Flow) -> None:
        del self._flows[flow.key]
        self._limits.count -= 1
        flow.close()

    def _end_idle(self) -> None:
        now = time.monotonic()
        for flow in list(self._flows.values()):
            if now - flow.last < IDLE_SECONDS:
                self._timer = self._loop.later(IDLE_SECONDS - (now - flow.last), self._end_idle)
                return
            self._end(flow)
        self._timer = None

    def lead_to(self, target: tuple[str, int]) -> None:
        """Send to another address of the container from now on."""
        if target != self.target:
            self.target = target
            for flow in list(self._flows.values()):
                self._end(flow)

    def stop_listening(self) -> None:
        """Close everything: a flow without its socket has no use."""
        self.close()

    def close(self) -> None:
        """Close everything."""
        self._limits.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        for flow in list(self._flows.values()):
            self._end(flow)
        if self._socket.fileno() >= 0:
            self._loop.remove(self._socket.fileno())
            self._socket.close()


class _Flow:
    """A client's datagrams."""

    __slots__ = ("_loop", "_port", "_socket", "key", "last")

    def __init__(self, port: DatagramPort, loop: Loop, key: _Key) -> None:
        """Raises OSError."""
        self.key = key
        self.last = 0.0
        self._port = port
        self._loop = loop
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(port.target)
            loop.add(self._socket.fileno(), self._answers)
        except BaseException:
            self._socket.close()
            raise

    def send(self, data: bytes) -> None:
        """Send a datagram to the container."""
        try:
            self._socket.send(data)
        except OSError:
            return  # Nobody listens there yet, or it takes nothing: lost, as datagrams may be.

    def _answers(self, _: int) -> None:
        for _number in range(_BURST):
            try:
                data = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # that nobody listens there
            self._port.answer(self, data)

    def close(self) -> None:
        """Close its socket."""
        self._loop.remove(self._socket.fileno())
        self._socket.close()
