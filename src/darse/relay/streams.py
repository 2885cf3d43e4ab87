"""TCP: connections to a port, each with one to the container, and bytes both ways between them.

Bytes go by splice(2) through a pipe, without a copy in this process: a third of the processor time of recv(2) and
send(2), measured. The pipes are shared: a direction keeps one only while its receiver does not take what is in it, and
nothing is read from its sender meanwhile. So a peer that does not read costs a pipe (64 KiB at most, and less when the
process has many: `pipe-user-pages-soft` in proc(5)), and slows down nobody else.

The end of one direction is passed on and leaves the other one open; a reset is passed on as a reset, at once, also from
a peer of whom nothing is read at the moment. An urgent byte (MSG_OOB) is dropped, as by all who do not ask for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct

from darse.linux import loop as loops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from darse.linux.loop import Loop

    Handler = Callable[[int], None]

#: Connections of one port that are begun before it is the turn of others.
_BURST = 16
_CHUNK = 1 << 16
_SPLICE_F_MOVE, _SPLICE_F_NONBLOCK = 1, 2
_FLAGS = _SPLICE_F_MOVE | _SPLICE_F_NONBLOCK
_SPARE_PIPES = 8
# What an empty pipe takes in one piece, whatever its size.
_PIECE = 4096
# Of a socket that is neither read nor written only a reset is of interest. A hang-up is reported once, not for ever.
_ENDS = loops.ERROR | loops.ONCE
# Those that a connection may take: two sockets, and a pipe each way.
_DESCRIPTORS = 6
# How long nothing is accepted when the process, or the host, has no descriptors.
_PAUSE_SECONDS = 0.2
_RESET = struct.pack("@ii", 1, 0)
# As Go's net package has it, in seconds: a peer that is gone is noticed.
_KEEPALIVE = 15


class ConnectionLimits:
    """How many connections there are, and may be: of all ports, and of one."""

    def __init__(self, descriptors: int) -> None:
        """`descriptors` are those that the process may have."""
        self.most = max(descriptors // _DESCRIPTORS, 16)
        #: One port leaves half to the others.
        self.most_of_port = self.most // 2
        self.count = 0
        self.waiting: set[StreamPort] = set()


class Pipes:
    """Pipes that are empty."""

    def __init__(self) -> None:
        self._spare: list[tuple[int, int]] = []

    def take(self) -> tuple[int, int]:
        """An empty pipe: where to read and where to write. Raises OSError."""
        return self._spare.pop() if self._spare else os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def give(self, pipe: tuple[int, int]) -> None:
        """Give an empty pipe back."""
        if len(self._spare) < _SPARE_PIPES:
            self._spare.append(pipe)
        else:
            self.drop(pipe)

    @staticmethod
    def drop(pipe: tuple[int, int]) -> None:
        """Close a pipe, with what is in it."""
        os.close(pipe[0])
        os.close(pipe[1])


class StreamPort:
    """A listening socket, and the connections to it."""

    def __init__(
        self, loop: Loop, sock: socket.socket, target: tuple[str, int], limits: ConnectionLimits, pipes: Pipes
    ) -> None:
        """`target` is the container's address and port. Raises OSError, and leaves the socket open then."""
        self.target = target
        self._loop = loop
        self._socket = sock
        # Connections that it accepts inherit these.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _keep_alive(sock)
        self._limits = limits
        self.pipes = pipes
        self._connections: set[_Connection] = set()
        self._listening = False
        sock.setblocking(False)
        self._listen()

    @property
    def descriptor(self) -> int:
        """The listening socket's."""
        return self._socket.fileno()

    @property
    def holds_port(self) -> bool:
        """Whether its socket has the port still: one that was shut down does not listen any more."""
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def lead_to(self, target: tuple[str, int]) -> None:
        """Connect to another address of the container from now on."""
        self.target = target

    def _listen(self) -> None:
        if not self._listening and self._socket.fileno() >= 0:
            self._listening = True
            self._loop.add(self._socket.fileno(), self._connects)

    def _pause(self) -> None:
        """Accept nothing: what comes waits in the socket's backlog."""
        if self._listening:
            self._listening = False
            self._loop.remove(self._socket.fileno())

    def _connects(self, events: int) -> None:
        if events & loops.ERROR:
            self._pause()  # the engine has shut the socket down, and is about to say so
            return
        limits = self._limits
        for _ in range(_BURST):
            if limits.count >= limits.most or len(self._connections) >= limits.most_of_port:
                limits.waiting.add(self)
                self._pause()
                return
            try:
                client, _address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                    self._loop.later(_PAUSE_SECONDS, self._listen)
                    return
                continue  # a connection that has ended already: accept(2) reports that, too
            self._begin(client)

    def _begin(self, client: socket.socket) -> None:
        try:
            connection = _Connection(self, self._loop, client)
        except OSError:
            _reset(client)
            return
        self._connections.add(connection)
        self._limits.count += 1

    def ended(self, connection: _Connection) -> None:
        """A connection has ended: there is room for another one."""
        self._connections.discard(connection)
        limits = self._limits
        limits.count -= 1
        waiting, limits.waiting = limits.waiting, set()
        for port in waiting:
            port._listen()

    def stop_listening(self) -> None:
        """Close the listening socket; connections go on."""
        self._limits.waiting.discard(self)
        self._pause()
        self._socket.close()

    def close(self) -> None:
        """Close everything."""
        self.stop_listening()
        for connection in list(self._connections):
            connection.reset()


class _Way:
    """A direction of a connection: what was taken from its sender goes to its receiver."""

    __slots__ = ("at_end", "done", "held", "pipe", "receiver", "sender")

    def __init__(self, sender: socket.socket, receiver: socket.socket) -> None:
        self.sender = sender
        self.receiver = receiver
        self.pipe: tuple[int, int] | None = None
        #: Bytes in the pipe.
        self.held = 0
        self.at_end = False
        #: The end was passed on.
        self.done = False


class _Connection:
    """A client's connection and the one to the container."""

    __slots__ = ("_client", "_events", "_loop", "_port", "_target", "_ways")

    def __init__(self, port: StreamPort, loop: Loop, client: socket.socket) -> None:
        """Raises OSError when the container cannot be connected to at once."""
        self._port = port
        self._loop = loop
        self._client = client
        self._target = target = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._events: dict[int, int] = {}
        try:
            client.setblocking(False)
            target.setblocking(False)
            target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(target)
            with contextlib.suppress(BlockingIOError):
                target.connect(port.target)
        except BaseException:
            target.close()
            raise
        self._ways = (_Way(client, target), _Way(target, client))
        self._wait(target, loops.WRITE, self._connected)
        self._wait(client, _ENDS, self._left)

    def _wait(self, sock: socket.socket, events: int, handler: Handler | None = None) -> None:
        """Wait for events of a socket, or for none at all."""
        descriptor = sock.fileno()
        known = self._events.get(descriptor, 0)
        if events == known:
            return
        self._events[descriptor] = events
        if not events:
            self._loop.remove(descriptor)
        elif known:
            self._loop.change(descriptor, events)
        else:
            self._loop.add(descriptor, handler or self._ready_of(sock), events)

    def _ready_of(self, sock: socket.socket) -> Handler:
        """What is done when a socket is ready."""
        out, back = self._ways
        sending, receiving = (out, back) if sock is self._client else (back, out)

        def ready(events: int) -> None:
            try:
                if events & (loops.WRITE | loops.ERROR) and receiving.held:
                    self._give(receiving)
                if events & loops.ERROR and (sending.held or sending.at_end):
                    _raise_error(sock)
                if events & (loops.READ | loops.ERROR) and not sending.held:
                    self._take(sending)
                self._go_on()
            except OSError:
                self.reset()

        return ready

    def _left(self, _: int) -> None:
        """The client has ended its connection by a reset before the container has taken it."""
        self.reset()

    def _connected(self, _: int) -> None:
        try:
            _raise_error(self._target)
            for sock in (self._client, self._target):
                self._wait(sock, 0)
            self._go_on()
        except OSError:
            self.reset()

    def _take(self, way: _Way) -> None:
        """Move what there is from the sender to the receiver. Raises OSError when either has ended by a reset."""
        if way.at_end:
            return
        if way.pipe is None:
            way.pipe = self._port.pipes.take()
        try:
            way.held = _splice_in(way.sender, way.pipe[1])
        except BlockingIOError:
            self._give_pipe(way)
            return
        if way.held:
            self._give(way)
        else:
            way.at_end = True
            self._give_pipe(way)

    def _give(self, way: _Way) -> None:
        assert way.pipe is not None
        try:
            way.held -= os.splice(way.pipe[0], way.receiver.fileno(), way.held, flags=_FLAGS)
        except BlockingIOError:
            return
        if not way.held:
            self._give_pipe(way)

    def _give_pipe(self, way: _Way) -> None:
        if way.pipe is not None:
            self._port.pipes.give(way.pipe)
            way.pipe = None

    def _go_on(self) -> None:
        """Pass ends on, and wait for what can happen now. Raises OSError."""
        for way in self._ways:
            if way.at_end and not way.held and not way.done:
                way.done = True
                way.receiver.shutdown(socket.SHUT_WR)
        out, back = self._ways
        if out.done and back.done:
            self._close()
            return
        for sock, sending, receiving in ((self._client, out, back), (self._target, back, out)):
            reads = loops.READ if not sending.held and not sending.at_end else 0
            self._wait(sock, reads | (loops.WRITE if receiving.held else 0) or _ENDS)

    def reset(self) -> None:
        """End both connections as the container, or the client, has ended one: by a reset."""
        if self._client.fileno() >= 0:
            for sock in (self._client, self._target):
                _linger_not(sock)
            self._close()

    def _close(self) -> None:
        for sock in (self._client, self._target):
            self._wait(sock, 0)
            sock.close()
        for way in self._ways:
            if way.pipe is not None:
                self._port.pipes.drop(way.pipe)
                way.pipe = None
        self._port.ended(self)


def _splice_in(sender: socket.socket, pipe: int) -> int:
    """Move what there is from a socket to an empty pipe; return how much, 0 at the end. Raises OSError."""
    moved = 0
    with contextlib.suppress(BlockingIOError):
        moved = os.splice(sender.fileno(), pipe, _CHUNK, flags=_FLAGS)
    if moved:
        return moved
    # Either nothing is there, or splice(2) has come to a place with an urgent byte, and gets no further by itself.
    data = sender.recv(_PIECE)
    return os.write(pipe, data) if data else 0


def _raise_error(sock: socket.socket) -> None:
    """Raise OSError when a connection was reset, or has not come about."""
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _keep_alive(sock: socket.socket) -> None:
    """Have a connection, or those that a socket accepts, end when its peer is gone. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE)


def _linger_not(sock: socket.socket) -> None:
    """Have close(2) send a reset: SO_LINGER in socket(7)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _reset(sock: socket.socket) -> None:
    _linger_not(sock)
    sock.close()
