"""A connection to the system's message bus: calls whose arguments are strings, and signals.

D-Bus Specification, "Message Protocol" and "Authentication Protocol". No library is taken for it: what firewalld is
asked is five calls with one or two strings each.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from darse.core.tasks import begin_lasting

BUS: Final = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
SYSTEM_BUS: Final = "/run/dbus/system_bus_socket"
_CALL, _REPLY, _ERROR, _SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_FIXED = 16
# Bytes; the specification allows 128 MiB, and what is asked here has some dozens.
_LARGEST = 1 << 20
# firewalld answers when it has changed its rules, and after its start, when that is done.
_CALL_SECONDS = 30.0


class BusError(Exception):
    """A call that failed: `name` is the error's, the text what the other side says."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


class BusMessage(NamedTuple):
    """What comes from the bus: the strings, booleans and numbers that its body begins with."""

    kind: int
    reply_to: int
    interface: str
    member: str
    error: str
    arguments: list[str | int]


class Bus:
    """A connection. `heard` is called with each signal that `match` asks for; `lost` when the connection has ended."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        heard: Callable[[BusMessage], None],
        lost: Callable[[], None],
    ) -> None:
        self._reader, self._writer = reader, writer
        self._heard, self._lost = heard, lost
        self._serial = 0
        self._calls: dict[int, asyncio.Future[list[str | int]]] = {}
        self._reading = begin_lasting(self._read(), name="system bus")

    @classmethod
    async def connect(
        cls, heard: Callable[[BusMessage], None], lost: Callable[[], None], path: str = SYSTEM_BUS
    ) -> Bus:
        """Connect and say hello. Raises OSError and BusError."""
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await _authenticate(reader, writer)
        except BaseException:
            await _end(writer)
            raise
        bus = cls(reader, writer, heard, lost)
        try:
            await bus.call(BUS, "Hello")
        except BaseException:
            await bus.close()
            raise
        return bus

    async def call(self, target: tuple[str, str, str], member: str, *arguments: str) -> list[str | int]:
        """Call a method of (destination, object's path, interface). Raises BusError and OSError."""
        if self._reading.done():
            raise ConnectionResetError("the connection to the system's message bus has ended")
        self._serial += 1
        answer: asyncio.Future[list[str | int]] = asyncio.get_running_loop().create_future()
        self._calls[self._serial] = answer
        try:
            self._writer.write(encode_call(self._serial, target, member, arguments))
            async with asyncio.timeout(_CALL_SECONDS):
                await self._writer.drain()
                return await answer
        except TimeoutError as error:
            raise BusError("timeout", f"{target[0]} does not answer") from error
        finally:
            self._calls.pop(self._serial, None)

    async def match(self, rule: str) -> None:
        """Hear signals of a match rule. Raises BusError and OSError."""
        await self.call(BUS, "AddMatch", rule)

    async def _read(self) -> None:
        try:
            while True:
                fixed = await self._reader.readexactly(_FIXED)
                rest = await self._reader.readexactly(length_of(fixed) - _FIXED)
                self._take(decode(fixed + rest))
        except (asyncio.IncompleteReadError, OSError, ValueError):
            pass  # `lost` is called, and whoever waits for an answer has the error.
        finally:
            self._writer.close()
            for answer in self._calls.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError("the connection to the system's message bus has ended"))
            self._lost()

    def _take(self, message: BusMessage) -> None:
        if message.kind == _SIGNAL:
            self._heard(message)
            return
        answer = self._calls.get(message.reply_to)
        if answer is None or answer.done():
            return
        if message.kind == _ERROR:
            received = message.arguments[0] if message.arguments else ""
            answer.set_exception(BusError(message.error, str(received)))
        else:
            answer.set_result(message.arguments)

    async def close(self) -> None:
        """End the connection."""
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        await _end(self._writer)


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):  # the other side was first
        await writer.wait_closed()


async def _authenticate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    user = str(os.geteuid()).encode().hex()
    writer.write(b"\0AUTH EXTERNAL " + user.encode() + b"\r\n")
    received = await reader.readline()
    if not received.startswith(b"OK "):
        raise BusError("refused", f"the bus refuses this user: {received.decode(errors='replace').strip()}")
    writer.write(b"BEGIN\r\n")


def encode_call(serial: int, target: tuple[str, str, str], member: str, arguments: tuple[str, ...]) -> bytes:
    """A method call, little-endian."""
    destination, path, interface = target
    fields = [
        (_PATH, "o", path),
        (_DESTINATION, "s", destination),
        (_INTERFACE, "s", interface),
        (_MEMBER, "s", member),
    ]
    header, body = bytearray(), bytearray()
    for code, type_, value in fields:
        header += bytes(-len(header) % 8)
        header += bytes((code, 1)) + type_.encode() + b"\0" + _string(value)
    if arguments:
        header += bytes(-len(header) % 8)
        signature = b"s" * len(arguments)
        header += bytes((_SIGNATURE, 1)) + b"g\0" + bytes((len(signature),)) + signature + b"\0"
    for argument in arguments:
        body += bytes(-len(body) % 4) + _string(argument)
    fixed = struct.pack("<4B3I", ord("l"), _CALL, 0, 1, len(body), serial, len(header))
    return fixed + bytes(header) + bytes(-len(header) % 8) + bytes(body)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def length_of(fixed: bytes) -> int:
    """The bytes of a message by its first sixteen. Raises ValueError."""
    order = _order(fixed)
    body, _, header = struct.unpack_from(f"{order}3I", fixed, 4)
    length = _FIXED + int(header) + -int(header) % 8 + int(body)
    if length > _LARGEST:
        raise ValueError("the message is too large")
    return length


def _order(fixed: bytes) -> str:
    order = {b"l": "<", b"B": ">"}.get(fixed[:1])
    if order is None:
        raise ValueError("not a message of D-Bus")
    return order


def decode(data: bytes) -> BusMessage:
    """A message. Raises ValueError."""
    try:
        order = _order(data)
        header = struct.unpack_from(f"{order}I", data, 12)[0]
        fields: dict[int, str | int] = {}
        offset, end = _FIXED, _FIXED + header
        while offset < end:
            offset += -offset % 8
            code = data[offset]
            signature, offset = _read_value(data, offset + 1, "g", order)
            fields[code], offset = _read_value(data, offset, str(signature), order)
        offset, arguments = end + -end % 8, []
        for type_ in str(fields.get(_SIGNATURE, "")):
            if type_ not in "sogub":
                break
            value, offset = _read_value(data, offset, type_, order)
            arguments.append(value)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"a damaged message: {error}") from error
    words = [str(fields.get(code, "")) for code in (_INTERFACE, _MEMBER, _ERROR_NAME)]
    return BusMessage(data[1], int(fields.get(_REPLY_SERIAL, 0)), words[0], words[1], words[2], arguments)


def _read_value(data: bytes, offset: int, type_: str, order: str) -> tuple[str | int, int]:
    """A value of a basic type, and where the next one begins."""
    if type_ == "g":
        length = data[offset]
        return data[offset + 1 : offset + 1 + length].decode(), offset + length + 2
    offset += -offset % 4
    number = int(struct.unpack_from(f"{order}I", data, offset)[0])
    if type_ in ("u", "b"):
        return number, offset + 4
    if type_ not in ("s", "o"):
        raise ValueError(f"a header field of type {type_}")
    if offset + 4 + number >= len(data):
        raise IndexError("a string that is longer than its message")
    return data[offset + 4 : offset + 4 + number].decode(), offset + number + 5
