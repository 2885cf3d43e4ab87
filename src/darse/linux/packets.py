"""Messages between the engine and processes of its own: unix(7) packets with descriptors.

A packet is a serial number, which the answer repeats, and a JSON document; descriptors come with it as SCM_RIGHTS. The
document has `do`, what is asked for; an answer has `error` when it could not be done.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections import deque

from darse.linux import loop as loops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from darse.linux.loop import Loop

_SERIAL = struct.Struct("<Q")
#: The most bytes and descriptors of a packet.
LARGEST = 1 << 18
MOST_DESCRIPTORS = 16
_ANCILLARY = socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)


def pack(serial: int, document: dict[str, Any]) -> bytes:
    """A packet."""
    return _SERIAL.pack(serial) + json.dumps(document, separators=(",", ":")).encode()


def unpack(packet: bytes) -> tuple[int, dict[str, Any]]:
    """The serial number and the document of a packet. Raises ValueError and struct.error."""
    (serial,) = _SERIAL.unpack_from(packet)
    document = json.loads(packet[_SERIAL.size :])
    if not isinstance(document, dict):
        raise ValueError("not a document")  # noqa: TRY004 - of the sender
    return serial, document


def send(sock: socket.socket, packet: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send a packet. Raises OSError, BlockingIOError among them."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    sock.sendmsg([packet], ancillary)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Receive a packet, empty at the end, and the descriptors that are the caller's now. Raises OSError."""
    packet, ancillary, flags, _ = sock.recvmsg(LARGEST, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
        for descriptor in found:
            os.close(descriptor)
        raise OSError("a packet was cut off")
    return packet, list(found)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


class Channel:
    """One end of a connection in a loop; what the other side does not take at once waits here."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        received: Callable[[Channel, int, dict[str, Any], list[int]], None],
        closed: Callable[[Channel], None],
    ) -> None:
        """`received` gets packets, and owns their descriptors; `closed` is called when the other side has gone."""
        self._loop = loop
        self._socket = sock
        self._received = received
        self._closed = closed
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        sock.setblocking(False)
        loop.add(sock.fileno(), self._ready)

    @property
    def descriptor(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def send(self, serial: int, document: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a packet, now or later; to nobody after `close`."""
        if self._socket.fileno() < 0:
            return
        packet = pack(serial, document)
        if not self._unsent:
            try:
                send(self._socket, packet, descriptors)
            except BlockingIOError:
                self._loop.change(self._socket.fileno(), loops.READ | loops.WRITE)
            except OSError:
                return  # It has gone, which `_ready` hears.
            else:
                return
        # They may be closed here before the packet leaves.
        self._unsent.append((packet, [os.dup(one) for one in descriptors]))

    def _ready(self, events: int) -> None:
        if events & loops.WRITE:
            self._flush()
        if events & ~loops.WRITE:
            try:
                packet, descriptors = receive(self._socket)
            except BlockingIOError:
                return
            except OSError:
                packet, descriptors = b"", []
            if not packet:
                if self._socket.fileno() >= 0:
                    self._closed(self)
                return
            serial, document = unpack(packet)
            self._received(self, serial, document, descriptors)

    def _flush(self) -> None:
        while self._unsent:
            packet, descriptors = self._unsent[0]
            try:
                send(self._socket, packet, descriptors)
            except BlockingIOError:
                return
            except OSError:
                return  # as in `send`
            self._unsent.popleft()
            for descriptor in descriptors:
                os.close(descriptor)
        self._loop.change(self._socket.fileno(), loops.READ)

    def close(self) -> None:
        """Close this end; a second time does nothing."""
        if self._socket.fileno() >= 0:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
        while self._unsent:
            for descriptor in self._unsent.popleft()[1]:
                os.close(descriptor)
