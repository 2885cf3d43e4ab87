"""Queries that are forwarded: to the host's servers from the host's namespace, to a sandbox's own from its.

As in docker: at most three servers, four seconds each; the next one when one answers SERVFAIL or REFUSED, is not there,
or does not answer; over TCP what came over TCP; SERVFAIL when none is left; REFUSED when too many are on their way.

From the host's namespace each UDP query has a socket of its own, connected: its port is a new random one, and the
kernel takes answers from the server only. A sandbox's namespace cannot be entered from here (that would take a
capability), so one UDP socket of it was handed over, and is shared: answers are found by server, id and question, and
when nobody waits for one the socket gives up its port and has another for the next query (connect(2) with AF_UNSPEC).
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from darse.linux import loop as loops
from darse.linux.libc import call
from darse.resolver import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from darse.linux.loop import Loop, Timer
    from darse.resolver.message import Query

SECONDS = 4.0
MOST_SERVERS = 3
#: On their way at a time, for one sandbox and for all.
MOST_OF_SANDBOX = 1024
MOST = 4096
_PORT = 53
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_UNSPECIFIED = struct.pack("@H14x", socket.AF_UNSPEC)
_BUFFER = 65535

#: An address family, and what connect(2) takes.
Server = tuple[int, tuple[str, int] | tuple[str, int, int, int]]


def server(text: str) -> Server:
    """An upstream server of a textual address; an IPv6 one may name its interface (`fe80::1%eth0`). Raises OSError."""
    if ":" not in text:
        socket.inet_pton(socket.AF_INET, text)
        return socket.AF_INET, (text, _PORT)
    address, _, interface = text.partition("%")
    socket.inet_pton(socket.AF_INET6, address)
    scope = 0
    if interface:
        scope = int(interface) if interface.isdecimal() else socket.if_nametoindex(interface)
    return socket.AF_INET6, (address, _PORT, 0, scope)


class QueryOrigin:
    """From where a sandbox's queries are asked, and how many are on their way.

    `udp` and `tcp` are the sockets of the sandbox's namespace; None: those of the host's are made here.
    """

    __slots__ = ("in_flight", "tcp", "udp")

    def __init__(self, udp: list[SharedSocket] | None = None, tcp: list[socket.socket] | None = None) -> None:
        self.udp = udp
        self.tcp = tcp
        self.in_flight = 0


class Exchange:
    """One query on its way, from server to server."""

    __slots__ = ("_attempt", "answer", "id", "loop", "origin", "over_tcp", "packet", "query", "servers", "timer")

    def __init__(
        self,
        loop: Loop,
        origin: QueryOrigin,
        query: Query,
        packet: bytes,
        servers: list[Server],
        answer: Callable[[bytes], None],
        *,
        over_tcp: bool,
    ) -> None:
        self.loop = loop
        self.origin = origin
        self.query = query
        self.packet = packet
        self.servers = servers
        self.answer = answer
        self.over_tcp = over_tcp
        self.id = 0
        self.timer: Timer | None = None
        self._attempt: _Datagram | _SharedQuery | _StreamAttempt | None = None

    def next(self) -> None:
        """Give up the server that is being asked, and ask the next one."""
        self.end_attempt()
        while self.servers:
            family, address = self.servers.pop(0)
            self.id = _new_id()
            self.timer = self.loop.later(SECONDS, self.next)
            try:
                self._ask(family, address)
            except OSError:
                # No route, no address of the family: the next one may do.
                self.end_attempt()
                continue
            return
        self.finish(message.answer(self.query, [], code=message.SERVFAIL))

    def _ask(self, family: int, address: tuple[object, ...]) -> None:
        if self.over_tcp:
            tcp = self.origin.tcp
            _StreamAttempt(self, family, address, self._data(), tcp)
        elif self.origin.udp is None:
            _Datagram(self, family, address, self._data())
        else:
            shared = next((one for one in self.origin.udp if one.family == family), None)
            if shared is None:
                raise OSError(errno.EAFNOSUPPORT, "no socket of this family")
            # There are at most MOST_OF_SANDBOX of them.
            while shared.has_asked(self.id, address):
                self.id = _new_id()
            shared.ask(self, address, self._data())

    def _data(self) -> bytes:
        return self.id.to_bytes(2, "big") + self.packet[2:]

    def begin_attempt(self, attempt: _Datagram | _SharedQuery | _StreamAttempt) -> None:
        """Have an attempt under way, which is closed when it is over."""
        self._attempt = attempt

    def receive(self, data: bytes) -> bool:
        """Take what may be the server's answer; return whether it was."""
        code = message.answers_to(data, self.id, self.query.question)
        if code < 0:
            return False
        if code in (message.SERVFAIL, message.REFUSED):
            self.next()
        else:
            self.finish(self.packet[:2] + data[2:])
        return True

    def end_attempt(self) -> None:
        """Stop asking the server at hand."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self._attempt is not None:
            attempt, self._attempt = self._attempt, None
            attempt.close()

    def finish(self, data: bytes) -> None:
        """Answer the client."""
        self.end_attempt()
        self.origin.in_flight -= 1
        answer, self.answer = self.answer, _nobody
        answer(data)


def _new_id() -> int:
    """Not guessable, unlike the client's."""
    return int.from_bytes(os.urandom(2), "big")


def _nobody(_: bytes) -> None:
    """The client has its answer."""


class Upstreams:
    """Forwards queries."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        #: Those of the host.
        self.servers: list[Server] = []
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """How many queries are on their way."""
        return self._in_flight

    def forward(
        self,
        origin: QueryOrigin,
        query: Query,
        packet: bytes,
        servers: list[Server],
        answer: Callable[[bytes], None],
        *,
        over_tcp: bool,
    ) -> None:
        """Ask `servers` in turn, and call `answer` once with what there is to say, now or later."""
        if origin.in_flight >= MOST_OF_SANDBOX or self._in_flight >= MOST:
            answer(message.answer(query, [], code=message.REFUSED))
            return
        origin.in_flight += 1
        self._in_flight += 1

        def finished(data: bytes) -> None:
            self._in_flight -= 1
            answer(data)

        chosen = servers[:MOST_SERVERS]
        Exchange(self._loop, origin, query, packet, chosen, finished, over_tcp=over_tcp).next()


class _Datagram:
    """A query over a UDP socket of its own in the host's namespace."""

    __slots__ = ("exchange", "socket")

    def __init__(self, exchange: Exchange, family: int, address: tuple[object, ...], data: bytes) -> None:
        self.exchange = exchange
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        exchange.begin_attempt(self)
        self.socket.connect(address)
        self.socket.send(data)
        exchange.loop.add(self.socket.fileno(), self._readable)

    def _readable(self, _: int) -> None:
        try:
            data = self.socket.recv(_BUFFER)
        except BlockingIOError:
            return
        except OSError:  # an ICMP message: nobody is there
            self.exchange.next()
            return
        self.exchange.receive(data)

    def close(self) -> None:
        self.exchange.loop.remove(self.socket.fileno())
        self.socket.close()


class SharedSocket:
    """A UDP socket of a sandbox's namespace, for all of its queries."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._socket = sock
        self.family = sock.family
        self._asked: dict[tuple[int, object], Exchange] = {}
        if self.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        loop.add(sock.fileno(), self._ready)

    def has_asked(self, id_: int, address: tuple[object, ...]) -> bool:
        """Whether a query of this id is on its way to a server."""
        return (id_, address[0]) in self._asked

    def ask(self, exchange: Exchange, address: tuple[object, ...], data: bytes) -> None:
        """Send a query, whose id is free. Raises OSError."""
        key = exchange.id, address[0]
        self._asked[key] = exchange
        exchange.begin_attempt(_SharedQuery(self, key))
        self._socket.sendto(data, address)

    def drop_query(self, key: tuple[int, object]) -> None:
        """Forget a query; what comes for it later is passed over."""
        self._asked.pop(key, None)
        if not self._asked and self._socket.fileno() >= 0:
            call("connect", self._socket.fileno(), _UNSPECIFIED, len(_UNSPECIFIED))

    def _ready(self, events: int) -> None:
        if events & loops.ERROR:
            self._take_error()
        if events & loops.READ:
            try:
                data, source = self._socket.recvfrom(_BUFFER)
            except OSError:
                return  # an error that was read already
            if len(data) >= 2 and source[1] == _PORT:
                exchange = self._asked.get((data[0] << 8 | data[1], source[0]))
                if exchange is not None:
                    exchange.receive(data)

    def _take_error(self) -> None:
        """An ICMP message comes with the query that it is about: ip(7) IP_RECVERR."""
        try:
            data, _, _, address = self._socket.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        except OSError:
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return
        if len(data) >= 2 and address:
            exchange = self._asked.get((data[0] << 8 | data[1], address[0]))
            if exchange is not None:
                exchange.next()

    def close(self) -> None:
        """End, and the queries on their way with it."""
        for exchange in list(self._asked.values()):
            exchange.finish(message.answer(exchange.query, [], code=message.SERVFAIL))
        self._loop.remove(self._socket.fileno())
        self._socket.close()


class _SharedQuery:
    """A query over a shared socket."""

    __slots__ = ("key", "shared")

    def __init__(self, shared: SharedSocket, key: tuple[int, object]) -> None:
        self.shared = shared
        self.key = key

    def close(self) -> None:
        self.shared.drop_query(self.key)


class _StreamAttempt:
    """A query over TCP, on a socket that is made here or one that was handed over."""

    __slots__ = ("data", "exchange", "lent", "received", "socket")

    def __init__(
        self,
        exchange: Exchange,
        family: int,
        address: tuple[object, ...],
        data: bytes,
        handed_over: list[socket.socket] | None,
    ) -> None:
        self.exchange = exchange
        self.lent = handed_over
        if handed_over is None:
            self.socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        else:
            found = next((one for one in handed_over if one.family == family), None)
            if found is None:
                raise OSError(errno.EAGAIN, "all sockets are in use")
            handed_over.remove(found)
            self.socket = found
        exchange.begin_attempt(self)
        self.data = len(data).to_bytes(2, "big") + data
        self.received = b""
        error = self.socket.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
        exchange.loop.add(self.socket.fileno(), self._ready, loops.WRITE)

    def _ready(self, events: int) -> None:
        try:
            if self.data:
                self.data = self.data[self.socket.send(self.data) :]
                if not self.data:
                    self.exchange.loop.change(self.socket.fileno(), loops.READ)
                return
            data = self.socket.recv(_BUFFER)
        except BlockingIOError:
            return
        except OSError:
            self.exchange.next()
            return
        self.received += data
        length = int.from_bytes(self.received[:2], "big")
        whole = len(self.received) >= 2 + length and len(self.received) >= 2
        if not (whole and self.exchange.receive(self.received[2 : 2 + length])) and (whole or not data):
            self.exchange.next()

    def close(self) -> None:
        self.exchange.loop.remove(self.socket.fileno())
        if self.lent is None:
            self.socket.close()
            return
        # Ends the connection, and leaves a socket that can be connected again.
        call("connect", self.socket.fileno(), _UNSPECIFIED, len(_UNSPECIFIED))
        self.lent.append(self.socket)
