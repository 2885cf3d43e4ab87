"""Lines of logs as docker's log plugins get and give them: LogEntry of moby's api/types/plugins/logdriver.

    message LogEntry {
        string source = 1; int64 time_nano = 2; bytes line = 3; bool partial = 4;
        PartialLogEntryMetadata partial_log_metadata = 5;
    }
    message PartialLogEntryMetadata { bool last = 1; string id = 2; int32 ordinal = 3; }

Each is preceded by its length in four bytes, the highest first. Written by hand: five fields need no library.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from darse.containers.logs.shipping.messages import Clock, Message

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: The longest entry that is taken, in bytes.
LONGEST_ENTRY = 4 << 20


class InvalidEntry(ValueError):
    """Bytes that are no entry."""


class LogEntry(msgspec.Struct, frozen=True):
    """An entry: `stdout` or `stderr`, nanoseconds since the epoch, and the line; `partial` when it goes on."""

    source: bytes = b""
    time_ns: int = 0
    line: bytes = b""
    partial: bool = False


def encode(message: Message, clock: Clock) -> bytes:
    """A message with its length before it."""
    moment = clock.seconds(message.time) * 1_000_000_000 + clock.nanoseconds(message.time)
    part = message.part
    goes_on = part is not None and not part.last
    body = _field(1, message.stream) + b"\x10" + _varint(moment) + _field(3, message.text)
    if goes_on:
        body += b"\x20\x01"
    if part is not None:
        inner = (b"\x08\x01" if part.last else b"") + _field(2, part.id.encode()) + b"\x18" + _varint(part.ordinal)
        body += _field(5, inner)
    return struct.pack(">I", len(body)) + body


class EntryReader:
    """Takes entries out of a stream that comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def entries(self, piece: bytes) -> Iterator[LogEntry]:
        """The entries that a piece completes. Raises InvalidEntry."""
        data, at = self._rest + piece, 0
        while len(data) - at >= 4:
            (length,) = struct.unpack_from(">I", data, at)
            if length > LONGEST_ENTRY:
                raise InvalidEntry(f"an entry of {length} bytes")
            if len(data) - at - 4 < length:
                break
            yield _decode(data[at + 4 : at + 4 + length])
            at += 4 + length
        self._rest = data[at:]


def _decode(data: bytes) -> LogEntry:
    found: dict[int, bytes | int] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            found[number] = value
            continue
        if kind == _BYTES:
            length, at = _read_varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise InvalidEntry(f"a field of kind {kind}")
        if at + length > len(data):
            raise InvalidEntry("an entry that is cut off")
        found[number] = data[at : at + length]
        at += length
    source, moment, line, partial = (found.get(number) for number in (1, 2, 3, 4))
    return LogEntry(
        source if isinstance(source, bytes) else b"",
        moment if isinstance(moment, int) and moment < 1 << 63 else 0,
        line if isinstance(line, bytes) else b"",
        bool(partial),
    )


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | _BYTES,)) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    raise InvalidEntry("a number that does not end")
