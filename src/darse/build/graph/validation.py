"""What an operation must fulfil, whoever made it: a client's graph is untrusted."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from darse.build.errors import InvalidGraph
from darse.build.graph.operations import (
    EMPTY,
    SKIP_OUTPUT,
    CopyAction,
    DiffOperation,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    FileOwner,
    MergeOperation,
    MkdirAction,
    MkfileAction,
    MountKind,
    Operation,
    RemoveAction,
    SymlinkAction,
    UserName,
)

_MOST_OUTPUTS = 1000
_PERMISSIONS = 0o7777


def check_operation(operation: Operation, inputs: int) -> int:
    """How many outputs a vertex with this operation and so many inputs has. Raises InvalidGraph."""
    match operation:
        case ExecOperation():
            return _exec(operation, inputs)
        case FileOperation():
            return _file(operation, inputs)
        case MergeOperation():
            if not operation.inputs:
                raise InvalidGraph("invalid merge operation with no inputs")
            for index in operation.inputs:
                _input(index, inputs, "merge operation")
        case DiffOperation():
            _input(operation.lower, inputs, "diff operation")
            _input(operation.upper, inputs, "diff operation")
        case _:
            if inputs:
                raise InvalidGraph("invalid source operation with inputs")
    return 1


def _input(index: int, inputs: int, where: str) -> None:
    if index != EMPTY and not 0 <= index < inputs:
        raise InvalidGraph(f"invalid {where}: input {index} of {inputs}")


def _outputs(numbers: Iterable[int], where: str) -> int:
    """Outputs are numbered from 0, each once."""
    given = sorted(number for number in numbers if number != SKIP_OUTPUT)
    if given != list(range(len(given))):
        raise InvalidGraph(f"invalid {where}: outputs must be numbered from 0, each once, not {given}")
    if len(given) > _MOST_OUTPUTS:
        raise InvalidGraph(f"invalid {where}: {len(given)} outputs, at most {_MOST_OUTPUTS} are allowed")
    return len(given)


def _text(text: str, what: str) -> None:
    if "\0" in text:
        raise InvalidGraph(f"invalid {what} {text!r}: it has a null character")


def _exec(operation: ExecOperation, inputs: int) -> int:
    meta = operation.meta
    if not meta.arguments:
        raise InvalidGraph("invalid exec operation with no arguments")
    if not posixpath.isabs(meta.directory):
        raise InvalidGraph(f"invalid exec operation: working directory {meta.directory!r} is not absolute")
    for text in (*meta.arguments, *meta.environment, meta.directory, meta.user):
        _text(text, "text of an exec operation")
    if not operation.mounts:
        raise InvalidGraph("invalid exec operation with no mounts")
    if sum(posixpath.normpath(mount.destination) in ("/", "//") for mount in operation.mounts) != 1:
        raise InvalidGraph("invalid exec operation: exactly one mount must be at /")
    for mount in operation.mounts:
        _mount(mount, inputs)
    for secret in operation.secrets:
        if not secret.id or not secret.name or "=" in secret.name:
            raise InvalidGraph(f"invalid secret {secret.id!r} for the variable {secret.name!r}")
    return _outputs((mount.output for mount in operation.mounts), "exec operation")


def _mount(mount: ExecMount, inputs: int) -> None:
    where = f"mount at {mount.destination!r}"
    _text(mount.destination, "destination of a mount")
    _text(mount.selector, "selector of a mount")
    if not posixpath.isabs(mount.destination):
        raise InvalidGraph(f"invalid {where}: it must be absolute")
    if ".." in mount.selector.split("/"):
        raise InvalidGraph(f"invalid {where}: its selector {mount.selector!r} leaves the input")
    _input(mount.input, inputs, where)
    if mount.kind in (MountKind.BIND, MountKind.CACHE):
        if mount.input == EMPTY and mount.kind is MountKind.BIND and mount.selector:
            raise InvalidGraph(f"invalid {where}: a selector without an input")
    elif mount.input != EMPTY:
        raise InvalidGraph(f"invalid {where}: a {mount.kind} mount has no input")
    # LLB's clients leave the output of these at 0: whoever decodes their graphs must not.
    if mount.kind is not MountKind.BIND and mount.output != SKIP_OUTPUT:
        raise InvalidGraph(f"invalid {where}: a {mount.kind} mount has no output")
    if mount.kind is MountKind.CACHE and mount.cache is None:
        raise InvalidGraph(f"invalid {where}: missing cache mount options")
    if mount.kind in (MountKind.SECRET, MountKind.SSH) and mount.secret is None:
        raise InvalidGraph(f"invalid {where}: missing {mount.kind} mount options")
    if mount.tmpfs_size < 0:
        raise InvalidGraph(f"invalid {where}: a size of {mount.tmpfs_size}")
    if mount.secret is not None and mount.secret.mode & ~_PERMISSIONS:
        raise InvalidGraph(f"invalid {where}: mode {mount.secret.mode:o}")


def _file(operation: FileOperation, inputs: int) -> int:
    if not operation.actions:
        raise InvalidGraph("invalid file operation with no actions")
    for number, action in enumerate(operation.actions):
        where = f"action {number} of a file operation"
        # Results of earlier actions come after the inputs: no action can need itself.
        _input(action.input, inputs + number, where)
        _input(action.second_input, inputs + number, where)
        _change(action, inputs, where)
    return _outputs((action.output for action in operation.actions), "file operation")


def _change(action: FileAction, inputs: int, where: str) -> None:
    change = action.change
    paths: tuple[str, ...]
    match change:
        case CopyAction():
            paths = (change.source, change.destination)
        case SymlinkAction():
            paths = (change.path, change.target)
        case MkfileAction() | MkdirAction() | RemoveAction():
            paths = (change.path,)
    if not all(paths):
        raise InvalidGraph(f"invalid {where}: an empty path")
    for path in paths:
        _text(path, "path of a file operation")
    if not isinstance(change, CopyAction) and action.second_input != EMPTY:
        raise InvalidGraph(f"invalid {where}: only a copy has a second input")
    if not isinstance(change, RemoveAction):
        if change.owner is not None:
            _owner(change.owner, inputs, where)
        mode = None if isinstance(change, SymlinkAction) else change.mode
        if mode is not None and not 0 <= mode <= _PERMISSIONS:
            raise InvalidGraph(f"invalid {where}: mode {mode:o}")


def _owner(owner: FileOwner, inputs: int, where: str) -> None:
    for name in (owner.user, owner.group):
        if isinstance(name, UserName):
            if name.input == EMPTY:
                continue
            _input(name.input, inputs, where)
        elif name is not None and not 0 <= name < 2**32 - 1:
            raise InvalidGraph(f"invalid {where}: owner {name}")
