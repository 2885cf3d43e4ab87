"""Patterns of Go's path.Match: the cases of its documentation, and of its syntax errors."""

from __future__ import annotations

import pytest

from darse.core.expressions import Expression
from darse.core.path_patterns import InvalidPathPattern, as_expression, is_plain


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("abc", "abc", True),
        ("ab", "abc", False),
        ("bc", "abc", False),
        ("*", "abc", True),
        ("*", "a/b", False),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a***c", "abbc", True),
        ("*/app:*", "team/app:1", True),
        ("?", "é", True),
        ("a?c", "a/c", False),
        ("?*", "", False),
        ("", "", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a[^b]c", "a/c", True),
        ("a[!b]", "ab", True),  # `!` is a member like others
        ("a[!b]", "ac", False),
        ("a[z-b]", "ac", False),
        ("a[^z-b]", "ac", True),
        ("a[x\\]]", "a]", True),
        ("a[\\-x]", "a-", True),
        ("a[[x]", "a[", True),
        ("a\\*c", "a*c", True),
        ("a\\*c", "abc", False),
        ("a\\bc", "abc", True),
        ("a.c", "abc", False),
        ("(a|b)+{2}$^", "(a|b)+{2}$^", True),
        ("a\n?", "a\nb", True),
        ("*", "a\nb", True),
        ("[^a]", "\n", True),
        ("日[一-本]", "日本", True),
    ],
)
def test_what_matches(pattern: str, path: str, matches: bool) -> None:
    assert Expression(as_expression(pattern)).found_in(path) is matches
    if is_plain(pattern):
        assert (pattern == path) is matches


@pytest.mark.parametrize(
    "pattern", ["[", "a[", "[]", "[]a]", "[-a]", "[a-]", "[a--]", "[^", "[^]", "[a", "[a\\", "a\\", "[\\"]
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(InvalidPathPattern, match="syntax error in pattern"):
        as_expression(pattern)
