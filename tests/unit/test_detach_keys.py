"""Detach keys in a terminal's input."""

import pytest

from darse.detach_keys import DetachKeys, InvalidKeys, parse


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-a", b"\x01"),
        ("a,b", b"ab"),
        ("ctrl-@,ctrl-[,ctrl-_", b"\x00\x1b\x1f"),
    ],
)
def test_a_sequence_is_read(text, keys):
    assert parse(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-é", "abc", "", "ctrl-ab", "ctrl-A", "é", "a,,b"])
def test_what_is_no_sequence_is_refused(text):
    with pytest.raises(InvalidKeys, match="Invalid detach keys"):
        parse(text)


@pytest.mark.parametrize(
    ("pieces", "passed", "detached"),
    [
        ([b"ls\n"], b"ls\n", False),
        ([b"ls\x10\x11"], b"ls", True),
        ([b"\x10", b"\x11"], b"", True),
        ([b"\x10", b"a"], b"\x10a", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
    ],
)
def test_the_sequence_detaches_and_is_not_passed_on(pieces, passed, detached):
    keys = DetachKeys(b"\x10\x11")
    results = [keys.filter(piece) for piece in pieces]
    assert b"".join(data for data, _ in results) == passed
    assert results[-1][1] is detached


def test_a_held_back_key_follows_with_the_next_input():
    keys = DetachKeys(b"\x10\x11")
    assert keys.filter(b"\x10") == (b"", False)
    assert keys.filter(b"x") == (b"\x10x", False)
