"""Patterns for paths, against tables from docker's documentation and a slow reading of its rules."""

from __future__ import annotations

import time

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from darse.build.errors import InvalidPattern
from darse.build.ignore import (
    PathMatcher,
    PathResult,
    clean,
    ignore_file_names,
    read_ignore_file,
    with_build_files,
)
from tests.unit.build.many import many, some


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("", []),
        ("\ufeff# c\n\n  *.md  \r\n", ["*.md"]),
        ("/a/b/\n./c\nd/../e\n/\n.", ["a/b", "c", "e", "/", "."]),
        ("! a/\n!/b\n!", ["!a", "!b", "!"]),
        (" # not a comment", ["# not a comment"]),
    ],
)
def test_reads_ignore_files(text: str, patterns: list[str]) -> None:
    assert read_ignore_file(text) == patterns


@pytest.mark.parametrize(
    ("patterns", "path", "matched"),
    [
        (["*"], "a", True),
        (["*"], "a/b", True),
        (["*.md"], "README.md", True),
        (["*.md"], "docs/README.md", False),
        (["**/*.md"], "docs/a/README.md", True),
        (["**/*.md"], "README.md", True),
        (["**"], "a/b", True),
        (["**/"], "a", True),
        (["a/**"], "a", False),
        (["a/**"], "a/b/c", True),
        (["a**"], "ab/c", True),
        (["**b"], "x/ab", True),
        (["**/b"], "x/ab", False),
        (["**/b"], "b", True),
        (["**/b"], "a/b/c", True),
        (["a/**/b"], "a/b", True),
        (["a/**/b"], "a/x/y/b", True),
        (["a/**/b"], "ab", False),
        (["temp?"], "tempa", True),
        (["temp?"], "temp", False),
        (["temp?"], "temp/", False),
        (["[a-c]x"], "bx", True),
        (["[^a-c]x"], "bx", False),
        (["\\*"], "*", True),
        (["\\*"], "a", False),
        (["a.b"], "axb", False),
        (["a+(b)|{c}$"], "a+(b)|{c}$", True),
        (["a b"], "a b", True),
        (["*{x,y}"], "a{x,y}", True),
        (["a{2}?"], "aab", True),
        (["a|b"], "a|b", True),
        (["a*|b"], "xb", True),
        (["a*|b"], "ax", True),
        (["a*|b"], "x", False),
        (["é?"], "été", False),
        (["é*"], "éa", True),
        (["*.txt"], "\udcff.txt", True),
        (["node_modules"], "node_modules/a/b.js", True),
        (["*", "!a"], "a", False),
        (["*", "!a"], "b", True),
        (["*", "!a"], "a/b", False),
        (["!a", "*"], "a", True),
        (["a", "!a/b"], "a/b", False),
        (["a", "!a/b", "a/b/c"], "a/b/c", True),
        (["*", "!a", "a/secret"], "a/secret/x", True),
        (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),
        (["*.md", "!README*.md", "README-secret.md"], "README-x.md", False),
        (["a", "", "  "], "a", True),
        (["."], "a", False),
        (["*"], ".", False),
        (["/a"], "a", False),
        (["a/../b"], "b", True),
    ],
)
def test_matches(patterns: list[str], path: str, matched: bool) -> None:
    assert PathMatcher(patterns).matches(path) is matched


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-]", "[-a]", "[^]", "a\\", "[a\\", "[a-", "!", "! ", "[z-a]x"])
def test_refuses(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        PathMatcher([pattern])


@pytest.mark.parametrize(
    ("patterns", "directory", "expected"),
    [
        (["*"], "a", False),
        (["*", "!a/b/c"], "a", True),
        (["*", "!a/b/c"], "a/b", True),
        (["*", "!a/b/c"], "a/b/c", True),
        (["*", "!a/b/c"], "a/x", False),
        (["*", "!a/b/c"], "b", False),
        (["*", "!**/keep"], "b", True),
        (["*", "!a/*/keep"], "b", False),
        (["*", "!a/*/keep"], "a/x/y", True),
        (["*", "!a"], "a/b", False),
    ],
)
def test_walks_look_for_exceptions_only_where_they_may_be(patterns: list[str], directory: str, expected: bool) -> None:
    assert PathMatcher(patterns).may_have_exceptions(directory) is expected


def test_a_walk_passes_results_down() -> None:
    matcher = PathMatcher(["*", "!src", "src/*.o"])
    assert matcher.may_have_exceptions("src")
    source = matcher.below("src")
    assert source == PathResult(False, 0b011)
    assert matcher.below("src/a.o", source).matched
    assert not matcher.below("src/a.c", source).matched
    assert matcher.below("lib/a.c", matcher.below("lib")).matched


def test_files_that_the_builder_reads_are_sent() -> None:
    assert with_build_files(["*"], "Dockerfile") == ["*", "!.dockerignore", "!Dockerfile"]
    assert with_build_files(["*.md"], "Dockerfile") == ["*.md"]
    assert with_build_files(["*"], "Dockerfile", from_stdin=True) == ["*", "!.dockerignore"]
    assert ignore_file_names("build/x.Dockerfile")[0] == "build/x.Dockerfile.dockerignore"


def test_many_paths_are_quick() -> None:
    matcher = PathMatcher(["**/node_modules", "*.log", "!keep.log", "dist/**", "**/.git", "!**/*.keep", "tmp*"])
    started = time.process_time()
    for number in range(200):
        parent = matcher.below(f"d{number}")
        for name in range(100):
            matcher.below(f"d{number}/file{name}.py", parent)
    assert time.process_time() - started < 1


def test_patterns_that_are_meant_to_be_slow_are_not() -> None:
    matcher = PathMatcher(["*a" * 200 + "b", "**/" * 100 + "x"])
    started = time.process_time()
    assert not matcher.matches("a" * 4000)
    assert time.process_time() - started < 2


def _slow(pattern: str, path: str) -> bool:
    """One pattern and one path, letter by letter."""
    if pattern.startswith("**"):
        rest = pattern[2:]
        if not set(rest) & set("*?[]\\"):
            return path.endswith(rest) or (rest.startswith("/") and path == rest[1:])
    return _match(pattern, path)


def _match(pattern: str, path: str) -> bool:
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern[2:].removeprefix("/")
        return (
            not rest
            or _match(rest, path)
            or any(path[at] == "/" and _match(rest, path[at + 1 :]) for at in range(len(path)))
        )
    if pattern[0] == "*":
        return _match(pattern[1:], path) or (path[:1] not in ("", "/") and _match(pattern, path[1:]))
    if not path:
        return False
    if pattern[0] == "?":
        return path[0] != "/" and _match(pattern[1:], path[1:])
    if pattern[0] == "[":
        end = pattern.index("]")
        inside = pattern[1:end]
        found = path[0] in inside[1:] if inside.startswith("^") else path[0] not in inside
        return not found and _match(pattern[end + 1 :], path[1:])
    literal = pattern[1:] if pattern[0] == "\\" else pattern
    return path[0] == literal[0] and _match(literal[1:], path[1:])


def _slow_matches(patterns: list[str], path: str) -> bool:
    matched = False
    above = [path[:at] for at, letter in enumerate(path) if letter == "/"]
    for text in patterns:
        pattern = clean(text)
        exception, pattern = pattern.startswith("!"), pattern.removeprefix("!")
        if exception is matched and any(_slow(pattern, one) for one in [path, *above]):
            matched = not exception
    return matched


def _slow_walk(patterns: list[str], path: str) -> bool:
    """As a walk finds it: what a directory's patterns said is not asked again."""
    inherited = [False] * len(patterns)
    matched = False
    components = path.split("/")
    for depth in range(1, len(components) + 1):
        matched = False
        for index, text in enumerate(patterns):
            pattern = clean(text)
            exception, pattern = pattern.startswith("!"), pattern.removeprefix("!")
            if not inherited[index]:
                inherited[index] = exception is matched and _slow(pattern, "/".join(components[:depth]))
            if inherited[index]:
                matched = not exception
    return matched


@pytest.mark.parametrize(
    "patterns",
    [
        [f"a{number}?{{0,1000}}" for number in range(20)],
        [f"{sign}{number}?{{300}}" for number in range(4) for sign in ("", "!")],
    ],
)
def test_counts_are_bounded_together(patterns: list[str]) -> None:
    begun = time.thread_time()
    with pytest.raises(InvalidPattern, match="add up to more than 1000"):
        PathMatcher(patterns)
    assert time.thread_time() - begun < 0.1


def test_no_program_outlives_its_matcher() -> None:
    PathMatcher(["*.log", "!keep?"])
    with pytest.raises(InvalidPattern):
        PathMatcher(["a?{1001}"])
    assert re2._Regexp._make.cache_info().currsize == 0


def test_a_brace_that_is_no_count_may_be_any_number() -> None:
    matcher = PathMatcher(["log{20261129}", "b\\{5000}*"])
    assert matcher.matches("log{20261129}")
    assert matcher.matches("b{5000}x")


_PIECES = st.sampled_from(["a", "b", ".", "/", "*", "**", "?", "[ab]", "[^a]", "\\.", "\\*", "ab", "**/", "/**"])
_PATTERN = st.builds(
    lambda sign, pieces: sign + "".join(pieces),
    st.sampled_from(["", "", "!"]),
    st.lists(_PIECES, min_size=1, max_size=5),
).filter(lambda text: clean(text) not in ("!",) and not clean(text).startswith(("!!", "!/../")))
_PATH = (
    st.lists(st.text("ab.*", min_size=1, max_size=3), min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda path: path != ".")
)


@given(st.lists(_PATTERN, max_size=5), _PATH)
def _against_the_slow_reading(patterns: list[str], path: str) -> None:
    matcher = PathMatcher(patterns)
    assert matcher.matches(path) is _slow_matches(patterns, path)
    result: PathResult | None = None
    components = path.split("/")
    for depth in range(1, len(components) + 1):
        result = matcher.below("/".join(components[:depth]), result)
    assert result is not None
    assert result.matched is _slow_walk(patterns, path)


test_against_the_slow_reading = some(_against_the_slow_reading, 1500)
test_against_the_slow_reading_many_times = many(_against_the_slow_reading)
