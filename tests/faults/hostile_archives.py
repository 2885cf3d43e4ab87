"""Archives made to harm, and what must be said of each; and archives in odd forms, which are fine.

Headers are made byte by byte: writers of archives refuse to write most of these.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

import zstandard

BLOCK = 512
END = bytes(2 * BLOCK)


def number(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    """GNU's form of what is too large, or negative, for octal digits."""
    return (value & ((1 << 8 * width) - 1) | (1 << 8 * width - 1)).to_bytes(width, "big")


def wide(value: int) -> bytes:
    """A number of twelve bytes: in octal, or in GNU's form where that does not hold it."""
    return number(value, 12) if 0 <= value < 8**11 else base256(value, 12)


def header(
    name: bytes = b"f",
    kind: bytes = b"0",
    *,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    size: int | bytes = 0,
    mtime: bytes = b"14000000000\0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    device: tuple[bytes, bytes] = (b"0000000\0", b"0000000\0"),
    prefix: bytes = b"",
    signed: bool = False,
    wrong: bool = False,
) -> bytes:
    """One header block."""
    fields = [name, mode, uid, gid, size if isinstance(size, bytes) else number(size, 12), mtime, b" " * 8, kind, link]
    fields += [magic, b"root", b"root", *device, prefix]
    layout = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
    block = layout.pack(*fields)
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in block) + wrong
    fields[6] = b"%06o\0 " % total
    return layout.pack(*fields)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def file(name: bytes = b"f", content: bytes = b"content", **fields: object) -> bytes:
    """A regular file."""
    return header(name, size=len(content), **fields) + padded(content)  # type: ignore[arg-type]


def directory(name: bytes, **fields: object) -> bytes:
    return header(name, b"5", mode=b"0000755\0", **fields)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"2", link=target, mode=b"0000777\0")


def hardlink(name: bytes, target: bytes) -> bytes:
    return header(name, b"1", link=target)


def record(key: bytes, value: bytes) -> bytes:
    """A pax record."""
    length = len(key) + len(value) + 3
    while length != len(key) + len(value) + 3 + len(str(length)):
        length = len(key) + len(value) + 3 + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    """An extended header."""
    content = b"".join(records)
    return header(b"PaxHeaders/f", kind, size=len(content)) + padded(content)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    return header(b"././@LongLink", kind, size=len(name) + 1) + padded(name + b"\0")


def sparse(numbers: list[int], content: bytes, real: int) -> bytes:
    """A sparse file in GNU's format 1.0; `numbers` are the map as it is written."""
    sparse_map = padded(b"".join(b"%d\n" % one for one in numbers))
    return pax(
        record(b"GNU.sparse.major", b"1"),
        record(b"GNU.sparse.minor", b"0"),
        record(b"GNU.sparse.name", b"f"),
        record(b"GNU.sparse.realsize", b"%d" % real),
    ) + file(b"GNUSparseFile.0/f", sparse_map + content)


def old_sparse(segments: list[tuple[int, int]], real: int, content: bytes, *, extended: bool = False) -> bytes:
    """A sparse file in GNU's old format, its map in the header."""
    block = bytearray(header(b"f", b"S", size=len(content), magic=b"ustar  \0"))
    for index, (offset, count) in enumerate(segments):
        block[386 + 24 * index : 410 + 24 * index] = wide(offset) + wide(count)
    block[482] = extended
    block[483:495] = wide(real)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + padded(content)


def old_map(*pairs: tuple[bytes, bytes], size: int = 100) -> bytes:
    """A pax header in GNU's sparse format 0.0."""
    return pax(
        record(b"GNU.sparse.size", b"%d" % size),
        record(b"GNU.sparse.numblocks", b"%d" % (len(pairs) // 2)),
        *(record(key, value) for key, value in pairs),
    )


def zeros(count: int) -> bytes:
    """An archive of one file of zeros."""
    return header(size=count) + bytes(count + -count % BLOCK) + END


class Hostile(NamedTuple):
    """An archive, the words that its refusal must have, and what the uncompressed archive may be at most."""

    archive: Callable[[], bytes]
    error: str
    limit: int = -1


def hostile(*parts: bytes, error: str) -> Hostile:
    return Hostile(lambda: b"".join((*parts, END)), error)


def raw(content: bytes, error: str, limit: int = -1) -> Hostile:
    return Hostile(lambda: content, error, limit)


class Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def bomb(new: Callable[[], Compressor], start: bytes = header(size=300 << 20), limit: int = 10 << 20) -> Hostile:
    """300 MiB of zeros behind `start`, never whole in memory: that counts as the worker's for a moment."""

    def archive() -> bytes:
        compressor = new()
        parts = [compressor.compress(start), *(compressor.compress(bytes(1 << 20)) for _ in range(300))]
        return b"".join((*parts, compressor.flush()))

    return Hostile(archive, "unpacks to more than", limit)


def gzip_compressor() -> Compressor:
    return zlib.compressobj(1, wbits=31)


def xz_of_a_large_dictionary() -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}]
    compressor = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=filters)
    return compressor.compress(zeros(100)) + compressor.flush()


def zstd_of_a_large_window() -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=-1)
    return compressor.compress(zeros(1 << 20)) + compressor.flush()


LEAVES = "leaves the layer"
TWICE = "is there twice"
NUMBER = "where a number belongs"
TRUNCATED = "Truncated"
RECORD = "pax record"
MAP = "the map of (the|a) sparse file"
MADE = "cannot be made"
WHOLE = file(b"d/f", b"x" * 3000)

HOSTILE: dict[str, Hostile] = {
    # Names that lead out
    "parent": hostile(file(b"../escape"), error=LEAVES),
    "parent, from within": hostile(file(b"a/../../escape"), error=LEAVES),
    "parent, from the root": hostile(file(b"/../escape"), error=LEAVES),
    "parent, behind a dot": hostile(file(b"./../escape"), error=LEAVES),
    "parent that would stay inside": hostile(file(b"a/../b"), error=LEAVES),
    "parent itself": hostile(directory(b".."), error=LEAVES),
    "parent at the end": hostile(directory(b"a/.."), error=LEAVES),
    "parent in a pax path": hostile(pax(record(b"path", b"../escape")), file(), error=LEAVES),
    "parent in a GNU name": hostile(long_name(b"../escape"), file(), error=LEAVES),
    "parent in a sparse file's name": hostile(
        pax(
            record(b"GNU.sparse.major", b"0"),
            record(b"GNU.sparse.name", b"../escape"),
            record(b"GNU.sparse.map", b"0,7"),
            record(b"GNU.sparse.size", b"7"),
        ),
        file(),
        error=LEAVES,
    ),
    "parent in a prefix": hostile(file(b"escape", prefix=b".."), error=LEAVES),
    "NUL in a pax path": hostile(pax(record(b"path", b"a\0b")), file(), error="NUL byte"),
    "name too long": hostile(pax(record(b"path", b"n" * 256)), file(), error="File name too long"),
    "path too long": hostile(pax(record(b"path", b"d/" * 3000 + b"f")), file(), error="File name too long"),
    "file without a name": hostile(file(b""), error=MADE + "|no directory"),
    "file called dot": hostile(file(b"."), error=MADE + "|no directory"),
    "link in place of the root": hostile(symlink(b"/", b"/etc"), error="no directory"),
    # Links
    "path through a link to the parent": hostile(symlink(b"l", b"../outside"), file(b"l/escape"), error=MADE),
    "path through a link to far above": hostile(
        directory(b"a"), symlink(b"a/l", b"b/../../../outside"), file(b"a/l/escape"), error=MADE
    ),
    "whiteout through a link to the parent": hostile(
        symlink(b"l", b"../../outside"), file(b"l/.wh.escape"), error=MADE
    ),
    "hard link through a link to the parent": hostile(
        symlink(b"l", b"../../../etc"), hardlink(b"h", b"l/passwd"), error="is not in the layer"
    ),
    "symbolic link to nothing": hostile(symlink(b"l", b""), error=MADE),
    "symbolic link longer than a path": hostile(
        pax(record(b"linkpath", b"t" * 5000)), symlink(b"l", b"t"), error="File name too long"
    ),
    "hard link to the parent": hostile(hardlink(b"l", b"../../etc/passwd"), error=LEAVES),
    "hard link to the host": hostile(hardlink(b"l", b"/etc/passwd"), error="is not in the layer"),
    "hard link through a link to the root": hostile(
        symlink(b"up", b"/"), hardlink(b"l", b"up/etc/passwd"), error="is not in the layer"
    ),
    "hard link to a directory": hostile(directory(b"d"), hardlink(b"l", b"d"), error=MADE),
    "hard link to itself": hostile(file(b"l"), hardlink(b"l", b"l"), error=TWICE),
    "hard link to what comes later": hostile(hardlink(b"l", b"f"), file(b"f"), error="is not in the layer"),
    "path through a link to the host": hostile(symlink(b"l", b"/etc"), file(b"l/passwd"), error=MADE + "|" + TWICE),
    "path through a link to a process's root": hostile(
        symlink(b"l", b"/proc/1/root/tmp"), file(b"l/escape"), error=MADE
    ),
    "path through links in a circle": hostile(symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/f"), error=MADE),
    "path through a file": hostile(file(b"f"), file(b"f/g"), error=MADE),
    "path through a pipe": hostile(header(b"p", b"6"), file(b"p/g"), error=MADE),
    "link in place of a parent": hostile(file(b"d/f"), symlink(b"d", b"/etc"), file(b"d/passwd"), error=TWICE),
    # Whiteouts
    "whiteout of nothing": hostile(file(b"d/.wh."), error="names nothing"),
    "whiteout of dot": hostile(file(b".wh.."), error="names nothing"),
    "whiteout of the parent": hostile(file(b"a/.wh..."), error="names nothing"),
    "whiteout outside": hostile(file(b"../.wh.etc"), error=LEAVES),
    "whiteout through a link to the host": hostile(symlink(b"l", b"/etc"), file(b"l/.wh.passwd"), error=MADE),
    "opaque directory through a link to the host": hostile(symlink(b"l", b"/etc"), file(b"l/.wh..wh..opq"), error=MADE),
    # Twice
    "file twice": hostile(file(b"f"), file(b"f"), error=TWICE),
    "file twice, in other words": hostile(file(b"d/f"), file(b".//d/./f"), error=TWICE),
    "file twice, through a link": hostile(symlink(b"l", b"d"), file(b"d/f"), file(b"l/f"), error=MADE + "|" + TWICE),
    "file, then link": hostile(file(b"f"), symlink(b"f", b"/etc/passwd"), error=TWICE),
    "link, then file": hostile(symlink(b"f", b"/etc/passwd"), file(b"f"), error=TWICE),
    "link, then directory": hostile(symlink(b"d", b"/etc"), directory(b"d"), error=TWICE),
    "file, then directory": hostile(file(b"f"), directory(b"f"), error=TWICE),
    "directory, then file": hostile(directory(b"d"), file(b"d"), error=TWICE),
    "device, then file": hostile(header(b"n", b"3"), file(b"n"), error=TWICE),
    "file, then device": hostile(file(b"n"), header(b"n", b"3"), error=TWICE),
    # Numbers
    "negative size": hostile(header(size=base256(-512, 12)), error="negative"),
    "size that comes back to the start": hostile(header(size=base256((1 << 64) - 512, 12)), error=NUMBER),
    "size of nonsense": hostile(header(size=b"12x45678901\0"), error=NUMBER),
    "size with a sign": hostile(header(size=b"-0000000001\0"), error=NUMBER),
    "size with an underscore": hostile(header(size=b"0000001_000\0"), error=NUMBER),
    "mode of nonsense": hostile(header(mode=b"rw-r--r-"), error=NUMBER),
    "negative owner": hostile(header(uid=base256(-1, 8)), error="negative"),
    "owner that means nobody": hostile(header(uid=base256((1 << 32) - 1, 8)), error="no system has"),
    "owner too large": hostile(header(gid=base256(1 << 40, 8)), error="no system has"),
    "pax size negative": hostile(pax(record(b"size", b"-1")), file(), error=NUMBER),
    "pax size huge": hostile(pax(record(b"size", b"9" * 30)), file(), error=NUMBER),
    "pax size endless": hostile(pax(record(b"size", b"9" * 18)), file(), error=TRUNCATED),
    "pax owner of nonsense": hostile(pax(record(b"uid", b"root")), file(), error=NUMBER),
    "pax time of nonsense": hostile(pax(record(b"mtime", b"1e9")), file(), error="where a (number|time) belongs"),
    "device number too large": hostile(header(b"n", b"3", device=(base256(1 << 40, 8), b"0\0")), error=MADE),
    # Not a tar archive, or not a whole one
    "text": raw(b"<html>404 Not Found</html>" * 100, "checksum"),
    "noise": raw(os.urandom(4096), "checksum|" + NUMBER + "|negative"),
    "checksum wrong": hostile(header(wrong=True), error="checksum"),
    "cut within the first header": raw(WHOLE[:100], TRUNCATED),
    "cut within a header": raw((WHOLE + file(b"g"))[: len(WHOLE) + 300], TRUNCATED),
    "cut within content": raw(WHOLE[:2000], TRUNCATED),
    "cut within a pax header": raw(pax(record(b"comment", b"c" * 600))[:900], TRUNCATED),
    "cut behind a pax header": raw(pax(record(b"path", b"p")), TRUNCATED),
    "cut within a long name": raw(long_name(b"n" * 600)[:800], TRUNCATED),
    "cut within a sparse map": raw(old_sparse([(0, 1)], 1, b"x", extended=True)[:600], TRUNCATED + "|" + MAP),
    "gzip cut": raw(gzip.compress(WHOLE + END)[:-20], TRUNCATED),
    "gzip cut to its header": raw(gzip.compress(WHOLE + END)[:10], TRUNCATED),
    "xz cut": raw(lzma.compress(WHOLE + END)[:-20], TRUNCATED),
    "bzip2 cut": raw(bz2.compress(WHOLE + END)[:-20], TRUNCATED),
    "zstd cut": raw(zstandard.compress(os.urandom(9000) + END)[:200], "the image says"),
    "gzip damaged": raw(gzip.compress(WHOLE + END)[:-8] + b"12345678", "compression is damaged"),
    "gzip, then something else": raw(gzip.compress(WHOLE + END) + b"something else", "compression is damaged"),
    "xz damaged": raw(lzma.compress(WHOLE + END)[:-30] + bytes(30), "compression is damaged"),
    "bzip2 of nonsense": raw(b"BZh9" + bytes(100), "compression is damaged"),
    "zstd of nonsense": raw(b"\x28\xb5\x2f\xfd" + b"\xff" * 100, "compression is damaged"),
    # Extended headers
    "pax record without a newline": hostile(pax(b"9 path=abc"), file(), error=RECORD),
    "pax record of no length": hostile(pax(b"path=a\n"), file(), error=RECORD + "|" + NUMBER),
    "pax record of length zero": hostile(pax(b"0 a=b\n"), file(), error=RECORD),
    "pax record longer than its header": hostile(pax(b"99 path=a\n"), file(), error=RECORD),
    "pax record without a value": hostile(pax(b"7 path\n"), file(), error=RECORD),
    "pax header that claims a gigabyte": hostile(header(kind=b"x", size=1 << 30), error="claims 1073741824 bytes"),
    "long name that claims a gigabyte": hostile(header(kind=b"L", size=1 << 30), error="claims 1073741824 bytes"),
    "long name of negative size": hostile(header(kind=b"L", size=base256(-1, 12)), error="claims -1 bytes"),
    "two pax headers": hostile(
        pax(record(b"path", b"a")), pax(record(b"path", b"b")), file(), error="two extended headers"
    ),
    "global header that renames": hostile(
        pax(record(b"path", b"a"), kind=b"g"), file(), error="a global header sets path"
    ),
    "global header that resizes": hostile(
        pax(record(b"size", b"0"), kind=b"g"), file(), error="a global header sets size"
    ),
    "unknown type": hostile(header(kind=b"Z"), error="of type b'Z'"),
    "continued from another volume": hostile(header(kind=b"M"), error="of type b'M'"),
    "zeros, then more": raw(bytes(512) + file() + END, "single block of zeros"),
    "directory with content": hostile(file(b"d/"), error="named as a directory"),
    # Sparse files
    "sparse, not in order": hostile(sparse([2, 10, 5, 0, 5], b"x" * 10, 100), error=MAP),
    "sparse, overlapping": hostile(sparse([2, 0, 6, 5, 5], b"x" * 11, 100), error=MAP),
    "sparse, with segments that are no whole blocks": hostile(sparse([2, 0, 5, 1024, 5], b"x" * 10, 1029), error=MAP),
    "sparse, longer than it says": hostile(sparse([1, 90, 20], b"x" * 20, 100), error=MAP),
    "sparse, with more content than its map": hostile(sparse([1, 0, 5], b"x" * 10, 100), error=MAP),
    "sparse, with less content than its map": hostile(sparse([1, 0, 50], b"x" * 10, 100), error=MAP),
    "sparse, with a map that does not end": hostile(sparse([10**9, 0, 5], b"x" * 5, 100), error=MAP),
    "sparse, with a map of nonsense": hostile(sparse([-1], b"x", 100), error=NUMBER),
    "sparse, of eight exabytes": hostile(sparse([1, 0, 1], b"x", (1 << 63) - 1), error="File too large"),
    "sparse, larger than numbers go": hostile(sparse([1, 0, 1], b"x", 1 << 63), error=NUMBER),
    "sparse, of an unknown version": hostile(
        pax(record(b"GNU.sparse.major", b"2"), record(b"GNU.sparse.realsize", b"1")), file(), error="unknown format"
    ),
    "sparse, without a size": hostile(pax(record(b"GNU.sparse.major", b"1")), file(), error="says no size"),
    "sparse, a directory": hostile(pax(record(b"GNU.sparse.size", b"1")), directory(b"d"), error="says no size"),
    "sparse 0.0, out of order": hostile(
        old_map((b"GNU.sparse.numbytes", b"1"), (b"GNU.sparse.offset", b"0")), file(), error=MAP
    ),
    "old sparse, not in order": hostile(old_sparse([(10, 5), (0, 5)], 100, b"x" * 10), error=MAP),
    "old sparse, with more content than its map": hostile(old_sparse([(0, 5)], 100, b"x" * 10), error=MAP),
    "old sparse, negative": hostile(old_sparse([(0, 1)], -1, b"x"), error=MAP),
    # Attributes
    "capabilities of nonsense": hostile(
        pax(record(b"SCHILY.xattr.security.capability", b"all")), file(), error="Invalid argument"
    ),
    "attribute too large": hostile(
        pax(record(b"SCHILY.xattr.user.large", b"v" * 70_000)), file(), error="Argument list too long|too large"
    ),
    "attribute without a class": hostile(pax(record(b"SCHILY.xattr.", b"v")), file(), error=MADE),
    # More than was said
    "gzip bomb": bomb(gzip_compressor),
    "zstd bomb": bomb(lambda: zstandard.ZstdCompressor(level=1).compressobj()),
    "bzip2 bomb": bomb(lambda: bz2.BZ2Compressor(1)),
    "xz bomb": bomb(lambda: lzma.LZMACompressor(preset=0)),
    "bomb behind the end": bomb(gzip_compressor, file() + END),
    "bomb that is left out": bomb(gzip_compressor, header(b".wh..wh.plnk/f", size=300 << 20)),
    "xz that wants much memory": Hostile(xz_of_a_large_dictionary, "compression is damaged|more memory"),
    "zstd that wants much memory": Hostile(zstd_of_a_large_window, "compression is damaged|more memory"),
}
