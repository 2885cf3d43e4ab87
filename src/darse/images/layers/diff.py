"""What a container has changed: its overlay's upper directory held against the layers below.

The answer is docker's: two merged trees are compared by mode, owner, device, capabilities and, but for directories,
size and time of change. What was copied up and is the same again is no change; a directory is changed, too, when
something in it is; below what is gone nothing is listed. What the engine itself puts into every container (docker's
init layer) counts as being there before.

The upper directory belongs to a container that may be running: it is walked by descriptors, and no link in it is
followed. Nothing of it is kept: differences are yielded as they are found, by name in each directory, unless that has
more entries than are worth sorting. Paths in layers are relative to these, for they may be as long as paths can be.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from darse.linux.fs.contained import ENTRY, LEAVE, Walk, sorted_names
from darse.linux.fs.openat2 import open_without_links

# Where the runtime mounts into every container. What is there in the upper directory has never been visible.
MOUNT_TARGETS = ("/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
# moby's daemon/initlayer; with the parents.
_INITIAL = frozenset((*MOUNT_TARGETS, *"/etc /dev/pts /dev/shm /dev/console /.dockerenv /etc/mtab".split()))
_OPAQUE = "trusted.overlay.opaque"
_CAPABILITY = "security.capability"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_PATH_MAX = 4096
# Of at most four bytes each.
_SHORT = _PATH_MAX // 4
_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG))


class ChangeKind(IntEnum):
    """The API's numbers."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


class Change(NamedTuple):
    """A path, absolute in the container, and what happened to it."""

    path: str
    kind: ChangeKind


class _Old(NamedTuple):
    """What was there: its status, the layer it is in and its path there, and the layers in which it is a directory."""

    status: os.stat_result
    layer: int
    path: str
    layers: tuple[int, ...]


# A container can have millions of them; the rest is kept in the layer, which is right as well.
_MOST_UNCHANGED = 100_000


def layer_changes(lower: tuple[str, ...], upper: str, unchanged: list[str] | None = None) -> Iterator[Change]:
    """Yield the changes in `upper` against the layers `lower`, topmost first; parents come first. Blocks.

    What is named by a path of PATH_MAX bytes or more is not listed: no program can name it either. Its first
    directories are. `unchanged` takes what the upper directory has, and is as it was. Raises OSError.
    """
    with contextlib.ExitStack() as opened:
        directories = []
        for path in (upper, *lower):
            directories.append(os.open(path, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
            opened.callback(os.close, directories[-1])
        yield from _Comparison(directories[0], tuple(directories[1:]), unchanged).run()


def unchanged(lower: tuple[str, ...], upper: str) -> list[str]:
    """List the topmost paths in `upper` that are no change, and have none in them: a layer does without. Blocks."""
    found: list[str] = []
    for _ in layer_changes(lower, upper, found):
        pass
    known = set(found)
    return [path for path in found if not any(above in known for above in _above(path))]


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


class _Comparison:
    """One comparison, by descriptors of the upper directory and of the layers."""

    def __init__(self, upper: int, lower: tuple[int, ...], unchanged: list[str] | None) -> None:
        self._upper = upper
        self._lower = lower
        self._unchanged = unchanged
        self._walk = Walk(upper, ordered=True)
        # Of each directory on the way: its path, and the layers in which it is one.
        self._way: list[tuple[str, tuple[int, ...]]] = [("", lower)]
        # Of each as well: its path while nothing of it was yielded; it is changed if something in it is.
        self._waiting = [""]

    def run(self) -> Iterator[Change]:
        yield from self._hidden(self._upper, "", self._lower)
        for kind, directory, name, status in self._walk:
            if kind == LEAVE:
                self._way.pop()
                self._note(self._waiting.pop())
                continue
            above, layers = self._way[-1]
            path = f"{above}/{name}"
            is_listable = len(path) < _SHORT or len(os.fsencode(path)) <= _PATH_MAX
            inner: tuple[int, ...] = ()
            waits = ""
            if is_listable:
                old = _look_up(path, layers)
                difference = self._compare(old, directory, name, path, status)
                if difference is not None:
                    yield from self._with_parents(difference)
                else:
                    waits = path
                inner = old.layers if old is not None else ()
            else:
                yield from self._parents()
            if kind == ENTRY:
                self._note(waits)
            else:
                self._way.append((path, inner))
                self._waiting.append(waits)
                if not is_listable:
                    self._walk.skip()
                else:
                    yield from self._hidden(directory, path, inner)

    def _note(self, path: str) -> None:
        """Nothing has happened to a path, nor to what is in it; "" is none."""
        if path and self._unchanged is not None and len(self._unchanged) < _MOST_UNCHANGED:
            self._unchanged.append(path)

    def _with_parents(self, difference: Change) -> Iterator[Change]:
        yield from self._parents()
        yield difference

    def _parents(self) -> Iterator[Change]:
        for position, path in enumerate(self._waiting):
            if path:
                self._waiting[position] = ""
                yield Change(path, ChangeKind.MODIFIED)

    def _compare(self, old: _Old | None, directory: int, name: str, path: str, status: os.stat_result) -> Change | None:
        if _is_whiteout(status):
            return Change(path, ChangeKind.DELETED) if old is not None else None
        if old is None:
            return Change(path, ChangeKind.ADDED) if path not in _INITIAL else None
        where = directory if stat.S_ISDIR(status.st_mode) else (directory, name)
        return Change(path, ChangeKind.MODIFIED) if self._differs(old, where, status) else None

    def _hidden(self, directory: int, path: str, layers: tuple[int, ...]) -> Iterator[Change]:
        """What the layers have in a directory that is opaque, and the upper directory does not have in it."""
        if not layers or not _is_opaque(directory):
            return
        for layer in layers:
            below = open_without_links(layer, path.lstrip("/") or ".", _DIRECTORY)
            try:
                for name in sorted_names(below):
                    child = f"{path}/{name}"
                    if len(os.fsencode(child)) > _PATH_MAX or _is_there(directory, name):
                        continue
                    old = _look_up(child, layers)
                    if old is not None and old.layer == layer:
                        yield from self._with_parents(Change(child, ChangeKind.DELETED))
            finally:
                os.close(below)

    def _differs(self, old: _Old, where: int | tuple[int, str], new: os.stat_result) -> bool:
        before = old.status
        if (before.st_mode, before.st_uid, before.st_gid) != (new.st_mode, new.st_uid, new.st_gid):
            return True
        if isinstance(where, int):
            return False
        if (before.st_rdev, before.st_size) != (new.st_rdev, new.st_size) or not _same_time(before, new):
            return True
        return stat.S_ISREG(new.st_mode) and _capability(old.layer, old.path) != _capability(*where)


def _is_there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    return True


def _look_up(path: str, layers: tuple[int, ...]) -> _Old | None:
    """Find what the merged `layers`, in all of which the path's parent is a directory, have there."""
    found: os.stat_result | None = None
    where = -1
    directories: list[int] = []
    below = path.lstrip("/")
    for layer in layers:
        try:
            status = os.stat(below, dir_fd=layer, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if _is_whiteout(status):
            break
        if found is None:
            found, where = status, layer
        if not stat.S_ISDIR(status.st_mode):
            break
        directories.append(layer)
        if _is_opaque_in(layer, below):
            break
    return _Old(found, where, below, tuple(directories)) if found is not None else None


def _is_opaque_in(layer: int, path: str) -> bool:
    directory = open_without_links(layer, path, _DIRECTORY)
    try:
        return _is_opaque(directory)
    finally:
        os.close(directory)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(directory: int) -> bool:
    return _attribute(directory, _OPAQUE) == b"y"


def _capability(directory: int, path: str) -> bytes | None:
    try:
        file = open_without_links(directory, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    try:
        return _attribute(file, _CAPABILITY)
    finally:
        os.close(file)


def _attribute(where: int, name: str) -> bytes | None:
    try:
        return os.getxattr(where, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise


def _same_time(one: os.stat_result, other: os.stat_result) -> bool:
    """Archives may have cut the parts of a second off."""
    first, second = divmod(one.st_mtime_ns, 1_000_000_000), divmod(other.st_mtime_ns, 1_000_000_000)
    return first[0] == second[0] and (first[1] == second[1] or first[1] == 0 or second[1] == 0)
