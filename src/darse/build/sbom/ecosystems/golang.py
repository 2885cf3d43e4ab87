"""Modules in Go programs: the build information that the linker writes into them (Go's debug/buildinfo).

In the section `.go.buildinfo`, since Go 1.18: a magic number, the pointers' size, flags; at offset 32 two texts, each
after its length as a varint: Go's version, and the modules, a line for each, between two marks of sixteen bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from darse.build.sbom.packages import Package, short

_MAGIC = b"\xff Go buildinf:"
_SECTION = b".go.buildinfo"
_TEXTS, _MARK = 32, 16
_INLINE = 2
_OF_NO_VERSION = "(devel)"
# What programs really have is a tenth of it.
_MOST_SECTIONS, _MOST_BYTES = 1024, 4 << 20
_HEADER = 64


def is_program(mode: int, size: int) -> bool:
    """Whether a file may be one."""
    return bool(mode & 0o111) and size > _HEADER


def find(descriptor: int, place: str) -> Iterator[Package]:
    """Yield the modules of a program, and Go's library; none of another file. Raises OSError."""
    information = _section(descriptor)
    if information is not None:
        yield from parse(information, place)


def parse(information: bytes, place: str) -> Iterator[Package]:
    """Yield the modules of a section's content."""
    if not information.startswith(_MAGIC) or len(information) < _TEXTS or not information[15] & _INLINE:
        return
    version, rest = _text(information[_TEXTS:])
    modules, _ = _text(rest)
    language = short(version.decode("utf-8", "replace")).partition(" ")[0].removeprefix("go")
    if language:
        yield _package("stdlib", language, place)
    if len(modules) > 2 * _MARK:
        yield from _modules(modules[_MARK:-_MARK].decode("utf-8", "replace"), place)


def _modules(text: str, place: str) -> Iterator[Package]:
    """`dep PATH VERSION SUM`, and `=> …` for what was taken in the place of the one before it."""
    found: list[Package] = []
    for line in text.split("\n"):
        kind, *words = line.split("\t")
        if kind not in ("mod", "dep", "=>") or len(words) < 2:
            continue
        if kind == "=>" and found:
            found.pop()
        path, version = short(words[0]), short(words[1])
        if path and not path.startswith((".", "/")):
            found.append(_package(path, version, place))
    yield from found


def _package(path: str, version: str, place: str) -> Package:
    namespace, _, name = path.rpartition("/")
    version = version if version != _OF_NO_VERSION else ""
    return Package(kind="golang", namespace=namespace, name=name, version=version, place=place)


def _text(data: bytes) -> tuple[bytes, bytes]:
    """A text after its length, and what comes after it; both empty where it is cut off."""
    length = shift = 0
    for index, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            start = index + 1
            end = start + length
            return (data[start:end], data[end:]) if end <= len(data) else (b"", b"")
    return b"", b""


def _section(descriptor: int) -> bytes | None:
    """The section of an ELF file of 64 bits, least significant byte first: elf(5)."""
    header = os.pread(descriptor, _HEADER, 0)
    if len(header) < _HEADER or header[:6] != b"\x7fELF\x02\x01":
        return None
    (table,) = struct.unpack_from("<Q", header, 40)
    size, count, names_at = struct.unpack_from("<HHH", header, 58)
    if size != _HEADER or not 0 < count <= _MOST_SECTIONS or names_at >= count:
        return None
    sections = _read(descriptor, table, count * size)
    if len(sections) < count * size:
        return None
    names = _read(descriptor, *_extent(sections, names_at))
    for index in range(count):
        (name,) = struct.unpack_from("<I", sections, index * _HEADER)
        if names[name : name + len(_SECTION) + 1] == _SECTION + b"\0":
            return _read(descriptor, *_extent(sections, index))
    return None


def _extent(sections: bytes, index: int) -> tuple[int, int]:
    offset, size = struct.unpack_from("<QQ", sections, index * _HEADER + 24)
    return offset, size


def _read(descriptor: int, offset: int, size: int) -> bytes:
    # An offset beyond what the kernel takes is of a file that lies.
    return os.pread(descriptor, min(size, _MOST_BYTES), offset) if offset < 1 << 62 else b""
