"""Reads the files of bbolt, the key-value store in which docker keeps its networks and volumes.

The format (https://github.com/etcd-io/bbolt, `page.go`, `node.go`, `bucket.go`), little-endian:

    page      id u64, flags u16, count u16, overflow u32; then elements. Meta pages are the first two
    meta      magic u32, version u32, page size u32, flags u32, root bucket's page u64 and sequence u64, freelist u64,
              page count u64, transaction u64, FNV-1a u64 of all before. The one with the greater transaction counts
    branch    for each element: position u32, key size u32, page u64; the position is from the element's own start
    leaf      for each element: flags u32 (1: a bucket), position u32, key size u32, value size u32
    bucket    root page u64, sequence u64; with root 0 a page follows that is the bucket's only one

A file is in memory as a whole; docker's have some hundred kilobytes. Each page is visited once, so that a file that
refers to itself ends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from darse.linux.fs.files import open_regular

_MAGIC, _VERSION = 0xED0CDAED, 2
_PAGE = struct.Struct("<QHHI")
_META = struct.Struct("<IIIIQQQQQ")
_CHECKSUM = struct.Struct("<Q")
_BRANCH = struct.Struct("<IIQ")
_LEAF = struct.Struct("<IIII")
_BUCKET = struct.Struct("<QQ")
_IS_BRANCH, _IS_LEAF, _IS_BUCKET = 0x01, 0x02, 0x01
#: Bytes that a file may have.
MOST_BYTES = 256 << 20


class DamagedBolt(Exception):
    """The file is none of bbolt's, or is damaged."""


class BoltFile:
    """One file, as it was when it was read."""

    def __init__(self, path: Path) -> None:
        """Raises DamagedBolt and OSError."""
        with open(path, "rb", opener=open_regular) as file:
            self._data = file.read(MOST_BYTES + 1)
        if len(self._data) > MOST_BYTES:
            raise DamagedBolt(f"it has more than {MOST_BYTES >> 20} MB")
        self._page_size, self._root = self._meta()

    def bucket(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys and values of a bucket of the top, if there is one of this name. Raises DamagedBolt."""
        for key, value, is_bucket in self._bounded(self._pairs(self._root, set())):
            if key == name and is_bucket:
                for found, content, further in self._bounded(self._bucket(value)):
                    if not further:
                        yield found, content

    def _bounded(self, pairs: Iterator[tuple[bytes, bytes, bool]]) -> Iterator[tuple[bytes, bytes, bool]]:
        """The pairs as long as they fit in the file: those of a damaged page may all be the same million bytes."""
        left = len(self._data)
        for key, value, is_bucket in pairs:
            left -= len(key) + len(value)
            if left < 0:
                raise DamagedBolt("its keys and values are longer than the file")
            yield key, value, is_bucket

    def _meta(self) -> tuple[int, int]:
        """The size of pages, and the root bucket's page: of the newer of the whole metas."""
        found = []
        # The second page begins where the first says; a first that is damaged cannot, and pages are the system's.
        sizes = {4096, 8192, 16384, 65536}
        if len(self._data) >= _PAGE.size + _META.size:
            sizes.add(_META.unpack_from(self._data, _PAGE.size)[2])
        for offset in (0, *sorted(sizes)):
            start = offset + _PAGE.size
            if len(self._data) < start + _META.size + _CHECKSUM.size:
                continue
            magic, version, size, _, root, _, _, _, transaction = _META.unpack_from(self._data, start)
            (checksum,) = _CHECKSUM.unpack_from(self._data, start + _META.size)
            if magic == _MAGIC and version == _VERSION and checksum == _fnv(self._data[start : start + _META.size]):
                found.append((transaction, size, root))
        if not found:
            raise DamagedBolt("it has no whole meta page")
        _, size, root = max(found)
        if size < 512:
            raise DamagedBolt(f"its pages have {size} bytes")
        return size, root

    def _bucket(self, value: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
        if len(value) < _BUCKET.size:
            raise DamagedBolt("a bucket is not whole")
        root, _ = _BUCKET.unpack_from(value)
        if root:
            yield from self._pairs(root, set())
        else:
            yield from _leaf(memoryview(value)[_BUCKET.size :])

    def _pairs(self, root: int, seen: set[int]) -> Iterator[tuple[bytes, bytes, bool]]:
        pending = [root]
        while pending:
            number = pending.pop()
            if number in seen:
                raise DamagedBolt(f"page {number} is in it twice")
            seen.add(number)
            page = self._page(number)
            _, flags, count, _ = _PAGE.unpack_from(page)
            if flags & _IS_BRANCH:
                pending += reversed([_branch(page, index) for index in range(count)])
            elif flags & _IS_LEAF:
                yield from _leaf(page)
            else:
                raise DamagedBolt(f"page {number} is no branch and no leaf")

    def _page(self, number: int) -> memoryview:
        start = number * self._page_size
        if start + _PAGE.size > len(self._data):
            raise DamagedBolt(f"page {number} is beyond its end")
        overflow = _PAGE.unpack_from(self._data, start)[3]
        return memoryview(self._data)[start : start + (overflow + 1) * self._page_size]


def _branch(page: memoryview, index: int) -> int:
    try:
        return int(_BRANCH.unpack_from(page, _PAGE.size + index * _BRANCH.size)[2])
    except struct.error as error:
        raise DamagedBolt("a branch page is not whole") from error


def _leaf(page: memoryview) -> Iterator[tuple[bytes, bytes, bool]]:
    try:
        count = _PAGE.unpack_from(page)[2]
        for index in range(count):
            start = _PAGE.size + index * _LEAF.size
            flags, position, key_size, value_size = _LEAF.unpack_from(page, start)
            key = start + position
            value = key + key_size
            if value + value_size > len(page):
                raise DamagedBolt("a leaf page is not whole")
            yield bytes(page[key:value]), bytes(page[value : value + value_size]), bool(flags & _IS_BUCKET)
    except struct.error as error:
        raise DamagedBolt("a leaf page is not whole") from error


def _fnv(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
