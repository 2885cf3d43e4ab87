"""One action of a file operation, on a disk."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator

from darse.archive.errors import ArchiveRefused
from darse.archive.extract import Parents, Unpacker, entries
from darse.build.context.wildcards import PathNotFound, matching_paths
from darse.build.errors import BuildError
from darse.build.files.copy import copy_path, sources_of
from darse.build.files.rooted_paths import Ids, Made, ensure_directory, inside, parent_of, resolved, status_of
from darse.build.graph.operations import (
    EMPTY,
    CopyAction,
    FileChange,
    FileOwner,
    MkdirAction,
    MkfileAction,
    RemoveAction,
    SymlinkAction,
    UserName,
)
from darse.build.graph.selectors import has_wildcard
from darse.core.errors import InvalidParameter
from darse.linux.fs.contained import remove_entry
from darse.linux.fs.openat2 import make_directories, open_in_root
from darse.runtime.oci.user import lookup_user

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_PIECE = 1 << 20

Roots = Callable[[int], int]
"""The root of one of the operation's inputs, by its position."""


def apply_change(change: FileChange, target: int, source: int, roots: Roots) -> None:
    """Apply one action to a tree. Raises BuildError and OSError.

    target: the tree that is changed. source: the tree that a copy is from; of others it is not looked at.
    """
    try:
        match change:
            case CopyAction():
                _copy(change, target, source, roots)
            case MkfileAction():
                _mkfile(change, target, roots)
            case MkdirAction():
                _mkdir(change, target, roots)
            case SymlinkAction():
                _symlink(change, target, roots)
            case RemoveAction():
                _remove(change, target)
    except ArchiveRefused as error:
        raise BuildError(str(error)) from error


def owner_ids(owner: FileOwner | None, roots: Roots) -> Ids | None:
    """Numbers of an owner. Without a group it is the user's own. Raises BuildError for a name that is not there."""
    if owner is None:
        return None
    uid = gid = -1
    if isinstance(owner.user, UserName):
        uid, gid = _looked_up(owner.user, owner.user.name, roots)
    elif owner.user is not None:
        uid = gid = owner.user
    if isinstance(owner.group, UserName):
        gid = _looked_up(owner.group, f":{owner.group.name}", roots)[1]
    elif owner.group is not None:
        gid = owner.group
    return Ids(uid, gid)


def _looked_up(name: UserName, text: str, roots: Roots) -> tuple[int, int]:
    if name.input == EMPTY:
        raise BuildError(f"invalid user {name.name!r}: an empty tree has no names, use a number")
    try:
        found = lookup_user(roots(name.input), text)
    except InvalidParameter as error:
        raise BuildError(str(error)) from error
    return found.uid, found.gid


def _copy(change: CopyAction, target: int, source: int, roots: Roots) -> None:
    owner = owner_ids(change.owner, roots)
    for path in sources_of(change, source):
        if not (change.unpack and _unpack(change, path, target, source, owner)):
            copy_path(change, path, source, target, owner)


def _mkdir(change: MkdirAction, target: int, roots: Roots) -> None:
    parent = posixpath.dirname(change.path.rstrip("/"))
    if not change.make_parents and status_of(target, parent) is None:
        raise PathNotFound(f'"{parent}": not found')
    ensure_directory(target, change.path, Made(change.mode, owner_ids(change.owner, roots), change.timestamp))


def _mkfile(change: MkfileAction, target: int, roots: Roots) -> None:
    owner = owner_ids(change.owner, roots)
    path = resolved(target, change.path)
    _require_parent(target, path)
    with parent_of(target, path) as (directory, name):
        there = status_of(target, path, follow=False)
        if there is not None:
            if stat.S_ISDIR(there.st_mode):
                raise BuildError(f"cannot write {change.path}: it is a directory")
            remove_entry(directory, name)
        file = os.open(name, _CREATE, 0o600, dir_fd=directory)
        with open(file, "wb") as writing:
            writing.write(change.data)
            writing.flush()
            if owner is not None:
                os.fchown(file, owner.uid, owner.gid)
            os.fchmod(file, change.mode)
            if change.timestamp is not None:
                os.utime(file, ns=(change.timestamp, change.timestamp))


def _require_parent(root: int, path: str) -> None:
    """A missing directory is an error of the operation, not of the host."""
    parent = posixpath.dirname(path.rstrip("/"))
    status = status_of(root, parent)
    if status is None or not stat.S_ISDIR(status.st_mode):
        raise PathNotFound(f'"{parent}": not found')


def _symlink(change: SymlinkAction, target: int, roots: Roots) -> None:
    owner = owner_ids(change.owner, roots)
    _require_parent(target, change.path)
    with parent_of(target, change.path) as (directory, name):
        try:
            os.symlink(change.target, name, dir_fd=directory)
        except FileExistsError:
            raise BuildError(f"cannot link {change.path}: it is there already") from None
        if owner is not None:
            os.chown(name, owner.uid, owner.gid, dir_fd=directory, follow_symlinks=False)
        if change.timestamp is not None:
            times = (change.timestamp, change.timestamp)
            os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _remove(change: RemoveAction, target: int) -> None:
    paths = [change.path]
    if change.allow_wildcard and has_wildcard(change.path):
        # All are found before the first goes.
        paths = list(matching_paths(target, change.path))
    found = [path for path in paths if status_of(target, path, follow=False) is not None]
    if not found and not change.allow_not_found:
        raise PathNotFound(f'"{change.path}": not found')
    for path in found:
        with parent_of(target, path) as (directory, name):
            remove_entry(directory, name)


class _InTree(Parents):
    """Directories below one of a tree; links lead on within the tree."""

    def __init__(self, root: int, destination: str) -> None:
        self._root = root
        self._destination = inside(destination)

    def open(self, path: str) -> int:
        return open_in_root(self._root, f"{self._destination}/{path}", os.O_RDONLY | os.O_DIRECTORY)

    def make(self, path: str) -> int:
        os.close(make_directories(self._root, f"{self._destination}/{path}"))
        return self.open(path)


def _unpack(change: CopyAction, path: str, target: int, source: int, owner: Ids | None) -> bool:
    """Unpack an archive into the destination; False where it is none. As with docker, the archive has the owners."""
    status = status_of(source, path)
    if status is None or not stat.S_ISREG(status.st_mode):
        return False
    descriptor = open_in_root(source, inside(path), _READ)
    with open(descriptor, "rb", buffering=0) as file:
        if not _is_archive(file.fileno()):
            return False
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        ensure_directory(target, change.destination, Made(0o755, owner, change.timestamp))
        Unpacker(_InTree(target, change.destination), change.destination).unpack(entries(_pieces(file.fileno())))
    return True


def _is_archive(file: int) -> bool:
    """Whether the first entry can be read; text, and a compressed file that is no archive, are copied as they are."""
    try:
        return next(iter(entries(_pieces(file))), None) is not None
    except ArchiveRefused:
        return False


def _pieces(file: int) -> Iterator[bytes]:
    while piece := os.read(file, _PIECE):
        yield piece
