"""Patterns of Go's path.Match, which docker's `reference` filters are: https://pkg.go.dev/path#Match.

They become expressions of RE2, so that a client's pattern takes time linear in what it is held against. Python's
fnmatch has other rules (`[!a]`, no backslash), and takes a second to read some thousand `[`.
"""

from __future__ import annotations

from typing import Final

_ANY: Final = r"(?s:.)"
_NONE: Final = r"[^\x00-\x{10FFFF}]"


class InvalidPathPattern(ValueError):
    """What was given is no pattern."""


def is_plain(pattern: str) -> bool:
    """Whether a pattern matches itself and nothing else."""
    return not any(character in pattern for character in "*?[\\")


def as_expression(pattern: str) -> str:
    """The expression that finds what `pattern` matches as a whole. Raises InvalidPathPattern."""
    parts = [r"\A"]
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            if parts[-1] != "[^/]*":
                parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif character == "[":
            found, at = _class(pattern, at)
            parts.append(found)
        elif character == "\\":
            parts.append(_literal(_at(pattern, at)))
            at += 1
        else:
            parts.append(_literal(character))
    return "".join([*parts, r"\z"])


def _class(pattern: str, at: int) -> tuple[str, int]:
    """The expression of a class whose `[` ends at `at`, and where its `]` ends. A slash may be in one."""
    negated = _at(pattern, at) == "^"
    at += negated
    ranges: list[str] = []
    count = 0
    while not (count and _at(pattern, at) == "]"):
        low, at = _member(pattern, at)
        high = low
        if _at(pattern, at) == "-":
            high, at = _member(pattern, at + 1)
        count += 1
        if low <= high:  # others hold nothing
            ranges.append(f"{_literal(low)}-{_literal(high)}")
    if not ranges:
        return (_ANY if negated else _NONE), at + 1
    return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    character = _at(pattern, at)
    if character in "-]":
        raise InvalidPathPattern("syntax error in pattern")
    if character == "\\":
        at += 1
        character = _at(pattern, at)
    return character, at + 1


def _at(pattern: str, at: int) -> str:
    if at >= len(pattern):
        raise InvalidPathPattern("syntax error in pattern")
    return pattern[at]


def _literal(character: str) -> str:
    return character if character.isalnum() or character == "_" or not character.isascii() else f"\\{_named(character)}"


def _named(character: str) -> str:
    return character if character.isprintable() else f"x{ord(character):02x}"
