"""A reader of tar archives that shows every byte: what is a file's content, and what is not.

It reads POSIX.1-2001 pax, ustar, GNU (long names, base-256 numbers, sparse files old and 0.0 to 1.0) and v7 headers.
Where writers disagree it decides as Go's archive/tar and GNU tar do, since layers were checked with these; where those
two disagree on what an entry *is*, the archive is refused: one that means two things is a trap.

Not libarchive, which does not show the raw headers that tar-split metadata needs. This reader takes some 7 µs for
a plain file.
"""

from __future__ import annotations

import stat
import struct
import zlib

from darse.archive.errors import ArchiveRefused, Truncated

# Loading what is for type checkers only takes as long as the rest of a worker's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
#: The type of an entry by the type of its file (`stat.S_IFMT`): a socket has none.
TYPES = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}
XATTR = b"SCHILY.xattr."
# name mode uid gid size mtime checksum type linkname magic+version uname gname devmajor devminor prefix
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_ZEROS = bytes(BLOCK)
_USTAR, _GNU = b"ustar\x0000", b"ustar  \x00"
# As Go: an extended header, or a long name, that claims more is no honest one's.
_SPECIAL = 1024 * 1024
_SPARSE_MAP = 4 * 1024 * 1024
_HEADER_ONLY = frozenset((LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO))
# Contiguous files are regular ones (POSIX).
_FILE_TYPES = frozenset((b"0", b"\0", b"7"))
_MAXIMUM = (1 << 63) - 1
# The next one means "as it is" to chown(2).
_LARGEST_OWNER = (1 << 32) - 2
# Global headers apply to all that follows (POSIX, GNU tar) or to nothing (Go, so docker).
_CHANGES_ENTRIES = frozenset((b"path", b"linkpath", b"size"))
Segments = list[tuple[int, int]]


class Blocks:
    """An archive's bytes in order: an iterator of buffers, whose lengths are multiples of 512 but for the last."""

    def __init__(self, buffers: Iterator[memoryview]) -> None:
        self._buffers = buffers
        self.buffer = memoryview(b"")
        self.position = 0
        self.end = 0

    def advance(self) -> bool:
        """Go on to the next buffer when this one is used up; False at the end of the archive."""
        while self.position >= self.end:
            buffer = next(self._buffers, None)
            if buffer is None:
                return False
            self.buffer, self.position, self.end = buffer, 0, len(buffer)
        return True

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes; fewer at the end of the archive."""
        parts = []
        while count and self.advance():
            start = self.position
            self.position = min(self.end, start + count)
            parts.append(bytes(self.buffer[start : self.position]))
            count -= self.position - start
        return b"".join(parts)

    def pieces(self, count: int) -> Iterator[memoryview]:
        """Yield the next `count` bytes, in pieces that are valid until the next one. Raises Truncated."""
        while count:
            if not self.advance():
                raise Truncated
            start = self.position
            self.position = min(self.end, start + count)
            count -= self.position - start
            yield self.buffer[start : self.position]


class Entry:
    """One entry. `size` counts the bytes in the archive, `length` those of the file; `segments` a sparse file's data.

    `time_ns` is the modification time. Attributes are those of SCHILY.xattr records.
    """

    kind: bytes
    path: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size: int
    length: int
    time_ns: int
    device: tuple[int, int] = (0, 0)
    segments: Segments | None = None
    xattrs: dict[bytes, bytes] | None = None


class Reader:
    """Iterates over an archive's entries.

    `keep` receives every byte that is not content, in order. The content of an entry is what `content` yields before
    the next entry is asked for; when nobody asked for it, it is kept too.
    """

    def __init__(self, blocks: Blocks, keep: Callable[[bytes], object]) -> None:
        self._blocks = blocks
        self._keep = keep
        self._left = 0
        self._padding = 0
        self._owners: dict[bytes, tuple[int, int, int]] = {}

    def content(self) -> Iterator[memoryview]:
        """Yield the current entry's content. Raises Truncated."""
        count, self._left = self._left, 0
        return self._blocks.pieces(count)

    def content_at_hand(self) -> memoryview | None:
        """Return the current entry's content when it lies in one buffer; else None, and `content` gives it."""
        blocks, count = self._blocks, self._left
        end = blocks.position + count
        if end > blocks.end:
            return None
        piece = blocks.buffer[blocks.position : end]
        blocks.position = end
        self._left = 0
        return piece

    def __iter__(self) -> Iterator[Entry]:
        """Raises ArchiveRefused."""
        blocks, keep = self._blocks, self._keep
        pending = _Pending()
        while True:
            self._finish_entry()
            if blocks.end - blocks.position < BLOCK and not self._more():
                break
            start = blocks.position
            header = bytes(blocks.buffer[start : start + BLOCK])
            blocks.position = start + BLOCK
            keep(header)
            if header == _ZEROS:
                self._end()
                break
            entry = self._entry(header, pending)
            if entry is not None:
                yield entry
                pending = _Pending()
        if pending.used:
            raise Truncated

    def _more(self) -> bool:
        """Make a whole header available; False at the end of the archive. Raises Truncated within one."""
        blocks = self._blocks
        if not blocks.advance():
            return False
        if blocks.end - blocks.position < BLOCK:
            raise Truncated
        return True

    def _finish_entry(self) -> None:
        """Keep the content that nobody wanted, and the padding.

        An archive may end right behind its last content, without padding and end marker: what umoci writes does.
        """
        blocks = self._blocks
        if self._left:
            for piece in self.content():
                self._keep(bytes(piece))
        if self._padding:
            start = blocks.position
            if blocks.end - start >= self._padding:
                blocks.position += self._padding
                self._keep(bytes(blocks.buffer[start : blocks.position]))
            else:
                padding = blocks.take(self._padding)
                if 0 < len(padding) < self._padding:
                    raise Truncated
                self._keep(padding)
            self._padding = 0

    def _end(self) -> None:
        """After the first block of the end marker: everything that follows is kept, since it is in the digest too."""
        second = self._blocks.take(BLOCK)
        self._keep(second)
        if 0 < len(second) < BLOCK:
            raise Truncated
        if second.strip(b"\0"):
            raise ArchiveRefused("a single block of zeros is followed by something")
        while self._blocks.advance():
            self._keep(self._blocks.take(self._blocks.end - self._blocks.position))

    def _entry(self, header: bytes, pending: _Pending) -> Entry | None:
        """Read a header; None when it only says something of a later one."""
        fields = _FIELDS.unpack(header)
        kind: bytes = fields[7]
        _check(header, fields[6])
        size = _number(fields[4])
        if kind in b"xXgLK" and self._special(kind, size, pending):
            return None
        entry = Entry()
        entry.kind = REGULAR if kind in _FILE_TYPES else kind
        path = fields[0].partition(b"\0")[0]
        if header[345] and fields[9] == _USTAR:
            path = fields[14].partition(b"\0")[0] + b"/" + path
        entry.path = path
        entry.link = fields[8].partition(b"\0")[0]
        entry.mode, entry.uid, entry.gid = self._owners.get(header[100:124]) or self._owner(fields)
        entry.time_ns = _number(fields[5]) * 1_000_000_000
        entry.size = entry.length = size
        if kind in (CHARACTER, BLOCK_DEVICE):
            entry.device = _natural(fields[12]), _natural(fields[13])
        if pending.used:
            pending.apply(entry)
        if kind == b"S":
            entry.kind = b"0"
            self._old_sparse(header, entry)
        self._decide_kind(entry, kind)
        if entry.size < 0:
            raise ArchiveRefused(f"entry {entry.path!r} has a negative size")
        if entry.uid > _LARGEST_OWNER or entry.gid > _LARGEST_OWNER:
            raise ArchiveRefused(f"entry {entry.path!r} has an owner that no system has")
        # In Go, what is only a header has no content, whatever size it claims.
        self._left = 0 if entry.kind in _HEADER_ONLY else entry.size
        self._padding = -self._left % BLOCK
        if pending.sparse:
            self._pax_sparse(pending.sparse, entry)
        return entry

    @staticmethod
    def _decide_kind(entry: Entry, kind: bytes) -> None:
        if entry.kind == REGULAR and entry.path.endswith(b"/"):
            # v7 had no type for directories.
            if entry.size:
                raise ArchiveRefused(f"entry {entry.path!r} is named as a directory, and has content")
            entry.kind = DIRECTORY
        elif entry.kind not in _HEADER_ONLY and entry.kind not in (REGULAR, b"V", b"D"):
            raise ArchiveRefused(f"entry {entry.path!r} is of type {kind!r}, which no layer may hold")

    def _owner(self, fields: tuple[bytes, ...]) -> tuple[int, int, int]:
        """Mode, owner and group; an archive has few of these."""
        if len(self._owners) > 10_000:
            self._owners.clear()
        owner = _natural(fields[1]) & 0o7777, _natural(fields[2]), _natural(fields[3])
        self._owners[b"".join(fields[1:4])] = owner
        return owner

    def _special(self, kind: bytes, size: int, pending: _Pending) -> bool:
        """Read what extends a later header: pax records, or a name in GNU's manner."""
        if not 0 <= size <= _SPECIAL:
            raise ArchiveRefused(f"an extended header claims {size} bytes")
        content = self._blocks.take(size)
        self._keep(content)
        if len(content) != size:
            raise Truncated
        self._padding = -size % BLOCK
        if kind == b"L":
            pending.path = content.partition(b"\0")[0]
        elif kind == b"K":
            pending.link = content.partition(b"\0")[0]
        elif kind == b"g":
            _check_global(content)
            return True
        else:
            if pending.records or pending.sparse:
                # GNU tar merges them, Go takes the last.
                raise ArchiveRefused("an entry has two extended headers")
            pending.add(content)
        pending.used = True
        return True

    def _old_sparse(self, header: bytes, entry: Entry) -> None:
        """GNU's old format: four segments in the header, 21 more in each block that follows."""
        segments: Segments = []
        entry.length = _number(header[483:495])
        block, start, count, extended = header, 386, 4, header[482:483] != b"\0"
        while True:
            for at in range(start, start + 24 * count, 24):
                if block[at] == 0:
                    break
                segments.append((_number(block[at : at + 12]), _number(block[at + 12 : at + 24])))
            if not extended:
                break
            if len(segments) * 16 > _SPARSE_MAP:
                raise ArchiveRefused(f"the sparse file {entry.path!r} has too many segments")
            block = self._blocks.take(BLOCK)
            self._keep(block)
            if len(block) != BLOCK:
                raise Truncated
            start, count, extended = 0, 21, block[504] != 0
        entry.segments = _checked(segments, entry)

    def _pax_sparse(self, records: dict[bytes, bytes], entry: Entry) -> None:
        """GNU's formats 0.0 and 0.1 (the map is in the records) and 1.0 (the map is before the content)."""
        major, minor = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
        real = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
        if entry.kind != REGULAR or real is None:
            raise ArchiveRefused(f"the sparse file {entry.path!r} says no size")
        entry.path = records.get(b"GNU.sparse.name", entry.path)
        entry.length = _decimal(real)
        if (major, minor) == (b"1", b"0"):
            entry.segments = _checked(self._map_before_content(entry), entry)
        elif major in (None, b"0") and b"GNU.sparse.map" in records:
            numbers = [_decimal(number) for number in records[b"GNU.sparse.map"].split(b",") if number]
            entry.segments = _checked(list(zip(numbers[::2], numbers[1::2], strict=False)), entry)
        else:
            raise ArchiveRefused(f"the sparse file {entry.path!r} is in an unknown format")

    def _map_before_content(self, entry: Entry) -> Segments:
        text = b""
        needed = 1
        while True:
            lines = text.split(b"\n")
            if len(lines) > 1:
                needed = 1 + 2 * _decimal(lines[0])
            if len(lines) > needed:
                break
            if len(text) > _SPARSE_MAP or self._left < BLOCK:
                raise ArchiveRefused(f"the map of the sparse file {entry.path!r} is not whole")
            block = self._blocks.take(BLOCK)
            self._keep(block)
            if len(block) != BLOCK:
                raise Truncated
            text += block
            self._left -= BLOCK
        entry.size = self._left
        numbers = [_decimal(line) for line in lines[1:needed]]
        return list(zip(numbers[::2], numbers[1::2], strict=True))


class _Pending:
    """What extended headers said of the next entry."""

    def __init__(self) -> None:
        self.used = False
        self.path: bytes | None = None
        self.link: bytes | None = None
        self.records: dict[bytes, bytes] = {}
        self.sparse: dict[bytes, bytes] = {}
        self._map: list[bytes] = []

    def add(self, content: bytes) -> None:
        """Take pax records."""
        for key, value in records(content):
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                # Format 0.0 repeats a key that counts each time.
                if (key == b"GNU.sparse.offset") != (len(self._map) % 2 == 0):
                    raise ArchiveRefused("the map of a sparse file is not in order")
                self._map.append(value)
                self.sparse[b"GNU.sparse.map"] = b",".join(self._map)
            elif key.startswith(b"GNU.sparse."):
                self.sparse[key] = value
            elif not value:
                self.records.pop(key, None)
                if key.startswith(XATTR):
                    self.records[key] = value
            else:
                self.records[key] = value

    def apply(self, entry: Entry) -> None:
        """Change what an entry's own header said; pax records come before GNU's names."""
        if self.path is not None:
            entry.path = self.path
        if self.link is not None:
            entry.link = self.link
        for key, value in self.records.items():
            if key == b"path":
                entry.path = _text(value)
            elif key == b"linkpath":
                entry.link = _text(value)
            elif key == b"size":
                entry.size = entry.length = _decimal(value)
            elif key == b"uid":
                entry.uid = _decimal(value)
            elif key == b"gid":
                entry.gid = _decimal(value)
            elif key == b"mtime":
                entry.time_ns = _fraction(value)
            elif key.startswith(XATTR):
                entry.xattrs = entry.xattrs or {}
                entry.xattrs[_text(key[len(XATTR) :])] = value


def records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records of a pax extended header: `LENGTH KEY=VALUE`, each with a newline. Raises ArchiveRefused."""
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 20)
        length = _decimal(content[position:space]) if space > 0 else 0
        end = position + length
        if length <= space - position + 1 or end > len(content) or content[end - 1 : end] != b"\n":
            raise ArchiveRefused("a pax record is malformed")
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not key or not equals:
            raise ArchiveRefused("a pax record has no key")
        yield key, value
        position = end


def _check_global(content: bytes) -> None:
    for key, _ in records(content):
        if key in _CHANGES_ENTRIES or key.startswith(b"GNU.sparse."):
            raise ArchiveRefused(f"a global header sets {key.decode(errors='replace')}")


def _check(header: bytes, field: bytes) -> None:
    """Compare a header's checksum: the sum of its bytes, its own field counting as spaces.

    The low half of Adler-32 is that sum, modulo 65521, and 20 times as fast as summing here.
    """
    text = field.strip(b" \0")
    declared = int(text, 8) if text.isdigit() and not text.strip(b"01234567") else -1
    if (zlib.adler32(header) & 0xFFFF) - 1 - sum(field) + 256 - declared in (0, -65521, 65521, -131042):
        return
    # Old tars summed signed bytes.
    signed = sum(byte - 256 if byte > 127 else byte for byte in header.replace(field, b" " * 8, 1))
    if declared < 0 or signed != declared:
        raise ArchiveRefused("a header's checksum is wrong: this is no tar archive, or a damaged one")


def _checked(segments: Segments, entry: Entry) -> Segments:
    """Return a sparse file's segments that have bytes, if they are in order, within it, and as many as its content."""
    end = 0
    whole = True
    for offset, count in segments:
        if offset < end or count < 0:
            raise ArchiveRefused(f"the map of the sparse file {entry.path!r} is not in order")
        if count and not whole:
            # GNU tar looks for the next one's data in the next block, Go right behind this one's.
            raise ArchiveRefused(f"the map of the sparse file {entry.path!r} is not in whole blocks")
        end, whole = offset + count, count % BLOCK == 0
    if end > entry.length or sum(count for _, count in segments) != entry.size:
        raise ArchiveRefused(f"the map of the sparse file {entry.path!r} is not that of its content")
    return [segment for segment in segments if segment[1]]


def _number(field: bytes) -> int:
    """A number of a header: octal, or GNU's base-256. Raises ArchiveRefused."""
    text = field.strip(b" \0")
    if text.isdigit():
        try:
            return int(text, 8)
        except ValueError:
            pass
    elif not text:
        return 0
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        # Two's complement in all bits but the first, which is the mark.
        value = value - (1 << 8 * len(field)) if field[0] & 0x40 else value & ((1 << (8 * len(field) - 1)) - 1)
        if -_MAXIMUM <= value <= _MAXIMUM:
            return value
    raise ArchiveRefused(f"a header holds {field!r} where a number belongs")


def _natural(field: bytes) -> int:
    value = _number(field)
    if value < 0:
        raise ArchiveRefused("a header holds a negative number")
    return value


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19 or (value := int(text)) > _MAXIMUM:
        raise ArchiveRefused(f"a record holds {text[:40]!r} where a number belongs")
    return value


def _fraction(text: bytes) -> int:
    """Nanoseconds of a time such as `-1.5`."""
    whole, _, part = text.partition(b".")
    negative = whole.startswith(b"-")
    if (part and not part.isdigit()) or len(part) > 100:
        raise ArchiveRefused(f"a record holds {text[:40]!r} where a time belongs")
    value = _decimal(whole[negative:]) * 1_000_000_000 + int(part[:9].ljust(9, b"0"))
    return -value if negative else value


def _text(value: bytes) -> bytes:
    if b"\0" in value:
        raise ArchiveRefused("a record holds a NUL byte where a name belongs")
    return value
