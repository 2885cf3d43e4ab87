"""Files of bbolt: read as bbolt writes them, and never for ever."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from darse.docker_import.bolt import BoltFile, DamagedBolt, _fnv

_SIZE = 512
Pairs = list[tuple[bytes, bytes]]


def leaf(pairs: Pairs, flags: int = 0, number: int = 0) -> bytes:
    """A leaf page, as long as it needs to be."""
    heads, bodies, position = b"", b"", 16 * len(pairs)
    for key, value in pairs:
        heads += struct.pack("<IIII", flags, position, len(key), len(value))
        bodies += key + value
        position += len(key) + len(value) - 16
    return struct.pack("<QHHI", number, 2, len(pairs), 0) + heads + bodies


def branch(children: list[tuple[bytes, int]], number: int) -> bytes:
    heads, bodies, position = b"", b"", 16 * len(children)
    for key, child in children:
        heads += struct.pack("<IIQ", position, len(key), child)
        bodies += key
        position += len(key) - 16
    return struct.pack("<QHHI", number, 1, len(children), 0) + heads + bodies


def meta(number: int, root: int, transaction: int) -> bytes:
    head = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, _SIZE, 0, root, 0, 9, 9, transaction)
    return struct.pack("<QHHI", number, 4, 0, 0) + head + struct.pack("<Q", _fnv(head))


def written(path: Path, *pages: bytes, metas: tuple[bytes, bytes] = (meta(0, 2, 8), meta(1, 2, 7))) -> BoltFile:
    path.write_bytes(b"".join(page.ljust(_SIZE, b"\0") for page in (*metas, *pages)))
    return BoltFile(path)


def bucket(root: int) -> bytes:
    return struct.pack("<QQ", root, 0)


def test_a_bucket_that_is_in_the_page_above_it(tmp_path: Path) -> None:
    inner = bucket(0) + leaf([(b"a", b"1"), (b"b", b"")])
    file = written(tmp_path / "db", leaf([(b"volumes", inner)], flags=1))
    assert list(file.bucket(b"volumes")) == [(b"a", b"1"), (b"b", b"")]
    assert list(file.bucket(b"others")) == []


def test_pairs_that_are_all_the_same_bytes_are_not_read_a_thousand_times(tmp_path: Path) -> None:
    # Each value begins at its own element, and has all that follows.
    heads = b"".join(struct.pack("<IIII", 0, 0, 0, 16 * (20 - index)) for index in range(20))
    page = struct.pack("<QHHI", 3, 2, 20, 0) + heads
    many = page.ljust(_SIZE, b"\0")
    file = written(tmp_path / "db", leaf([(b"volumes", bucket(3))], flags=1), many)
    with pytest.raises(DamagedBolt, match="longer than the file"):
        list(file.bucket(b"volumes"))


def test_a_bucket_of_many_pages_in_order(tmp_path: Path) -> None:
    file = written(
        tmp_path / "db",
        leaf([(b"volumes", bucket(3))], flags=1),
        branch([(b"a", 4), (b"c", 5)], 3),
        leaf([(b"a", b"1"), (b"b", b"2")]),
        leaf([(b"c", b"3")]),
    )
    assert list(file.bucket(b"volumes")) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]


def test_the_newer_whole_meta_counts(tmp_path: Path) -> None:
    old, new = (
        leaf([(b"b", bucket(0) + leaf([(b"k", b"old")]))], 1),
        leaf([(b"b", bucket(0) + leaf([(b"k", b"new")]))], 1),
    )
    file = written(tmp_path / "db", old, new, metas=(meta(0, 2, 7), meta(1, 3, 8)))
    assert list(file.bucket(b"b")) == [(b"k", b"new")]
    torn = meta(1, 3, 8)[:-1] + b"\0"
    file = written(tmp_path / "db", old, new, metas=(meta(0, 2, 7), torn))
    assert list(file.bucket(b"b")) == [(b"k", b"old")]


def test_pages_that_lead_back_to_themselves_end(tmp_path: Path) -> None:
    file = written(tmp_path / "db", leaf([(b"b", bucket(3))], 1), branch([(b"a", 3)], 3))
    with pytest.raises(DamagedBolt, match="page 3 is in it twice"):
        list(file.bucket(b"b"))


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, b"SQLite format 3\0" * 1000], ids=["empty", "zeros", "another"])
def test_what_is_no_bolt_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "db"
    path.write_bytes(content)
    with pytest.raises(DamagedBolt, match="no whole meta page"):
        BoltFile(path)


@hypothesis.given(strategies.integers(min_value=2 * _SIZE), strategies.integers(0, 255))
def test_any_byte_may_be_wrong(tmp_path_factory: pytest.TempPathFactory, place: int, value: int) -> None:
    path = tmp_path_factory.mktemp("bolt") / "db"
    written(
        path,
        leaf([(b"b", bucket(3))], 1),
        branch([(b"a", 4), (b"c", 5)], 3),
        leaf([(b"a", b"1")]),
        leaf([(b"c", b"3")]),
    )
    data = bytearray(path.read_bytes())
    data[2 * _SIZE + place % (len(data) - 2 * _SIZE)] = value
    path.write_bytes(data)
    found: Pairs = []
    with contextlib.suppress(DamagedBolt):
        found += BoltFile(path).bucket(b"b")
    assert len(found) < 70000
