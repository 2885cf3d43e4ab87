"""Which parts of its inputs an operation looks at: what decides whether a change of an input is a change for it.

BuildKit's rules (`solver/llbsolver/ops`): a copy depends on the content of what it copies, a process on the content of
mounts that it cannot pass on; everything else depends on how its input was made.
"""

from __future__ import annotations

import posixpath

import msgspec

from darse.build.graph.operations import (
    EMPTY,
    SKIP_OUTPUT,
    ContentCache,
    CopyAction,
    ExecMount,
    ExecOperation,
    FileOperation,
    FileOwner,
    MountKind,
    Operation,
    RemoveAction,
    UserName,
)


class Selector(msgspec.Struct, frozen=True, order=True):
    """A part of a tree."""

    path: str
    wildcard: bool = False
    follow_links: bool = False
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    required_paths: tuple[str, ...] = ()


class InputDependency(msgspec.Struct, frozen=True):
    """How an operation depends on one input."""

    by_content: bool = False
    """The content of what is selected decides; otherwise, how the input was made."""
    selectors: tuple[Selector, ...] = ()
    """Sorted; empty is the whole tree."""


def dependencies(operation: Operation, inputs: int) -> tuple[InputDependency, ...]:
    """How a valid operation depends on each of so many inputs."""
    match operation:
        case ExecOperation():
            return _exec(operation, inputs)
        case FileOperation():
            return _file(operation, inputs)
    return (InputDependency(),) * inputs


def _exec(operation: ExecOperation, inputs: int) -> tuple[InputDependency, ...]:
    paths: list[set[str]] = [set() for _ in range(inputs)]
    by_content = [True] * inputs
    for mount in operation.mounts:
        if mount.input == EMPTY or mount.kind not in (MountKind.BIND, MountKind.CACHE):
            continue
        path = posixpath.normpath(posixpath.join("/", mount.selector.lstrip("/")))
        paths[mount.input].add(path)
        by_content[mount.input] &= _by_content(mount, path)
    return tuple(
        InputDependency(content and bool(given), _of_paths(given))
        for content, given in zip(by_content, paths, strict=True)
    )


def _by_content(mount: ExecMount, path: str) -> bool:
    if mount.content_cache is ContentCache.ON:
        return True
    if mount.content_cache is ContentCache.OFF or posixpath.normpath(mount.destination) == "/":
        return False
    # An output has all of the input, selected or not: two inputs with equal selections but different rest must not give
    # one result. BuildKit takes read-only mounts for safe; its clients give them no output, so none sees a difference.
    return mount.output == SKIP_OUTPUT or path == "/"


def _of_paths(paths: set[str]) -> tuple[Selector, ...]:
    """Without those below another one; none where one is the whole tree."""
    if "/" in paths:
        return ()
    kept = [path for path in paths if not any(path.startswith(f"{other}/") for other in paths)]
    return tuple(Selector(path, follow_links=True) for path in sorted(kept))


def _file(operation: FileOperation, inputs: int) -> tuple[InputDependency, ...]:
    selectors: list[set[Selector]] = [set() for _ in range(inputs)]
    changed: set[int] = set()
    for action in operation.actions:
        changed.add(action.input)
        change = action.change
        if isinstance(change, RemoveAction):
            continue
        if change.owner is not None:
            _add_owner(change.owner, selectors)
        if isinstance(change, CopyAction) and 0 <= action.second_input < inputs:
            selectors[action.second_input].add(
                Selector(
                    change.source,
                    change.allow_wildcard and has_wildcard(change.source),
                    change.follow_symlink,
                    change.include_patterns,
                    change.exclude_patterns,
                    change.required_paths,
                )
            )
    return tuple(
        InputDependency(bool(given) and index not in changed, tuple(sorted(given)) if index not in changed else ())
        for index, given in enumerate(selectors)
    )


def _add_owner(owner: FileOwner, selectors: list[set[Selector]]) -> None:
    for name, file in ((owner.user, "/etc/passwd"), (owner.group, "/etc/group")):
        if isinstance(name, UserName) and name.input != EMPTY:
            selectors[name.input].add(Selector(file, follow_links=True))


def has_wildcard(path: str) -> bool:
    """Whether a path has a character that filepath.Match gives a meaning to."""
    position = 0
    while position < len(path):
        if path[position] == "\\":
            position += 1
        elif path[position] in "*?[":
            return True
        position += 1
    return False
