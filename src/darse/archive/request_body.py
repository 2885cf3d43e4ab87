"""The body of an HTTP request, read straight off its connection (RFC 9112, 6 and 7.1), for a worker that unpacks it.

Half a gigabyte that the engine reads, decodes and writes to a pipe is copied twice more than one that its worker reads
itself, and keeps the engine from its other clients. So the worker is given the connection, with what the engine had
read of the body by then. It decodes in place: what was in chunks lies together in one buffer, a view of which is
handed on.

Strict, since a reader that is lenient about where a body ends is one that can be told another's request: lines end in
CRLF, sizes are hexadecimal digits and nothing else. What follows the body is not ours, and nobody will read it: the
engine closes the connection after its answer.
"""

from __future__ import annotations

import os
import sys
from select import POLLIN, poll

from darse.archive.errors import ArchiveRefused
from darse.archive.tar import BLOCK

TYPE_CHECKING = False  # not the one of typing, whose import is a third of a worker's start
if TYPE_CHECKING:
    from collections.abc import Iterator

# More than a connection of Linux holds on its way (net.core.wmem_default), so that one read empties it.
_BUFFER = 512 * 1024
# How much of a body may have been read before; undecoded, it stands in the buffer.
LONGEST_START = _BUFFER // 2
# As Go's net/http: a line with a chunk's size, its extensions with it, and all trailer fields together.
_LINE = 4096
_TRAILER = 16 * 1024
# As many digits as 63 bits have.
_DIGITS = 15
_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")
# Bodies without a length: in chunks, or all that comes to the end, which is not HTTP but a pipe's.
CHUNKED, TO_THE_END = -1, -2
_SIZE, _DATA, _DATA_END, _FIELDS, _DONE = range(5)


class Body:
    """One body, of a known length, in chunks, or to the end of what comes."""

    def __init__(self, descriptor: int, start: bytes, length: int) -> None:
        """`descriptor` is the connection, blocking or not; `start` is what was read of the body already, undecoded, at
        most LONGEST_START bytes; `length` counts bytes, or is CHUNKED or TO_THE_END.
        """
        self._descriptor = descriptor
        self._ready = poll()
        self._ready.register(descriptor, POLLIN)
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        # In the buffer: what is decoded, from 0 on; then, not always directly behind it, what is not.
        self._decoded = 0
        self._raw, self._end = 0, len(start)
        self._view[: len(start)] = start
        self._state = _SIZE if length == CHUNKED else _DATA if length else _DONE
        self._chunked = length == CHUNKED
        self._ends_with_input = length == TO_THE_END
        self._left = sys.maxsize if self._ends_with_input else max(0, length)
        self._trailer = 0
        self._decode()

    def begin(self, count: int) -> bytes:
        """Return its first `count` bytes, or all there are, without taking them. Raises ArchiveRefused, and OSError."""
        while self._decoded < count and self._state != _DONE:
            self._read()
        return bytes(self._view[: min(count, self._decoded)])

    def pieces(self) -> Iterator[memoryview]:
        """Yield it in pieces of a multiple of 512 bytes, but for the last; each is valid until the next is asked for.

        Raises ArchiveRefused when it is malformed or the client has gone before its end, and OSError.
        """
        while self._state != _DONE:
            cut = self._decoded - self._decoded % BLOCK
            if cut:
                yield self._view[:cut]
                self._drop(cut)
            self._read()
        if self._decoded:
            yield self._view[: self._decoded]
            self._decoded = 0

    def _drop(self, count: int) -> None:
        """Forget what was handed on; what is left moves to the front, to make room."""
        left = self._decoded - count
        self._view[:left] = self._view[count : self._decoded]
        self._decoded = left

    def _read(self) -> None:
        """Read and decode some more. There is room: what is decoded was handed on, and an undecoded line is short."""
        waiting = self._end - self._raw
        if self._raw > self._decoded:
            self._view[self._decoded : self._decoded + waiting] = self._view[self._raw : self._end]
            self._raw, self._end = self._decoded, self._decoded + waiting
        while True:
            try:
                count = os.readv(self._descriptor, [self._view[self._end :]])
                break
            except BlockingIOError:
                self._ready.poll()
        if not count:
            if self._ends_with_input:
                self._state = _DONE
                return
            raise ArchiveRefused("the client has gone before the end of the archive")
        self._end += count
        self._decode()

    def _decode(self) -> None:
        """Decode all that is whole."""
        while self._state != _DONE and (self._raw < self._end):
            if self._state == _DATA:
                self._take_data()
            elif not self._take_line():
                return

    def _take_data(self) -> None:
        count = min(self._left, self._end - self._raw)
        if self._raw != self._decoded:
            self._view[self._decoded : self._decoded + count] = self._view[self._raw : self._raw + count]
        self._decoded += count
        self._raw += count
        self._left -= count
        if not self._left:
            self._state = _DATA_END if self._chunked else _DONE

    def _take_line(self) -> bool:
        """Take a line of the framing; False when it is not complete yet."""
        if self._state == _DATA_END:
            if self._end - self._raw < 2:
                return False
            if self._buffer[self._raw : self._raw + 2] != b"\r\n":
                raise ArchiveRefused("a chunk of the request is longer than its size")
            self._raw += 2
            self._state = _SIZE
            return True
        end = self._buffer.find(b"\n", self._raw, min(self._end, self._raw + _LINE))
        if end < 0:
            if self._end - self._raw >= _LINE:
                raise ArchiveRefused("a line in the request's chunks is too long")
            return False
        line = bytes(self._view[self._raw : end + 1])
        self._raw = end + 1
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise ArchiveRefused("a line in the request's chunks does not end in CR and LF")
        if self._state == _SIZE:
            self._left = _chunk_size(line[:-2])
            self._state = _DATA if self._left else _FIELDS
        elif line == b"\r\n":
            self._state = _DONE
        else:
            # A trailer field; none means anything here.
            self._trailer += len(line)
            if self._trailer > _TRAILER or b":" not in line or line[:1] in b" \t:":
                raise ArchiveRefused("the request's trailer is malformed or too long")
        return True


def _chunk_size(line: bytes) -> int:
    """The size in `1a2b;extension=value`; extensions are ignored."""
    digits, semicolon, _ = line.partition(b";")
    if semicolon:
        digits = digits.rstrip(b" \t")
    if not 0 < len(digits) <= _DIGITS or not _HEXADECIMAL.issuperset(digits):
        raise ArchiveRefused(f"{line[:40]!r} is no size of a chunk")
    return int(digits, 16)
