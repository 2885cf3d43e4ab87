"""Operations on trees in memory: what both the fake executor and the sequential interpreter do.

A tree is a mapping of absolute paths to contents; a content of None is a removal, which only differences have.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from darse.build.errors import BuildError
from darse.build.graph import (
    EMPTY,
    SKIP_OUTPUT,
    CopyAction,
    DiffOperation,
    ExecOperation,
    FileOperation,
    MergeOperation,
    MkdirAction,
    MkfileAction,
    MountKind,
    RemoveAction,
    Selector,
    SymlinkAction,
)

Tree: TypeAlias = Mapping[str, str | None]


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def part(tree: Tree, path: str) -> dict[str, str | None]:
    """What is at a path and below it, by the path from there."""
    path = posixpath.normpath(f"/{path.lstrip('/')}")
    prefix = "" if path == "/" else path
    return {
        name[len(prefix) :] or "/": content
        for name, content in tree.items()
        if content is not None and (name == prefix or name.startswith(f"{prefix}/"))
    }


def selected(tree: Tree, selectors: Sequence[Selector]) -> object:
    """The part of a tree that decides about a cache hit."""
    if not selectors:
        return sorted(tree.items(), key=lambda item: item[0])
    return [
        [(path, sorted(part(tree, path).items())) for path in matching(tree, one.path, wildcard=one.wildcard)]
        for one in selectors
    ]


def matching(tree: Tree, path: str, *, wildcard: bool) -> list[str]:
    if not wildcard:
        return [path]
    names = {posixpath.dirname(name) for name in tree} | set(tree)
    return sorted(name for name in names if fnmatch.fnmatchcase(name, path) and name.count("/") == path.count("/"))


def change_files(operation: FileOperation, inputs: Sequence[Tree]) -> list[Tree]:
    results: list[Tree] = []
    outputs: dict[int, Tree] = {}

    def at(index: int) -> Tree:
        return {} if index == EMPTY else inputs[index] if index < len(inputs) else results[index - len(inputs)]

    for action in operation.actions:
        tree = dict(at(action.input))
        match action.change:
            case MkfileAction(path=path, data=data):
                tree[path] = data.decode()
            case MkdirAction(path=path):
                tree.setdefault(path, "<directory>")
            case SymlinkAction(path=path, target=target):
                tree[path] = f"-> {target}"
            case RemoveAction(path=path, allow_not_found=allowed):
                gone = [name for name in tree if name == path or name.startswith(f"{path}/")]
                if not gone and not allowed:
                    raise BuildError(f"{path}: not found")
                for name in gone:
                    del tree[name]
            case CopyAction() as copy:
                _copy(copy, tree, at(action.second_input))
        results.append(tree)
        if action.output != SKIP_OUTPUT:
            outputs[action.output] = tree
    return [outputs[index] for index in range(len(outputs))]


def _copy(copy: CopyAction, tree: dict[str, str | None], source: Tree) -> None:
    for path in matching(source, copy.source, wildcard=copy.allow_wildcard):
        for name, content in part(source, path).items():
            target = copy.destination if name == "/" else copy.destination.rstrip("/") + name
            tree[target] = content


def run(operation: ExecOperation, inputs: Sequence[Tree]) -> list[Tree]:
    """A process that writes what it sees into each of its outputs."""
    seen = []
    for mount in operation.mounts:
        tree = {} if mount.input == EMPTY else inputs[mount.input]
        if mount.kind is MountKind.BIND:
            seen.append((mount.destination, sorted(part(tree, mount.selector or "/").items())))
    if operation.meta.arguments[0] == "fail":
        raise BuildError(f'process "{" ".join(operation.meta.arguments)}" did not complete successfully: exit code: 1')
    outputs = {}
    for mount in operation.mounts:
        if mount.output != SKIP_OUTPUT:
            tree = {} if mount.input == EMPTY else inputs[mount.input]
            written = digest([operation.meta.arguments, operation.meta.environment, seen])
            outputs[mount.output] = tree if mount.read_only else {**tree, f"{mount.selector}/ran": written}
    return [outputs[index] for index in range(len(outputs))]


def merge(operation: MergeOperation, inputs: Sequence[Tree]) -> Tree:
    tree: dict[str, str | None] = {}
    for index in operation.inputs:
        for name, content in ({} if index == EMPTY else inputs[index]).items():
            if content is None:
                tree.pop(name, None)
            else:
                tree[name] = content
    return tree


def diff(operation: DiffOperation, inputs: Sequence[Tree]) -> Tree:
    lower: Tree = {} if operation.lower == EMPTY else inputs[operation.lower]
    upper: Tree = {} if operation.upper == EMPTY else inputs[operation.upper]
    added = {name: content for name, content in upper.items() if lower.get(name) != content}
    return {**added, **{name: None for name in lower if name not in upper}}
