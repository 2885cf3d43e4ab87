"""The sockets of one sandbox: queries come in over UDP and TCP, answers go out.

They were made in the sandbox's namespace, at 127.0.0.11 and a port of ours; a rule there leads port 53 to it. An open
socket keeps a namespace alive, and with it all its links. So a descriptor of the sandbox's process (a pidfd) comes with
them: when that process ends, they are closed, engine or not.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from darse.linux import loop as loops
from darse.resolver import answers, message, upstreams
from darse.resolver.message import Malformed
from darse.resolver.upstreams import QueryOrigin, SharedSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from darse.linux.loop import Loop, Timer
    from darse.resolver.message import Query
    from darse.resolver.upstreams import Server, Upstreams
    from darse.resolver.zone import SandboxView

# Datagrams of one sandbox that are taken before it is the turn of others.
_BURST = 16
# What we take over UDP: who has a longer question asks over TCP.
_LONGEST_DATAGRAM = 4096
_MOST_CONNECTIONS = 64
_IDLE_SECONDS = 10.0
# Answers that a client does not take, in bytes.
_MOST_UNSENT = 1 << 18


class Counters:
    """What the name server has done."""

    __slots__ = ("answered", "forwarded", "malformed")

    def __init__(self) -> None:
        self.answered = 0
        self.forwarded = 0
        self.malformed = 0


class Listener:
    """A sandbox's sockets."""

    __slots__ = (
        "_connections",
        "_counters",
        "_ended",
        "_loop",
        "_origin",
        "_pidfd",
        "_servers",
        "_stream",
        "_udp",
        "_upstreams",
        "sandbox",
    )

    def __init__(
        self,
        loop: Loop,
        forwarder: Upstreams,
        counters: Counters,
        sandbox: SandboxView,
        descriptors: list[int],
        ended: Callable[[Listener], None],
    ) -> None:
        """Serve `descriptors`: a pidfd, UDP and TCP sockets bound to where to listen, then UDP and TCP sockets to ask
        from. They are closed with this; `ended` is called when the process has ended.
        """
        self._loop = loop
        self._upstreams = forwarder
        self._counters = counters
        self._ended = ended
        self._connections: set[_Connection] = set()
        self._pidfd = descriptors[0]
        self._udp = socket.socket(fileno=descriptors[1])
        self._stream = socket.socket(fileno=descriptors[2])
        asking = [socket.socket(fileno=number) for number in descriptors[3:]]
        for sock in (self._udp, self._stream, *asking):
            sock.setblocking(False)
        self._origin = QueryOrigin()
        if asking:
            datagrams = [SharedSocket(loop, one) for one in asking if one.type == socket.SOCK_DGRAM]
            self._origin = QueryOrigin(datagrams, [one for one in asking if one.type == socket.SOCK_STREAM])
        self.replace(sandbox)
        loop.add(self._udp.fileno(), self._datagrams)
        loop.add(self._stream.fileno(), self._connects)
        loop.add(self._pidfd, self._process_ended)

    def replace(self, sandbox: SandboxView) -> None:
        """Answer from another view from now on."""
        self.sandbox = sandbox
        self._servers: list[Server] | None = None
        if sandbox.servers is not None:
            self._servers = []
            for text in sandbox.servers:
                try:
                    self._servers.append(upstreams.server(text))
                except OSError as error:
                    print(f"sandbox {sandbox.id}: server {text}: {error}", file=sys.stderr, flush=True)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def _process_ended(self, _: int) -> None:
        self._ended(self)

    def _datagrams(self, _: int) -> None:
        sock, counters = self._udp, self._counters
        for _number in range(_BURST):
            try:
                packet, client = sock.recvfrom(_LONGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # what an answer of before has met
            try:
                query = message.parse(packet)
            except Malformed as error:
                counters.malformed += 1
                data = error.answer
            else:
                found = answers.decide(self.sandbox, query, query.size)
                if found is None:
                    self._forward_datagram(query, packet, client)
                    continue
                counters.answered += 1
                data = found
            if data:
                self._send(data, client)

    def _send(self, data: bytes, client: object) -> None:
        try:
            self._udp.sendto(data, client)  # type: ignore[call-overload]
        except OSError:
            return  # It has gone, or takes nothing: it will ask again.

    def _forward_datagram(self, query: Query, packet: bytes, client: object) -> None:
        def answer(data: bytes) -> None:
            if self._udp.fileno() >= 0:
                self._send(message.cut(data, query, query.size), client)

        self.forward(query, packet, answer, over_tcp=False)

    def forward(self, query: Query, packet: bytes, answer: Callable[[bytes], None], *, over_tcp: bool) -> None:
        """Ask the sandbox's upstream servers, or say that there are none."""
        self._counters.forwarded += 1
        servers = self.servers()
        if servers:
            self._upstreams.forward(self._origin, query, packet, servers, answer, over_tcp=over_tcp)
        else:
            answer(message.answer(query, [], code=message.SERVFAIL))

    def servers(self) -> list[Server]:
        """The upstream servers to ask."""
        if self._servers is not None:
            return self._servers
        # No query of an internal network leaves by way of the host.
        return self._upstreams.servers if self.sandbox.forward else []

    def _connects(self, _: int) -> None:
        try:
            connection, _client = self._stream.accept()
        except OSError:
            return
        if len(self._connections) >= _MOST_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        self._connections.add(_Connection(self, self._loop, connection, self._connections))

    def take(self, packet: bytes, answer: Callable[[bytes], None]) -> bool:
        """Take a query that came over TCP; return whether the connection may go on."""
        try:
            query = message.parse(packet)
        except Malformed as error:
            self._counters.malformed += 1
            if error.answer:
                answer(error.answer)
            return bool(error.answer)
        found = answers.decide(self.sandbox, query, message.MAX_SIZE)
        if found is None:
            self.forward(query, packet, answer, over_tcp=True)
        else:
            self._counters.answered += 1
            answer(found)
        return True

    def stop_listening(self) -> None:
        """Take nothing new: another process does. What was asked is still answered."""
        for descriptor in (self._udp.fileno(), self._stream.fileno(), self._pidfd):
            self._loop.remove(descriptor)

    def close(self) -> None:
        """Close all sockets."""
        self.stop_listening()
        for connection in list(self._connections):
            connection.close()
        for shared in self._origin.udp or ():
            shared.close()
        for sock in self._origin.tcp or ():
            sock.close()
        if self._origin.tcp is not None:
            # Those in use are closed by what uses them: they come back to nobody.
            self._origin.tcp.clear()
        self._udp.close()
        self._stream.close()
        os.close(self._pidfd)


class _Connection:
    """A client's connection: queries and answers, each behind its length."""

    def __init__(self, listener: Listener, loop: Loop, sock: socket.socket, others: set[_Connection]) -> None:
        self._listener = listener
        self._loop = loop
        self._socket = sock
        self._others = others
        self._received = b""
        self._unsent = b""
        self._asked = 0
        self._at_end = False
        self._timer: Timer | None = None
        loop.add(sock.fileno(), self._ready)
        self._rest()

    def _rest(self) -> None:
        """Wait for a query, but not for ever."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.later(_IDLE_SECONDS, self._idle)

    def _idle(self) -> None:
        if self._asked:
            self._rest()
        else:
            self.close()

    def _ready(self, events: int) -> None:
        try:
            if events & loops.WRITE:
                self._flush()
            if events & loops.READ:
                self._read()
            elif events & loops.ERROR:
                self.close()  # both sides are closed: nobody takes an answer
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _read(self) -> None:
        data = self._socket.recv(message.MAX_SIZE + 2)
        if not data:
            # It may only have closed its side, and still wait for answers.
            self._at_end = True
            self._loop.change(self._socket.fileno(), 0)
            self._close_if_done()
            return
        self._rest()
        received = self._received + data
        while len(received) >= 2:
            end = 2 + int.from_bytes(received[:2], "big")
            if len(received) < end:
                break
            packet, received = received[2:end], received[end:]
            self._asked += 1
            if not self._listener.take(packet, self._answer):
                self.close()
                return
            if self._socket.fileno() < 0:
                return
        self._received = received

    def _answer(self, data: bytes) -> None:
        if self._socket.fileno() < 0:
            return
        self._asked -= 1
        self._unsent += len(data).to_bytes(2, "big") + data
        try:
            self._flush()
        except OSError:
            self.close()
            return
        if len(self._unsent) > _MOST_UNSENT:
            self.close()
        else:
            self._close_if_done()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        reading = 0 if self._at_end else loops.READ
        self._loop.change(self._socket.fileno(), reading | (loops.WRITE if self._unsent else 0))
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._at_end and not self._asked and not self._unsent:
            self.close()

    def close(self) -> None:
        """Close it; a second time does nothing."""
        self._others.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
