"""Wildcards of COPY and ADD: which paths of a tree they mean."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from darse.build.errors import BuildError
from darse.build.graph.selectors import has_wildcard
from darse.build.ignore import clean
from darse.linux.fs.contained import ENTER, LEAVE, Walk
from darse.linux.fs.openat2 import open_in_root
from darse.re2_programs import InvalidExpression, program


class PathNotFound(BuildError):
    """What is to be copied is not there, or cannot be meant."""


def matching_paths(root: int, pattern: str) -> Iterator[str]:
    """The paths in a tree that a pattern of filepath.Match has, in order: no `*` matches a slash.

    root: a descriptor of the tree. Raises PathNotFound for a pattern that cannot be read.
    """
    components = [part for part in clean(pattern).strip("/").split("/") if part]
    fixed = next(index for index, part in enumerate(components) if has_wildcard(part))
    start = "/".join(components[:fixed])
    expressions = [_component(part) for part in components[fixed:]]
    try:
        top = open_in_root(root, start or ".", os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        yield from _matching_below(top, f"/{start}" if start else "", expressions)
    finally:
        os.close(top)


def _matching_below(top: int, start: str, expressions: Sequence[Any]) -> Iterator[str]:
    names: list[str] = []
    walk = Walk(top, wide_ordered=True)
    for kind, _, name, _ in walk:
        if kind == LEAVE:
            names.pop()
            continue
        depth = len(names)
        matches = depth < len(expressions) and expressions[depth].fullmatch(os.fsencode(name)) is not None
        if matches and depth == len(expressions) - 1:
            yield "/".join((start, *names, name))
        if kind == ENTER:
            names.append(name)
            if not matches or depth == len(expressions) - 1:
                walk.skip()


def _component(pattern: str) -> Any:
    """One component of a pattern as an expression of RE2: what matches comes from anywhere."""
    parts, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            parts.append(".*")
        elif character == "?":
            parts.append(".")
        elif character == "[" and "]" in pattern[at + 1 :]:
            end = pattern.index("]", at + 1)
            parts.append("[" + pattern[at:end].replace("[", r"\[") + "]")
            at = end + 1
        elif character == "\\" and at < len(pattern):
            parts.append(_literally(pattern[at]))
            at += 1
        else:
            parts.append(_literally(character))
    try:
        return program(os.fsencode("".join(parts)), dot_nl=True, latin1=True)
    except InvalidExpression as error:
        raise PathNotFound(f"syntax error in pattern {pattern!r}: {error}") from None


def _literally(character: str) -> str:
    return f"\\{character}" if character in r"\.+*?()|[]{}^$" else character
