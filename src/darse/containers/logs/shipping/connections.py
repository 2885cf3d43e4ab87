"""Connections to receivers that say what has arrived.

A successful write says nothing: it fills a buffer of this kernel. What is known beyond that, and used:

* TCP: the other kernel has acknowledged all but SIOCOUTQ bytes. It may die with some of them unread by its process.
  Linux tells which: a process that has read everything ends its connection with FIN, one that has not with RST. So
  after FIN nothing acknowledged is sent again, and nothing unacknowledged is taken for delivered. After RST, or when
  the host has vanished, the acknowledged bytes that the other's buffer could have held, by the largest window that it
  offered, are sent again, but nothing that it has had for long.
* unix: SIOCOUTQ is 0 exactly when the other process has read everything.
* UDP: an ICMP error comes back when nobody listens, on the same host at once. Other losses go unnoticed.

The kernel has no event for an acknowledgement, so who wants to know looks at `delivered` from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from darse.containers.logs.shipping.addresses import Address, TLSFiles
from darse.core import executors
from darse.linux.descriptors import FileDescriptor
from darse.linux.net.sockets import TCP_USER_TIMEOUT, peer_window, unsettled_bytes

_CONNECT_SECONDS: Final = 10
# A host that acknowledges nothing for so long is gone.
_SILENCE_SECONDS: Final = 30
# A process reads what it was sent within this time, or is hung.
_UNREAD_SECONDS: Final = 30
_PARTING_SECONDS: Final = 5
_LONGEST_ANSWER: Final = 1 << 20
# An ICMP error comes back from another host within this time.
_ERROR_SECONDS: Final = 1.0
# UDP: so many datagrams at a time, and then a pause.
_BURST: Final = 100
_BURST_SECONDS: Final = 0.005


class _Sent(msgspec.Struct):
    """Messages that were written together: how many there were before them, and where each ends in the stream."""

    before: int
    ends: list[int]

    def messages_within(self, size: int) -> int:
        """How many messages, counted from the connection's first, end within the first `size` bytes."""
        return self.before + bisect_right(self.ends, size)


class StreamConnection:
    """A connection of tcp, tcp+tls or unix."""

    def __init__(self, address: Address, tls: TLSFiles | None = None) -> None:
        self.address = address
        self._tls_files = tls
        self._tls: _TLS | None = None
        self._socket: socket.socket | None = None
        self._descriptor: FileDescriptor | None = None
        self._wake: Callable[[], None] | None = None
        self._error: OSError | None = None
        self._received = bytearray()
        self._readable = asyncio.Event()
        self._written = 0
        self._count = 0
        self._sent: deque[_Sent] = deque()
        self._delivered = self._settled = 0
        self._largest_window = 0
        # When how many bytes were acknowledged.
        self._history: deque[tuple[float, int]] = deque()

    async def connect(self, wake: Callable[[], None]) -> None:
        """Raises OSError."""
        self._wake = wake
        async with asyncio.timeout(_CONNECT_SECONDS):  # TimeoutError is an OSError
            self._socket = await _connected(self.address, socket.SOCK_STREAM)
            self._descriptor = FileDescriptor(self._socket.fileno(), self._socket.close)
            if self.address.transport != "unix":
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, _SILENCE_SECONDS * 1000)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENCE_SECONDS)
            self._descriptor.listen(self._on_readable)
            if self._tls_files is not None:
                context = await executors.storage.run(self._tls_files.context)
                self._tls = _TLS(context, self._tls_files.server_name or self.address.host)
                await self._handshake(self._tls)

    @property
    def delivered(self) -> int:
        """Messages that the other side has; after a loss those that surely were read."""
        self._look()
        return self._delivered

    @property
    def settled(self) -> int:
        """Messages that stay delivered even if the connection is lost now."""
        self._look()
        return self._settled

    def check(self) -> None:
        """Raise OSError when the connection is lost."""
        if self._error is not None:
            raise OSError(self._error.errno or errno.EPIPE, self._error.strerror or str(self._error))

    async def send(self, pieces: Sequence[bytes]) -> None:
        """Write messages. Raises OSError when the connection is lost."""
        self.check()
        data = b"".join(pieces)
        if self._tls is not None:
            data = self._tls.encrypt(data)
            ends = [self._written + len(data)] * len(pieces)
        else:
            ends = list(accumulate(map(len, pieces), initial=self._written))[1:]
        self._sent.append(_Sent(self._count, ends))
        self._count += len(pieces)
        await self._write(data)

    async def receive(self) -> bytes:
        """Return bytes that the other side has sent. Raises OSError when no more will come."""
        while True:
            data = await self._receive()
            if self._tls is None:
                return data
            self._tls.feed(data)
            if data := self._tls.decrypt():
                return data

    async def _receive(self) -> bytes:
        while not self._received:
            self.check()
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._received)
        self._received.clear()
        return data

    async def finish(self) -> None:
        """Say that nothing follows, and wait a while for the other side to say that it has read everything."""
        self.check()
        assert self._socket is not None
        with contextlib.suppress(TimeoutError):  # it does not hang up on its own: then we do
            async with asyncio.timeout(_PARTING_SECONDS):
                if self._tls is not None:
                    await self._write(self._tls.close_notify())
                self._socket.shutdown(socket.SHUT_WR)
                while self._error is None:
                    self._received.clear()
                    self._readable.clear()
                    await self._readable.wait()
        if self.delivered < self._count:
            self.check()

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._look()
            if self._error is None:
                self._error = OSError(errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN))
            if self._descriptor is not None:
                self._descriptor.close()
            self._socket = None

    async def _handshake(self, tls: _TLS) -> None:
        while not tls.shake():
            await self._write(tls.outgoing())
            tls.feed(await self._receive())
        await self._write(tls.outgoing())

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self.check()
            assert self._socket is not None
            try:
                written = self._socket.send(view)
            except BlockingIOError:
                assert self._descriptor is not None
                await self._descriptor.writable()
                continue
            except OSError as error:
                # A unix socket tells the writer that the other end is gone; whether it had read everything is here.
                number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self._lost(OSError(number, os.strerror(number)) if number else error)
                raise
            self._written += written
            view = view[written:]

    def _on_readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if not data:
            self._lost(BrokenPipeError(errno.EPIPE, "the receiver has closed the connection"))
            return
        if len(self._received) < _LONGEST_ANSWER:  # who sends more than anybody asked for is not listened to
            self._received += data
        self._readable.set()

    def _lost(self, error: OSError) -> None:
        """Work out once what has arrived. After FIN (EPIPE for who writes on) all that was acknowledged was read."""
        if self._error is not None:
            return
        if error.errno == errno.EPIPE:
            self._look(gone=self.address.transport == "unix")
        else:
            self._delivered = self._settle()
        self._settled = self._delivered
        self._error = error
        if self._descriptor is not None:
            self._descriptor.stop_listening()
            self._descriptor.wake()
        self._readable.set()
        if self._wake is not None:
            self._wake()

    def _look(self, *, gone: bool = False) -> None:
        """See what was acknowledged. A unix socket whose other end is `gone` in peace has had everything read."""
        if self._socket is None or self._error is not None:
            return
        unsettled = 0 if gone else unsettled_bytes(self._socket)
        unix = self.address.transport == "unix"
        if unix and unsettled:
            return
        acknowledged = self._written - unsettled
        self._delivered = self._messages_within(acknowledged)
        if unix:
            self._settled = self._delivered
            self._drop_acknowledged(acknowledged)
            return
        self._largest_window = max(self._largest_window, peer_window(self._socket))
        if not self._history or self._history[-1][1] != acknowledged:
            self._history.append((time.monotonic(), acknowledged))
        self._settled = self._settle()

    def _settle(self) -> int:
        """Messages that the other process has read, if it is not hung: its buffer cannot hold them any more."""
        now = time.monotonic()
        acknowledged = self._history[-1][1] if self._history else 0
        old = 0
        while self._history and now - self._history[0][0] > _UNREAD_SECONDS:
            old = self._history.popleft()[1]
        # An offered window is what is free beside the unread, so twice the largest one covers both.
        size = max(old, acknowledged - 2 * self._largest_window) if self._largest_window else old
        settled = max(self._settled, self._messages_within(size))
        self._drop_acknowledged(size)
        return settled

    def _messages_within(self, size: int) -> int:
        found = self._settled
        for sent in self._sent:
            found = max(found, sent.messages_within(size))
            if sent.ends[-1] > size:
                break
        return found

    def _drop_acknowledged(self, size: int) -> None:
        """Drop what ends within the first `size` bytes; the count of it is kept."""
        while self._sent and self._sent[0].ends[-1] <= size:
            self._sent.popleft()


class _TLS:
    """The TLS side of a connection, over bytes that the connection carries."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=server_name)

    def feed(self, data: bytes) -> None:
        """Take bytes from the other side."""
        self._in.write(data)

    def outgoing(self) -> bytes:
        """Bytes for the other side."""
        return self._out.read()

    def shake(self) -> bool:
        """Go on with the handshake; whether it is done. Raises ssl.SSLError."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def encrypt(self, data: bytes) -> bytes:
        """The bytes that carry `data`."""
        view = memoryview(data)
        while view:
            view = view[self._object.write(view) :]
        return self._out.read()

    def decrypt(self) -> bytes:
        """What the other side says, of what was fed."""
        try:
            return self._object.read(65536)
        except ssl.SSLWantReadError:
            return b""

    def close_notify(self) -> bytes:
        """The end of the session."""
        with contextlib.suppress(ssl.SSLError):  # the other side's answer is not waited for
            self._object.unwrap()
        return self._out.read()


async def _connected(address: Address, kind: socket.SocketKind) -> socket.socket:
    """A socket that does not block, connected to the first of a name's addresses that answers. Raises OSError."""
    loop = asyncio.get_running_loop()
    flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    if address.path:
        candidates: list[tuple[socket.AddressFamily, Any]] = [(socket.AF_UNIX, address.path)]
    else:
        found = await loop.getaddrinfo(address.host, address.port, type=kind)
        candidates = [(family, target) for family, _, _, _, target in found]
    failure: OSError = OSError(errno.EADDRNOTAVAIL, f"{address.host} has no address")
    for family, target in candidates:
        sock = socket.socket(family, kind | flags)
        try:
            await loop.sock_connect(sock, target)
        except OSError as error:
            sock.close()
            failure = error
            continue
        except BaseException:
            sock.close()
            raise
        return sock
    raise failure


class DatagramConnection:
    """A connection of udp or unixgram."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._socket: socket.socket | None = None
        self._count = self._delivered = 0
        self._descriptor: FileDescriptor | None = None
        self._same_host = False
        self._last = 0.0
        # When how many messages had been sent.
        self._history: deque[tuple[float, int]] = deque()
        self._pace = _Pace()

    async def connect(self, wake: Callable[[], None]) -> None:
        """Raises OSError. Nobody tells when the other side goes, so `wake` is not called."""
        async with asyncio.timeout(_CONNECT_SECONDS):
            self._socket = await _connected(self.address, socket.SOCK_DGRAM)
            self._descriptor = FileDescriptor(self._socket.fileno(), self._socket.close)
        if not self.address.path:
            self._same_host = self._socket.getsockname()[0] == self._socket.getpeername()[0]

    @property
    def delivered(self) -> int:
        """Messages of which nobody said that they did not arrive; of a unix socket, those that were read."""
        if self._socket is not None and (not self.address.path or unsettled_bytes(self._socket) == 0):
            self._delivered = self._count
        return self._delivered

    @property
    def settled(self) -> int:
        """Messages for which no error can come back any more."""
        if self.address.path or self._same_host:
            return self.delivered
        now = time.monotonic()
        if now - self._last > _ERROR_SECONDS:
            return self._count
        while len(self._history) > 1 and now - self._history[1][0] > _ERROR_SECONDS:
            self._history.popleft()
        return self._history[0][1] if self._history else 0

    def check(self) -> None:
        """Raise OSError when an error has come back."""
        if self._socket is not None and (number := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            self._fail()
            raise OSError(number, os.strerror(number))

    async def send(self, pieces: Sequence[bytes]) -> None:
        """Send each piece as a datagram; they are one message together. Raises OSError."""
        for piece in pieces:
            await self._send(piece)
        if not self.address.path:
            self._remember()
            await self._pace.wait(len(pieces))
        # Counted when all of it is out, and nobody has refused it.
        self._count += 1

    async def send_with_descriptor(self, data: bytes, descriptor: int) -> None:
        """Send a message with a file, over a unix socket. Raises OSError."""
        await self._send(data, descriptor)
        self._count += 1

    async def _send(self, data: bytes, descriptor: int | None = None) -> None:
        while True:
            assert self._socket is not None
            try:
                if descriptor is None:
                    self._socket.send(data)
                else:
                    socket.send_fds(self._socket, [data], [descriptor])
            except BlockingIOError:
                assert self._descriptor is not None
                await self._descriptor.writable()
                continue
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):  # those are about the message
                    self._fail()
                raise
            if not self.address.path:
                self.check()
            return

    def _remember(self) -> None:
        self._last = now = time.monotonic()
        if not self._history or now - self._history[-1][0] > _ERROR_SECONDS / 10:
            self._history.append((now, self._count))

    def _fail(self) -> None:
        """An error has come back: of the message just sent on this host, else of one sent not long ago."""
        if not self.address.path and not self._same_host:
            self._count = min(self._count, self.settled)
        if self.address.path:
            self._count = self._delivered
        self._delivered = self._count

    async def finish(self) -> None:
        """Wait for errors on their way. Raises OSError."""
        if not self.address.path and not self._same_host:
            await asyncio.sleep(_ERROR_SECONDS)
        self.check()

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            _ = self.delivered
            if self._descriptor is not None:
                self._descriptor.close()
            self._socket = None


class _Pace:
    """Keeps a burst of datagrams within what the default receive buffer of a socket takes (208 KiB, 277 messages)."""

    def __init__(self) -> None:
        self._burst = 0
        self._since = 0.0

    async def wait(self, datagrams: int) -> None:
        """Count datagrams that were sent, and wait after too many at a time."""
        now = time.monotonic()
        if now - self._since > _BURST_SECONDS:
            self._since, self._burst = now, 0
        self._burst += datagrams
        if self._burst >= _BURST:
            await asyncio.sleep(_BURST_SECONDS)
