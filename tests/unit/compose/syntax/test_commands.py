"""Commands that are one text."""

from __future__ import annotations

import pytest

from darse.compose.syntax.commands import InvalidCommand, split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("a b", ["a", "b"]),
        ("  a\t b ", ["a", "b"]),
        ("sh -c 'a; b'", ["sh", "-c", "a; b"]),
        ('a "b c" d', ["a", "b c", "d"]),
        ('a ""', ["a", ""]),
        ("a\\ b", ["a b"]),
        ("'a\\b'", ["a\\b"]),
        ("a; b", ["a"]),
        ("a 2>b", ["a"]),
        ("a && b", ["a"]),
        ("`a b` c", ["`a b`", "c"]),
        ("$(a b) c", ["$(a b)", "c"]),
        ("a=$HOME", ["a=$HOME"]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert split(line) == words


@pytest.mark.parametrize("line", ["'a", '"a', "a\\", "`a", "$(a", "a(b"])
def test_what_is_not_closed(line: str) -> None:
    with pytest.raises(InvalidCommand):
        split(line)
