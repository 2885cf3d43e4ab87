"""Patterns for paths: `.dockerignore`, and `--exclude`.

The rules are those of moby/patternmatcher. Patterns are tried in order and the last that matches decides, `!` begins an
exception, `**` stands for any number of directories, and a pattern that matches a directory matches all below it. The
module's odd cases are kept, because the files that a build sees must be the same: in a pattern with a wildcard, `^` is
an anchor, `{2}` a count, `|` an alternative between a beginning and an end, and a backslash before a letter is RE2's.

A matcher is compiled to one expression of RE2 for each run of patterns of a kind (exceptions, or not), so a context of
20,000 files costs as many searches; untrusted patterns cost linear time.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from darse.build.errors import InvalidPattern
from darse.build.spaces import SPACES
from darse.re2_programs import InvalidExpression, program

_HALF = re.compile("[\ud800-\udfff]")
_WILD = frozenset("*[]?^\\")
_ESCAPED = frozenset(".+()$")
# `{n}` and `{n,m}`. RE2 unrolls them, and lays out a program in time that grows with the square of its size, which
# nothing can interrupt: sixty patterns of `a?{0,1000}` took 16 s, and one takes 20 ms.
_COUNT = re.compile(r"(?<!\\)\{([0-9]+)(?:,([0-9]+))?")
_MOST_COUNTED = 1000
# Bounds the program of all patterns together, in bytes.
_MEMORY = 64 << 20


def read_ignore_file(text: str) -> list[str]:
    """The patterns of a `.dockerignore`: without comments and empty lines, relative to the context's root."""
    patterns = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip(SPACES)
        if not pattern:
            continue
        exception = pattern.startswith("!")
        if exception:
            pattern = pattern[1:].strip(SPACES)
        if pattern:
            pattern = clean(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        patterns.append(f"!{pattern}" if exception else pattern)
    return patterns


def ignore_file_names(dockerfile: str) -> tuple[str, str]:
    """The files of the context that may have the patterns for a Dockerfile; the first that exists does."""
    return f"{dockerfile}.dockerignore", ".dockerignore"


def with_build_files(patterns: Sequence[str], dockerfile: str, *, from_stdin: bool = False) -> list[str]:
    """Patterns that keep the files that the builder itself reads, as docker's client sends them."""
    kept = list(patterns)
    for name in [".dockerignore"] if from_stdin else [".dockerignore", dockerfile]:
        if PathMatcher(kept).matches(clean(name)):
            kept.append(f"!{name}")
    return kept


def clean(path: str) -> str:
    """Go's filepath.Clean."""
    found = posixpath.normpath(path)
    return found[1:] if found.startswith("//") else found


class PathResult(NamedTuple):
    """What patterns said to a path, for the paths below it."""

    matched: bool
    groups: int
    """A bit for each run of patterns that matched the path or a directory above it."""


class PathMatcher:
    """Compiled patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises InvalidPattern."""
        self._exceptions: list[bool] = []
        """Of each run of patterns of a kind."""
        self._expressions: list[Any] = []
        self._literals: list[tuple[list[str], bool]] = []
        """Of each exception: the components before its first wildcard, and whether there are others."""
        runs: list[tuple[bool, list[str]]] = []
        for text in patterns:
            pattern = text.strip(SPACES)
            if not pattern:
                continue
            exception, pattern = _read(pattern)
            if not runs or runs[-1][0] is not exception:
                runs.append((exception, []))
            runs[-1][1].append(pattern)
            if exception:
                self._literals.append(_literal(pattern))
        _check_counts(pattern for _, run in runs for pattern in run)
        for exception, run in runs:
            self._exceptions.append(exception)
            self._expressions.append(_compiled(run))

    def matches(self, path: str) -> bool:
        """Whether a path (relative, cleaned) matches by itself or by a directory above it. The root never does."""
        if path == ".":
            return False
        data = _encoded(path)
        above = [data[:at] for at, byte in enumerate(data) if byte == 0x2F and at]
        matched = False
        for exception, expression in zip(self._exceptions, self._expressions, strict=True):
            if exception is matched and (
                expression.fullmatch(data) is not None or any(expression.fullmatch(one) is not None for one in above)
            ):
                matched = not exception
        return matched

    def below(self, path: str, parent: PathResult | None = None) -> PathResult:
        """The result for a path, given that of its directory (None for the root): what a walk needs."""
        data = _encoded(path)
        inherited = parent.groups if parent is not None else 0
        matched, groups, bit = False, 0, 1
        for exception, expression in zip(self._exceptions, self._expressions, strict=True):
            if inherited & bit or (exception is matched and expression.fullmatch(data) is not None):
                matched = not exception
                groups |= bit
            bit <<= 1
        return PathResult(matched, groups)

    def may_have_exceptions(self, directory: str) -> bool:
        """Whether a walk must look into a directory that matches, because an exception may be below it."""
        components = directory.split("/")
        for literal, wild in self._literals:
            shared = min(len(literal), len(components))
            if literal[:shared] == components[:shared] and (wild or len(literal) >= len(components)):
                return True
        return False


def _read(text: str) -> tuple[bool, str]:
    pattern = clean(text)
    exception = pattern.startswith("!")
    if exception:
        pattern = pattern[1:]
        if not pattern:
            raise InvalidPattern('illegal exclusion pattern: "!"')
    _check_syntax(pattern)
    return exception, pattern


def _literal(pattern: str) -> tuple[list[str], bool]:
    components = pattern.split("/")
    for index, component in enumerate(components):
        if not _WILD.isdisjoint(component):
            return components[:index], True
    return components, False


def _encoded(path: str) -> bytes:
    """As Go's expressions see it: a byte that is no UTF-8 is U+FFFD."""
    try:
        return path.encode()
    except UnicodeEncodeError:
        return _HALF.sub("\ufffd", path).encode()


def _compiled(patterns: list[str]) -> Any:
    expressions = []
    for pattern in dict.fromkeys(patterns):
        expression = _encoded(_expression(pattern))
        try:
            program(expression, never_capture=True, max_mem=_MEMORY)
        except InvalidExpression as error:
            raise InvalidPattern(f"syntax error in pattern {pattern!r}: {error}") from None
        expressions.append(expression)
    try:
        return program(b"(?:%s)" % b")|(?:".join(expressions), never_capture=True, max_mem=_MEMORY)
    except InvalidExpression as error:
        raise InvalidPattern(f"{len(patterns)} patterns are too large together: {error}") from None


def _check_counts(patterns: Iterable[str]) -> None:
    """Raise InvalidPattern when the counts of all patterns together are too large."""
    counts = (count for one in patterns if "{" in one for count in _COUNT.findall(_expression(one)))
    if sum(max(int(number[:9]) for number in count if number) for count in counts) > _MOST_COUNTED:
        raise InvalidPattern(f"counts such as {{9}} add up to more than {_MOST_COUNTED}")


def _expression(pattern: str) -> str:
    """The regular expression of one pattern, for the whole path."""
    expression, kind = _translated(pattern)
    if kind == "exact":
        return _literally(pattern)
    if kind == "prefix":
        return _literally(pattern[:-2]) + "(?s:.*)"
    if kind == "suffix":
        suffix = pattern[2:]
        # `**/name` is also `name` at the root.
        return f"(?s:.*){_literally(suffix)}" + (f"|{_literally(suffix[1:])}" if suffix.startswith("/") else "")
    # Only the first alternative is anchored at the beginning, and only the last at the end.
    return f"(?s:.*)(?:^{expression}$)(?s:.*)" if "|" in expression else expression


def _literally(text: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def _translated(pattern: str) -> tuple[str, str]:
    """A pattern as a regular expression, and how it is matched: `exact`, `prefix`, `suffix`, or `regular`."""
    parts, kind, at, first = [], "exact", 0, True
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*" and pattern.startswith("*", at):
            at += 1
            if pattern.startswith("/", at):
                at += 1
            if at < len(pattern):
                parts.append("(?:.*/)?")
                kind = "regular"
            elif kind == "exact":
                kind = "prefix"
            else:
                parts.append(".*")
                kind = "regular"
            if first:
                kind = "suffix"
        elif character in "*?":
            parts.append("[^/]*" if character == "*" else "[^/]")
            kind = "regular"
        elif character in _ESCAPED:
            parts.append(f"\\{character}")
        elif character == "\\" and at < len(pattern):
            parts.append(f"\\{pattern[at]}")
            at += 1
            kind = "regular"
        else:
            parts.append(character)
            if character in "[]":
                kind = "regular"
        first = False
    return "".join(parts), kind


def _check_syntax(pattern: str) -> None:
    """What filepath.Match refuses: classes and escapes without an end. Raises InvalidPattern."""
    at = 0
    try:
        while at < len(pattern):
            if pattern[at] == "[":
                at = _end_of_class(pattern, at + 1)
            elif pattern[at] == "\\":
                pattern[at + 1]  # what is escaped
                at += 2
            else:
                at += 1
    except IndexError:
        raise InvalidPattern("syntax error in pattern") from None


def _end_of_class(pattern: str, at: int) -> int:
    if pattern[at] == "^":
        at += 1
    ranges = 0
    while pattern[at] != "]" or not ranges:
        at = _class_member(pattern, at)
        if pattern[at] == "-":
            at = _class_member(pattern, at + 1)
        ranges += 1
    return at + 1


def _class_member(pattern: str, at: int) -> int:
    if pattern[at] in "-]":
        raise IndexError
    if pattern[at] == "\\":
        at += 1
    pattern[at + 1]  # a class has an end
    return at + 1
