"""Lists of a context's entries: cut anywhere, in order, and no path that leads out."""

from __future__ import annotations

import random
import stat

import pytest

from darse.build.context_list import CheckedEntry, InvalidList, ListCheck, encode, order, records

FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777


def checked(*paths: tuple[bytes, int]) -> list[bytes]:
    check = ListCheck()
    for path, mode in paths:
        check.check(path)
        if stat.S_ISDIR(mode):
            check.above.append(path)
    return check.above


def test_records_come_the_same_however_the_list_is_cut() -> None:
    entries = [(b"a", FILE, 3, 1_500_000_000_000_000_001, b"7.8", b""), (b"b", LINK, 0, -5, b"", b"a/../b\nc")]
    data = b"".join(encode(*one) for one in entries)
    whole = list(records([data]))
    assert [CheckedEntry(one).path for one in whole] == [b"a", b"b"]
    assert (CheckedEntry(whole[0]).time, CheckedEntry(whole[1]).time) == (1_500_000_000_000_000_001, -5)
    chance = random.Random(1)
    for _ in range(200):
        cuts = sorted(chance.randrange(len(data)) for _ in range(5))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert list(records(pieces)) == whole


def test_the_order_is_that_of_a_walk() -> None:
    paths = [b"a", b"a/x", b"a/x/y", b"a-b", b"a.c", b"ab"]
    assert sorted(sorted(paths), key=order) == paths
    assert checked(*((path, DIRECTORY) for path in paths)) == [b"", b"ab"]


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ([(b"../a", FILE)], "in no directory"),
        ([(b"..", DIRECTORY)], "no path of a context"),
        ([(b"/etc", FILE)], "no path of a context"),
        ([(b"", FILE)], "twice"),
        ([(b"a", DIRECTORY), (b"a/", FILE)], "no path of a context"),
        ([(b"a", DIRECTORY), (b"a/..", DIRECTORY)], "no path of a context"),
        ([(b"a", DIRECTORY), (b"a/.", DIRECTORY)], "no path of a context"),
        ([(b"a", FILE), (b"a", FILE)], "there twice"),
        ([(b"b", FILE), (b"a", FILE)], "not in order"),
        ([(b"a", LINK), (b"a/b", FILE)], "in no directory"),
        ([(b"a", DIRECTORY), (b"b", FILE), (b"b/c", FILE)], "in no directory"),
        ([(b"n" * 256, FILE)], "no path of a context"),
        ([(b"missing/a", FILE)], "in no directory"),
    ],
)
def test_paths_that_no_tree_has(paths: list[tuple[bytes, int]], why: str) -> None:
    with pytest.raises(InvalidList, match=why):
        checked(*paths)


@pytest.mark.parametrize(
    "data",
    [
        encode(b"a", FILE, 0, 0)[:-1],
        b"a\0x\0" + b"0\0" * 4,
        b"a\0" + b"100644\0-1\0" + b"0\0\0\0",
        b"a\0" + b"140644\0" + b"0\0" * 2 + b"\0\0",
        b"a\0" + b"100644\0" + b"0\0" + b"-\0" + b"\0\0",
        encode(b"a", LINK, 0, 0, b"", b"x" * 4096),
        encode(b"a", FILE, 0, 1 << 64),
        b"a" * 100_000,
    ],
)
def test_records_that_no_entry_has(data: bytes) -> None:
    pieces = [data[at : at + 50] for at in range(0, len(data), 50)]
    with pytest.raises(InvalidList):
        [CheckedEntry(one) for one in records(pieces)]
