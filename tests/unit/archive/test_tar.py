"""The reader of tar archives: what is content, and what is kept; the writer of headers; numbers and records."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest

from darse.archive.errors import ArchiveRefused, Truncated
from darse.archive.headers import entry_headers, padded
from darse.archive.tar import Blocks, Entry, Reader, _fraction, _number, records


def buffers(archive: bytes, size: int) -> Iterator[memoryview]:
    return (memoryview(archive[start : start + size]) for start in range(0, len(archive), size))


def read(archive: bytes, size: int = 1024) -> tuple[list[tuple[Entry, bytes]], bytes]:
    """The entries with their content, and all the rest."""
    kept: list[bytes] = []
    reader = Reader(Blocks(buffers(archive, size)), kept.append)
    found = [(entry, b"".join(bytes(piece) for piece in reader.content())) for entry in reader]
    return found, b"".join(kept)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [512, 1024, 1 << 20])
def test_content_and_the_rest_make_up_the_archive(form: int, size: int) -> None:
    contents = {"a": b"", "b": b"x", "d/" + "n" * 90: bytes(range(256)) * 20, "e" * 50 + "/" + "f" * 60: b"y" * 512}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as writer:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mtime = 1_234_567
            writer.addfile(info, io.BytesIO(content))
    archive = buffer.getvalue()
    found, kept = read(archive, size)
    assert {entry.path.decode(): content for entry, content in found} == contents
    assert {entry.time_ns for entry, _ in found} == {1_234_567_000_000_000}
    assert len(kept) + sum(map(len, contents.values())) == len(archive)


def test_content_that_nobody_asks_for_is_kept() -> None:
    archive = entry_headers(b"f", b"0", size=5) + padded(b"hello") + bytes(1024)
    kept: list[bytes] = []
    assert [entry.path for entry in Reader(Blocks(buffers(archive, 512)), kept.append)] == [b"f"]
    assert b"".join(kept) == archive


@pytest.mark.parametrize(
    "fields",
    [
        {"path": b"p" * 300, "link": b"l" * 300, "kind": b"2"},
        {"uid": 1 << 31, "gid": 3, "size": 9 << 30},
        {"xattrs": {b"user.a": b"\n=\0", b"user.b": b""}},
        {"mode": 0o7777, "seconds": 1 << 34},
        {"seconds": -5},
        {"kind": b"3", "device": (8, 17)},
        {"path": "ü".encode() * 50, "more": {b"comment": b"c" * 1000}},
    ],
)
def test_headers_say_what_they_were_told(fields: dict[str, object]) -> None:
    wanted: dict[str, object] = {"path": b"f", "kind": b"0", "mode": 0o644, **fields}
    path, kind = wanted.pop("path"), wanted.pop("kind")
    raw = entry_headers(path, kind, **wanted)  # type: ignore[arg-type]
    entry = next(iter(Reader(Blocks(buffers(raw, 512)), lambda _: None)))
    assert (entry.path, entry.kind, entry.mode) == (path, kind, wanted["mode"])
    assert (entry.uid, entry.gid, entry.size) == (wanted.get("uid", 0), wanted.get("gid", 0), wanted.get("size", 0))
    assert entry.time_ns == wanted.get("seconds", 0) * 1_000_000_000  # type: ignore[operator]
    assert (entry.link, entry.device) == (wanted.get("link", b""), wanted.get("device", (0, 0)))
    assert entry.xattrs == wanted.get("xattrs")
    assert len(raw) % 512 == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"00000644", 0o644),
        (b"\0" * 8, 0),
        (b"\x80\0\0\0\0\0\x01\0", 256),
        (b"\xff" * 8, -1),
        (b"\x80" + b"\0" * 3 + b"\xff" * 8, None),
        (b"0000648\0", None),
        (b"-000001\0", None),
        (b"00_0001\0", None),
        (b"0o00001\0", None),
    ],
)
def test_numbers(field: bytes, value: int | None) -> None:
    if value is None:
        with pytest.raises(ArchiveRefused):
            _number(field)
    else:
        assert _number(field) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1", 10**9),
        (b"1.5", 1_500_000_000),
        (b"-1.5", -1_500_000_000),
        (b"0.1234567891", 123_456_789),
        (b"7.", 7 * 10**9),
    ],
)
def test_times(text: bytes, value: int) -> None:
    assert _fraction(text) == value


def test_records() -> None:
    assert list(records(b"12 path=a=b\n7 k=\0\n\n")) == [
        (b"path", b"a=b"),
        (b"k", b"\0\n"),
    ]
    for bad in (b"5 a=b\n", b"6 a=b", b"a=b\n", b"0 a=b\n", b"5 a\n\n", b"6 =ab\n"):
        with pytest.raises(ArchiveRefused):
            list(records(bad))


@pytest.mark.parametrize("cut", [*range(1, 1600, 97), 512 + 700])
def test_an_archive_that_is_cut_is_truncated_unless_between_entries(cut: int) -> None:
    entry = entry_headers(b"f", b"0", size=700) + padded(b"x" * 700)
    # Behind the content, padding and end may be missing: what umoci writes ends so. A part of the padding may not.
    if cut < 512 + 700 or 512 + 700 < cut < 3 * 512:
        with pytest.raises(Truncated):
            read(entry[:cut])
    else:
        found, _ = read(entry[:cut])
        assert found[0][1] == b"x" * 700
