"""What has come on a stream and is not read yet.

grpclib's own gives credit back to the peer for each frame, and takes each piece out of a queue: of a directory of
twenty thousand files, each a message of a hundred bytes, that is a quarter of the time. This one gives it back for
`_CREDIT` bytes at once. What is held back meanwhile, on a hundred streams, is far below the connection's window.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from grpclib.protocol import Buffer

#: Bytes of one message, as BuildKit limits them.
MESSAGE_LIMIT = 16 << 20
# Whether a message is compressed, its length, and its first byte.
_MESSAGE = struct.Struct(">BIB")
_PREFIX_BYTES = 5
# Of messages that are taken at once: the time of their decoding is nobody else's.
_RUN_BYTES = 32 << 10
_CREDIT = 16 << 10
# What has been read is dropped from the front in steps.
_READ_BYTES = 64 << 10


class MessageRun(NamedTuple):
    """Messages one behind the other, each after five bytes of gRPC's."""

    data: bytes
    starts: Sequence[int]
    """Where each message begins in them; it ends with the data, or five bytes before the next."""

    def messages(self) -> Iterator[bytes]:
        """Yield them."""
        data, starts = self
        begin = starts[0]
        for after in itertools.islice(starts, 1, None):
            yield data[begin : after - _PREFIX_BYTES]
            begin = after
        yield data[begin:]


class StreamBuffer(Buffer):
    """Of one stream; one task reads it."""

    def __init__(self, on_consumed: Callable[[int], None]) -> None:
        super().__init__(on_consumed)
        self._on_consumed = on_consumed
        self._data = bytearray()
        self._start = 0
        self._is_over = False
        self._changed = asyncio.Event()
        #: What the peer is to get back for what has come, and the part of it that has been read.
        self._owed = 0
        self._due = 0

    def add(self, data: bytes, ack_size: int) -> None:
        """Take the content of a frame. ack_size: with its padding."""
        self._data += data
        self._owed += ack_size
        self._changed.set()

    def eof(self) -> None:
        """Nothing more comes."""
        self._is_over = True
        self._changed.set()

    async def read(self, size: int) -> bytes:
        """Wait for so many bytes; nothing at the end. Raises AssertionError where the end is between."""
        while (there := len(self._data) - self._start) < size:
            if self._is_over:
                if not there:
                    return b""
                raise AssertionError("Received less data than expected")
            # All that is here is read with what is to come, which may be more than the peer may send.
            self._settle(self._owed)
            self._changed.clear()
            await self._changed.wait()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        end = self._start + size
        data = bytes(memoryview(self._data)[self._start : end])
        self._start = end
        if end == len(self._data) or end >= _READ_BYTES:
            del self._data[:end]
            self._start = 0
        # At the end of the data also padding is read.
        self._settle(min(self._due + size, self._owed) if self._data else self._owed)
        return data

    async def wait_for_message(self) -> None:
        """Return when a whole message is here, or none can be waited for: at the end, or where it is too large."""
        while True:
            there = len(self._data) - self._start
            if there >= _PREFIX_BYTES:
                length = int.from_bytes(self._data[self._start + 1 : self._start + _PREFIX_BYTES])
                if length > MESSAGE_LIMIT or there >= _PREFIX_BYTES + length:
                    return
            if self._is_over:
                return
            self._settle(self._owed)
            self._changed.clear()
            await self._changed.wait()

    def take_messages(self, first: int) -> MessageRun:
        """Take the whole messages that are here, as far as each begins with a byte."""
        data, starts, origin = self._data, list[int](), self._start
        at, unpack = origin, _MESSAGE.unpack_from
        end = min(len(data), origin + _RUN_BYTES)
        while end - at >= _MESSAGE.size:
            compressed, length, kind = unpack(data, at)
            start = at + _PREFIX_BYTES
            if kind != first or compressed or not length or start + length > len(data):
                break
            starts.append(start - origin)
            at = start + length
        return MessageRun(self._take(at - origin) if starts else b"", starts)

    def _settle(self, due: int) -> None:
        self._due = due
        if due >= _CREDIT:
            self._owed -= due
            self._due = 0
            self._on_consumed(due)

    def unacked_size(self) -> int:
        """What the peer is to get back once nobody reads any more."""
        owed, self._owed, self._due = self._owed, 0, 0
        return owed
