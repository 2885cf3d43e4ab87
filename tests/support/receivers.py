"""Receivers of logs that tests can take away and bring back: streams and datagrams, fluentd's answers among them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

Address = tuple[str, int] | str


class StreamReceiver:
    """Listens on a TCP port or a unix path, and keeps what each connection sent."""

    def __init__(self, address: Address = ("127.0.0.1", 0), tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.tls = tls
        self.data: list[bytearray] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def up(self) -> None:
        """Listen."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        if isinstance(self.address, str):
            Path(self.address).unlink(missing_ok=True)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self.address)
        listener.listen()
        self.address = listener.getsockname()
        self._listener = listener
        self._spawn(self._accept, listener)

    @property
    def port(self) -> int:
        """The TCP port."""
        assert isinstance(self.address, tuple)
        return self.address[1]

    def down(self, *, politely: bool) -> None:
        """Go away; `politely` after reading everything, else as a process that is killed, with data unread."""
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            with contextlib.suppress(OSError):  # its thread may have closed it
                if not politely:
                    # Closes with RST, whatever is there to read.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(self._farewell() if politely else socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._threads.clear()

    def _farewell(self) -> int:
        """How to end a connection politely: say so, and read what still comes until the sender ends it, too."""
        return socket.SHUT_WR

    def close(self) -> None:
        """Go away at the end of a test."""
        self.down(politely=False)

    @property
    def received(self) -> bytes:
        """Everything, connection after connection."""
        with self._lock:
            return b"".join(self.data)

    def answer(self, connection: socket.socket, data: bytes) -> None:
        """Say something to who has sent `data`."""

    def _spawn(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.append(connection)
                self.data.append(bytearray())
            self._spawn(self._read, connection, self.data[-1])

    def _read(self, connection: socket.socket, data: bytearray) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self.tls is not None:
                connection = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
            while piece := connection.recv(65536):
                with self._lock:
                    data += piece
                self.answer(connection, piece)


class Fluentd(StreamReceiver):
    """Reads events of the forward protocol, and answers those that ask for it."""

    def __init__(self, address: Address = ("127.0.0.1", 0)) -> None:
        super().__init__(address)
        self._rest: dict[int, bytes] = {}
        self.events: list[list[Any]] = []
        self._answers = False

    def _farewell(self) -> int:
        """Who answers must be able to until the end; what comes later was answered by nobody, and is sent again."""
        return socket.SHUT_RD if self._answers else super()._farewell()

    def answer(self, connection: socket.socket, data: bytes) -> None:
        """Take the events that are whole."""
        number = connection.fileno()
        rest = self._rest.get(number, b"") + data
        answers = b""
        while rest:
            try:
                end = _end(rest, 0)
            except IndexError:
                break
            event = msgspec.msgpack.decode(rest[:end])
            rest = rest[end:]
            self.events.append(event)
            if len(event) > 3 and "chunk" in event[3]:
                answers += msgspec.msgpack.encode({"ack": event[3]["chunk"]})
        self._rest[number] = rest
        if answers:
            self._answers = True
            connection.sendall(answers)

    def down(self, *, politely: bool) -> None:
        """Go away, with the halves of events that are there."""
        super().down(politely=politely)
        self._rest.clear()


class DatagramReceiver:
    """Receives on a UDP port or a unix path."""

    def __init__(self, address: Address = ("127.0.0.1", 0)) -> None:
        self.address = address
        self.datagrams: list[bytes] = []
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def up(self) -> None:
        """Receive."""
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        if isinstance(self.address, str):
            Path(self.address).unlink(missing_ok=True)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self.address = self._socket.getsockname()
        self._thread = threading.Thread(target=self._read, args=(self._socket,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The UDP port."""
        assert isinstance(self.address, tuple)
        return self.address[1]

    def down(self) -> None:
        """Go away, after reading what is there."""
        assert self._socket is not None
        assert self._thread is not None
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        self._thread.join(10)
        self._socket.close()

    close = down

    def _read(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, _, _, _ = sock.recvmsg(1 << 18)
                if not data:
                    return
                self.datagrams.append(data)


def _end(data: bytes, at: int) -> int:
    """Where the msgpack object that begins at an offset ends. Raises IndexError when it is not all there."""
    kind = data[at]
    if kind < 0x80 or kind >= 0xE0 or kind in (0xC0, 0xC2, 0xC3):
        return at + 1
    if kind < 0x90:
        return _items(data, at + 1, 2 * (kind & 15))
    if kind < 0xA0:
        return _items(data, at + 1, kind & 15)
    if kind < 0xC0:
        return _within(data, at + 1 + (kind & 31))
    fixed = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
    fixed |= {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
    if kind in fixed:
        return _within(data, at + 1 + fixed[kind])
    width = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC7: 1, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}[kind]
    count = int.from_bytes(data[at + 1 : _within(data, at + 1 + width)], "big")
    begin = at + 1 + width
    if kind in (0xDC, 0xDD):
        return _items(data, begin, count)
    if kind in (0xDE, 0xDF):
        return _items(data, begin, 2 * count)
    return _within(data, begin + count + (1 if kind == 0xC7 else 0))


def _items(data: bytes, at: int, count: int) -> int:
    for _ in range(count):
        at = _end(data, at)
    return at


def _within(data: bytes, end: int) -> int:
    if end > len(data):
        raise IndexError
    return end


def unlink(path: str) -> None:
    """Remove a socket's path."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
