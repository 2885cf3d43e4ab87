"""What a container has changed: its overlay's upper directory held against the layers below.

The answer is docker's: two merged trees are compared by mode, owner, device, capabilities and, but for directories,
size and time of change. What was copied up and is the same again is no change; a directory is changed, too, when
something in it is; below what is gone nothing is listed. What the engine itself puts into every container (docker's
init layer) counts as being there before.

The upper directory belongs to a container that may be running: it is walked by descriptors, and no link in it is
followed. The layers change never, and only root gets to them; there, paths do.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from darse.linux.openat2 import open_without_links

# Where the runtime mounts into every container. What is there in the upper directory has never been visible.
MOUNT_TARGETS = ("/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
# moby's daemon/initlayer; with the parents.
_INITIAL = frozenset((*MOUNT_TARGETS, *"/etc /dev/pts /dev/shm /dev/console /.dockerenv /etc/mtab".split()))
_OPAQUE = "trusted.overlay.opaque"
_CAPABILITY = "security.capability"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG))


class Kind(IntEnum):
    """The API's numbers."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


class Difference(NamedTuple):
    """A path, absolute in the container, and what happened to it."""

    path: str
    kind: Kind


class _Old(NamedTuple):
    """What was there: its status, where it is, and the layers in which it is a directory, topmost first."""

    status: os.stat_result
    where: str
    layers: tuple[str, ...]


def differences(lower: tuple[str, ...], upper: str) -> list[Difference]:
    """List the changes in `upper` against the layers `lower`, topmost first; parents come first. Blocks."""
    top = os.open(upper, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return list(_Comparison(top, upper).directory("", lower))
    finally:
        os.close(top)


def unchanged(lower: tuple[str, ...], upper: str) -> list[str]:
    """List the topmost paths in `upper` that are no change, and have none in them: a layer does without. Blocks."""
    top = os.open(upper, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        comparison = _Comparison(top, upper)
        for _ in comparison.directory("", lower):
            pass
    finally:
        os.close(top)
    found = set(comparison.unchanged)
    return [path for path in comparison.unchanged if not any(above in found for above in _above(path))]


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


class _Comparison:
    def __init__(self, top: int, upper: str) -> None:
        self._top = top
        self._upper = upper
        # What the upper directory has, and is as it was; directories after what is in them.
        self.unchanged: list[str] = []

    def directory(self, path: str, layers: tuple[str, ...]) -> Iterator[Difference]:
        """Compare what is in a directory. The walk is kept on a stack: a container nests as deeply as it likes."""
        # A directory that is only changed if something in it is waits until something is.
        waiting: list[str] = []
        entered: list[str] = []
        stack = [self._children(path, layers)]
        while stack:
            found = next(stack[-1], None)
            if found is None:
                stack.pop()
                if waiting and waiting.pop():
                    self.unchanged.append(entered.pop())
                elif entered:
                    entered.pop()
                continue
            difference, inner, inner_layers = found
            if difference is not None:
                for one in waiting:
                    if one:
                        yield Difference(one, Kind.MODIFIED)
                waiting = [""] * len(waiting)
                yield difference
            if inner:
                waiting.append("" if difference is not None else inner)
                entered.append(inner)
                stack.append(self._children(inner, inner_layers))

    def _children(self, path: str, layers: tuple[str, ...]) -> Iterator[tuple[Difference | None, str, tuple[str, ...]]]:
        """Yield, for each name in a directory, what happened to it; and it, and its layers, if it is a directory."""
        try:
            directory = open_without_links(self._top, path.lstrip("/") or ".", _DIRECTORY)
        except OSError as error:
            if error.errno in _GONE:
                return  # a running container removed it, or has nested deeper than paths can tell
            raise
        try:
            statuses = dict(_statuses(directory))
            hidden = _names_below(path, layers) - statuses.keys() if _is_opaque(directory) else set()
        finally:
            os.close(directory)
        for name in sorted(statuses.keys() | hidden):
            child = f"{path}/{name}"
            status = statuses.get(name)
            old = _look_up(child, layers)
            if status is None or _is_whiteout(status):
                if old is not None:
                    yield Difference(child, Kind.DELETED), "", ()
                else:
                    self.unchanged.append(child)
                continue
            inner = child if stat.S_ISDIR(status.st_mode) else ""
            if old is None:
                if child not in _INITIAL:
                    yield Difference(child, Kind.ADDED), inner, ()
                elif inner:
                    yield None, inner, ()
                else:
                    self.unchanged.append(child)
            elif self._differs(old, child, status):
                yield Difference(child, Kind.MODIFIED), inner, old.layers
            elif inner:
                yield None, inner, old.layers
            else:
                self.unchanged.append(child)

    def _differs(self, old: _Old, path: str, new: os.stat_result) -> bool:
        before = old.status
        if (before.st_mode, before.st_uid, before.st_gid) != (new.st_mode, new.st_uid, new.st_gid):
            return True
        if stat.S_ISDIR(new.st_mode):
            return False
        if (before.st_rdev, before.st_size) != (new.st_rdev, new.st_size) or not _same_time(before, new):
            return True
        return stat.S_ISREG(new.st_mode) and _capability(old.where) != self._capability(path)

    def _capability(self, path: str) -> bytes | None:
        try:
            file = open_without_links(self._top, path.lstrip("/"), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        try:
            return _capability(file)
        finally:
            os.close(file)


def _statuses(directory: int) -> Iterator[tuple[str, os.stat_result]]:
    for name in os.listdir(directory):
        try:
            yield name, os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue  # the container just removed it


def _look_up(path: str, layers: tuple[str, ...]) -> _Old | None:
    """Find what the merged `layers`, in all of which the path's parent is a directory, have there."""
    found: os.stat_result | None = None
    where = ""
    directories: list[str] = []
    for layer in layers:
        candidate = f"{layer}{path}"
        try:
            status = os.lstat(candidate)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if _is_whiteout(status):
            break
        if found is None:
            found, where = status, candidate
        if not stat.S_ISDIR(status.st_mode):
            break
        directories.append(layer)
        if _is_opaque(candidate):
            break
    return _Old(found, where, tuple(directories)) if found is not None else None


def _names_below(path: str, layers: tuple[str, ...]) -> set[str]:
    """The names that a directory had; the layers end with one in which it is opaque."""
    names = {name for layer in layers for name in os.listdir(f"{layer}{path}")}
    return {name for name in names if _look_up(f"{path}/{name}", layers) is not None}


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(directory: int | str) -> bool:
    return _attribute(directory, _OPAQUE) == b"y"


def _capability(file: int | str) -> bytes | None:
    return _attribute(file, _CAPABILITY)


def _attribute(where: int | str, name: str) -> bytes | None:
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
