"""Tar-split metadata: what it takes to rebuild a layer's archive, byte for byte, from its unpacked files.

It holds every byte of the archive that is not a file's content (headers, padding, what was left out, the end), and
in between, which file's bytes belong there. This is what tar-split does for other engines; here the bytes are kept
as they are, and compressed.

    file     = head record*                 the records in one zlib stream
    head     = "darse recipe 1\\n\\0", SHA-256 of the archive, its length, the length of the files' content (u64)
    record   = raw length (u32), path length (u32), number of segments (u32), size (u64), raw, path, segment*
    segment  = offset in the file (u64), length (u64)

Of a file without segments the first `size` bytes are meant; a record whose path is empty has raw bytes only.
"""

from __future__ import annotations

import os
import struct
import zlib

from isal import isal_zlib

from darse.archive.errors import Damaged
from darse.archive.stream import write_all
from darse.archive.tar import Segments

# Loading what is for type checkers only takes as long as the rest of a worker's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"darse recipe 1\n\0"
_HEAD = struct.Struct("<16s32sQQ")
_RECORD = struct.Struct("<IIIQ")
_SEGMENT = struct.Struct("<QQ")
_FLUSH = 1024 * 1024
_PIECE = 256 * 1024


class TarSplitWriter:
    """Writes the metadata to an empty file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._compress = isal_zlib.compressobj(level=1)
        self._raw: list[bytes] = []
        self._raw_size = 0
        self._records: list[bytes] = []
        self._records_size = 0
        os.lseek(descriptor, _HEAD.size, os.SEEK_SET)

    def raw(self, data: bytes) -> None:
        """Take the next bytes of the archive that are no content."""
        self._raw.append(data)
        self._raw_size += len(data)
        if self._raw_size > _FLUSH:
            self._record(b"", 0, [])

    def file(self, path: bytes, size: int, segments: Segments | None = None) -> None:
        """Say that the next `size` bytes of the archive are the file's, or its `segments`."""
        self._record(path, size, segments or [])

    def finish(self, digest: bytes, length: int, content: int) -> None:
        """Complete the file: it is valid from now on."""
        self._record(b"", 0, [])
        self._flush()
        write_all(self._descriptor, self._compress.flush())
        os.pwrite(self._descriptor, _HEAD.pack(_MAGIC, digest, length, content), 0)

    def _record(self, path: bytes, size: int, segments: Segments) -> None:
        self._records.append(_RECORD.pack(self._raw_size, len(path), len(segments), size))
        self._records += self._raw
        self._records.append(path)
        self._records += [_SEGMENT.pack(*segment) for segment in segments]
        self._records_size += self._raw_size + 1024
        self._raw, self._raw_size = [], 0
        if self._records_size > _FLUSH:
            self._flush()

    def _flush(self) -> None:
        write_all(self._descriptor, self._compress.compress(b"".join(self._records)))
        self._records, self._records_size = [], 0


class Head:
    """What the metadata says of its archive: `digest` (SHA-256), `length`, and `content`, the bytes of its files."""

    __slots__ = ("content", "digest", "length")

    def __init__(self, raw: bytes) -> None:
        """Raises Damaged."""
        if len(raw) != _HEAD.size:
            raise Damaged("its tar-split metadata is not whole")
        magic, self.digest, self.length, self.content = _HEAD.unpack(raw)
        if magic != _MAGIC:
            raise Damaged("its tar-split metadata is not whole, or in another format")


Record = tuple[bytes, bytes, int, Segments]


class TarSplitReader:
    """Reads the metadata."""

    def __init__(self, descriptor: int) -> None:
        """Raises Damaged."""
        self._descriptor = descriptor
        self.head = Head(os.read(descriptor, _HEAD.size))
        self._decompress = zlib.decompressobj()
        self._data = b""
        self._position = 0

    def __iter__(self) -> Iterator[Record]:
        """Yield (raw bytes, path, size, segments). Raises Damaged."""
        while self._fill(_RECORD.size):
            raw_size, path_size, count, size = _RECORD.unpack(self._take(_RECORD.size))
            raw, path = self._take(raw_size), self._take(path_size)
            yield raw, path, size, [_SEGMENT.unpack(self._take(_SEGMENT.size)) for _ in range(count)]

    def _take(self, count: int) -> bytes:
        if not self._fill(count):
            raise Damaged("its tar-split metadata is not whole")
        start = self._position
        self._position += count
        return self._data[start : self._position]

    def _fill(self, count: int) -> bool:
        """Have `count` bytes at hand; False at the end."""
        if len(self._data) - self._position >= count:
            return True
        parts = [self._data[self._position :]]
        size = len(parts[0])
        while size < count and not self._decompress.eof:
            piece = self._decompress.unconsumed_tail or os.read(self._descriptor, _PIECE)
            if not piece:
                raise Damaged("its tar-split metadata is not whole")
            try:
                parts.append(self._decompress.decompress(piece, _FLUSH))
            except zlib.error as error:
                raise Damaged(f"its tar-split metadata is damaged: {error}") from error
            size += len(parts[-1])
        self._data, self._position = b"".join(parts), 0
        if size and size < count:
            raise Damaged("its tar-split metadata is not whole")
        return size >= count
