"""An archive's bytes on their way in: read, decompressed and hashed in threads beside the one that makes files.

Decompressors and hashes release the interpreter's lock, so this is as fast as the slowest part on as many processors
as there are. Told by the first bytes: gzip, zstd, xz, bzip2, or none.
"""

from __future__ import annotations

import _thread
import os
import stat
from _hashlib import openssl_sha256
from _queue import SimpleQueue

from darse.archive.errors import ArchiveRefused, Truncated
from darse.archive.tar import BLOCK, Segments

# Loading what is for type checkers only takes as long as the rest of a worker's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol, cast

    Decompress = Callable[[Iterator[bytes]], Iterator[bytes]]
else:
    Protocol = object

    def cast(_: str, value: object) -> object:
        return value


GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
XZ = b"\xfd7zXZ\x00"
BZIP2 = b"BZh"
PIECE = 256 * 1024
# Buffers under way between two threads: enough that neither waits for the other's hiccups.
_PREFETCHED = 16
# And behind a pipe, whose feeder has other layers to bring when this one's archive is through.
_PREFETCHED_OF_PIPE = 256
_OUT = 256 * 1024
# What a decompressor may want for its history.
_WINDOW = 128 * 1024 * 1024


class Stream:
    """The uncompressed archive that a descriptor gives, in buffers of a multiple of 512 bytes, hashed on the way."""

    def __init__(self, descriptor: int, size: int, limit: int) -> None:
        """At most `size` bytes are read (-1: all), and at most `limit` (-1: any number) come out."""
        self._descriptor = descriptor
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._size = size
        self._limit = limit
        self._hash = openssl_sha256(usedforsecurity=False)
        self.length = 0
        self._start = b""
        self._filled: SimpleQueue[bytes | Exception | None] = SimpleQueue()
        self._to_hash: SimpleQueue[bytes | None] = SimpleQueue()
        self._free: SimpleQueue[None] = SimpleQueue()
        self._hashed: SimpleQueue[None] = SimpleQueue()
        self._done = _thread.allocate_lock()
        self._done.acquire()
        for _ in range(_PREFETCHED_OF_PIPE if self._is_pipe else _PREFETCHED):
            self._free.put(None)
            self._hashed.put(None)

    def prepare(self) -> None:
        """Load what its format needs, as long as modules can be found: the first bytes tell which."""
        missing = 6 if self._size < 0 else min(6, self._size)
        while len(self._start) < missing and (more := os.read(self._descriptor, missing - len(self._start))):
            self._start += more
        prepare_for(self._start)

    def start(self) -> None:
        """Start the threads."""
        _thread.start_new_thread(self._read, ())
        _thread.start_new_thread(self._digest, ())

    def buffers(self) -> Iterator[memoryview]:
        """Yield the archive. Raises ArchiveRefused, and OSError."""
        while (buffer := self._filled.get()) is not None:
            if isinstance(buffer, Exception):
                raise buffer
            yield memoryview(buffer)
            self._free.put(None)

    def digest(self) -> bytes:
        """The SHA-256 of the whole; call it after the last buffer."""
        self._done.acquire()
        return bytes(self._hash.digest())

    def _read(self) -> None:
        try:
            for buffer in aligned(decompressed(self._input())):
                self._count(len(buffer))
                self._free.get()
                self._hashed.get()
                self._to_hash.put(buffer)
                self._filled.put(buffer)
            self._filled.put(None)
        except MemoryError:
            self._filled.put(ArchiveRefused("its decompression needs more memory than a layer may take"))
        except Exception as error:
            self._filled.put(error)
        self._to_hash.put(None)

    def _count(self, more: int) -> None:
        self.length += more
        if 0 <= self._limit < self.length:
            raise ArchiveRefused(f"it unpacks to more than {self._limit} bytes")

    def _digest(self) -> None:
        while (buffer := self._to_hash.get()) is not None:
            self._hash.update(buffer)
            self._hashed.put(None)
        self._done.release()

    def _input(self) -> Iterator[bytes]:
        left = self._size - len(self._start) if self._size >= 0 else -1
        piece = self._start
        while left:
            missing = PIECE - len(piece)
            more = os.read(self._descriptor, missing if left < 0 else min(missing, left))
            if not more:
                break
            left -= len(more) if left > 0 else 0
            yield piece + more if piece else more
            piece = b""
        if piece:
            yield piece
        # A file may hold more than the archive, which is a part of it; a pipe must end after its declared size.
        if left == 0 and self._is_pipe and os.read(self._descriptor, 1):
            raise ArchiveRefused(f"it is longer than the {self._size} bytes that were declared")


def prepare_for(start: bytes) -> None:
    """Load what an archive needs that begins with `start`, six bytes of it."""
    if start.startswith(GZIP):
        import isal.igzip_lib  # noqa: F401, PLC0415
    elif start.startswith(ZSTD):
        import zstandard  # noqa: F401, PLC0415
    elif start.startswith(XZ):
        import _lzma  # noqa: F401, PLC0415
    elif start.startswith(BZIP2):
        import _bz2  # noqa: F401, PLC0415


def aligned(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of a multiple of 512 bytes, but for the last; at least 64 KiB where possible."""
    left: list[bytes] = []
    size = 0
    for piece in pieces:
        if not left and not len(piece) % BLOCK and len(piece) >= PIECE // 4:
            yield piece
            continue
        left.append(piece)
        size += len(piece)
        if size >= PIECE:
            whole = b"".join(left)
            cut = size - size % BLOCK
            yield whole[:cut]
            left, size = ([whole[cut:]], size - cut) if cut < size else ([], 0)
    if size:
        yield b"".join(left)


def decompressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the uncompressed content. Raises ArchiveRefused."""
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= 6:
            break
    if not start:
        return
    rest = _chain(start, pieces)
    for magic, decompress in _FORMATS:
        if start.startswith(magic):
            yield from decompress(rest)
            return
    yield from rest


def _chain(start: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from pieces


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    from isal import igzip_lib  # noqa: PLC0415 - a worker loads what its archive needs

    # isal's own types call its exception's class an exception.
    error = cast("type[Exception]", igzip_lib.IsalError)
    return _members(pieces, lambda: igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP), error)


def _unxz(pieces: Iterator[bytes]) -> Iterator[bytes]:
    from _lzma import FORMAT_XZ, LZMADecompressor, LZMAError  # noqa: PLC0415

    return _members(pieces, lambda: LZMADecompressor(FORMAT_XZ, memlimit=_WINDOW), LZMAError)


def _bunzip2(pieces: Iterator[bytes]) -> Iterator[bytes]:
    from _bz2 import BZ2Decompressor  # noqa: PLC0415

    return _members(pieces, BZ2Decompressor, OSError)


class _Decompressor(Protocol):
    """What the standard library's decompressors are, and isal's."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _members(pieces: Iterator[bytes], new: Callable[[], _Decompressor], error: type[Exception]) -> Iterator[bytes]:
    """Decompress members that follow one another; zeros may follow the last, as tapes have them."""
    decoder = new()
    begun = False
    try:
        for piece in pieces:
            data = piece
            while data or (begun and not decoder.needs_input and not decoder.eof):
                if not begun:
                    data = data.lstrip(b"\0") if decoder.eof else data
                    if not data:
                        break
                    decoder, begun = new(), True
                out = decoder.decompress(data, _OUT)
                data = b""
                if out:
                    yield out
                if decoder.eof:
                    data, begun = decoder.unused_data, False
    except error as reason:
        raise ArchiveRefused(f"its compression is damaged: {reason}") from reason
    if begun:
        raise Truncated


class _Source:
    """Pieces as a file, for zstandard's reader."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int) -> bytes:
        """Return some bytes; none at the end."""
        piece = self._left or next(self._pieces, b"")
        self._left = piece[size:]
        return piece[:size]


def _unzstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415

    # Not by decompressobj: its output has no bound, and four bytes can stand for 128 KiB.
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
        _Source(pieces),  # type: ignore[arg-type]
        read_size=PIECE,
        read_across_frames=True,
    )
    try:
        while out := reader.read(_OUT):
            yield out
    except zstandard.ZstdError as reason:
        raise ArchiveRefused(f"its compression is damaged: {reason}") from reason


_FORMATS: tuple[tuple[bytes, Decompress], ...] = ((GZIP, _gunzip), (ZSTD, _unzstd), (XZ, _unxz), (BZIP2, _bunzip2))


def is_compressed(start: bytes) -> bool:
    """Whether an archive that begins with `start` is compressed."""
    return any(start.startswith(magic) for magic, _ in _FORMATS)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """write(2) until everything is written. Raises OSError."""
    written = os.write(descriptor, data)
    while written < len(data):
        data = data[written:]
        written = os.write(descriptor, data)


def write_segments(content: Iterator[memoryview], descriptor: int, segments: Segments) -> None:
    """Write a sparse file's data where it belongs; what lies between stays a hole. Raises OSError."""
    left = iter(segments)
    offset = count = 0
    for piece in content:
        rest = piece
        while rest:
            if not count:
                offset, count = next(left)
            written = os.pwrite(descriptor, rest[:count], offset)
            offset, count, rest = offset + written, count - written, rest[written:]
