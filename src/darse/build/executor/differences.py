"""The difference of two trees that have not been made from each other: what makes the lower one the upper one.

Files are the same where their kind, mode, owner, size, time and target are, as containerd's differ has it; then only
those without nanoseconds in their times, which archives have, are compared by their content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from darse.build.executor.linking import copy_directory_metadata
from darse.build.files import apply_change
from darse.build.graph.operations import CopyAction
from darse.linux.fs.contained import ENTER, ENTRY, LEAVE, Walk
from darse.linux.fs.openat2 import open_without_links

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_PIECE = 1 << 20


def write_difference(target: int, roots: Sequence[int]) -> None:
    """Write the difference of two trees into an empty directory, as overlayfs keeps it: whiteouts for what is gone.

    roots: descriptors of the lower tree and of the upper one. Blocks. Raises BuildError and OSError.
    """
    _Difference(target, *roots).run()


class _Difference:
    def __init__(self, target: int, lower: int, upper: int) -> None:
        self._target, self._lower, self._upper = target, lower, upper
        self._names: list[str] = []
        self._in_both: list[bool] = [True]
        """Of each directory on the way: whether the lower tree has it as well."""
        self._made: dict[str, os.stat_result] = {}

    def run(self) -> None:
        self._whiteouts(self._upper)
        for kind, directory, name, status in Walk(self._upper, ordered=True):
            if kind == ENTER:
                self._enter(directory, name, status)
            elif kind == LEAVE:
                self._names.pop()
                self._in_both.pop()
            elif kind == ENTRY and not self._is_same(directory, name, status):
                self._make_directories()
                path = f"/{'/'.join((*self._names, name))}"
                apply_change(CopyAction(source=path, destination=path), self._target, self._upper, self._root)
        for path, status in reversed(self._made.items()):
            found = open_without_links(self._target, path, _DIRECTORY)
            try:
                os.utime(found, ns=(status.st_atime_ns, status.st_mtime_ns))
            finally:
                os.close(found)

    def _root(self, number: int) -> int:
        return (self._lower, self._upper)[number]

    def _enter(self, directory: int, name: str, status: os.stat_result) -> None:
        before = self._status(name)
        self._names.append(name)
        self._in_both.append(before is not None and stat.S_ISDIR(before.st_mode))
        if not self._in_both[-1] or before is None or _meta(before) != _meta(status):
            self._make_directories()
        if self._in_both[-1]:
            self._whiteouts(directory)

    def _status(self, name: str) -> os.stat_result | None:
        """What the lower tree has of a name in the directory where the walk is."""
        if not self._in_both[-1]:
            return None
        parent = open_without_links(self._lower, "/".join(self._names) or ".", _DIRECTORY)
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        finally:
            os.close(parent)

    def _whiteouts(self, directory: int) -> None:
        """Hide what the directory has in the lower tree only."""
        below = open_without_links(self._lower, "/".join(self._names) or ".", _DIRECTORY)
        status = os.fstat(directory)
        try:
            gone = sorted(set(os.listdir(below)).difference(os.listdir(directory)))
        finally:
            os.close(below)
        for name in gone:
            self._make_directories()
            place = open_without_links(self._target, "/".join(self._names) or ".", _DIRECTORY)
            try:
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=place)
                # As if it had been made when the directory was changed last: the same trees give the same layer.
                os.utime(name, ns=(status.st_mtime_ns,) * 2, dir_fd=place, follow_symlinks=False)
            finally:
                os.close(place)

    def _make_directories(self) -> None:
        """Make the directories on the way in the target, as the upper tree has them."""
        for depth in range(1, len(self._names) + 1):
            path = "/".join(self._names[:depth])
            if path in self._made:
                continue
            parent = open_without_links(self._target, "/".join(self._names[: depth - 1]) or ".", _DIRECTORY)
            try:
                os.mkdir(self._names[depth - 1], 0o700, dir_fd=parent)
            finally:
                os.close(parent)
            self._made[path] = self._copy_meta(path)

    def _copy_meta(self, path: str) -> os.stat_result:
        original = open_without_links(self._upper, path, _DIRECTORY)
        made = open_without_links(self._target, path, _DIRECTORY)
        try:
            return copy_directory_metadata(original, made)
        finally:
            os.close(original)
            os.close(made)

    def _is_same(self, directory: int, name: str, status: os.stat_result) -> bool:
        before = self._status(name)
        if before is None or _meta(before) != _meta(status):
            return False
        if stat.S_ISLNK(status.st_mode):
            return self._link(name) == os.readlink(name, dir_fd=directory)
        if before.st_rdev != status.st_rdev or before.st_size != status.st_size:
            return False
        if not stat.S_ISREG(status.st_mode):
            return True
        if before.st_mtime_ns != status.st_mtime_ns:
            return False
        return bool(status.st_mtime_ns % 1_000_000_000) or self._has_same_content(directory, name)

    def _link(self, name: str) -> str:
        parent = open_without_links(self._lower, "/".join(self._names) or ".", _DIRECTORY)
        try:
            return os.readlink(name, dir_fd=parent)
        finally:
            os.close(parent)

    def _has_same_content(self, directory: int, name: str) -> bool:
        parent = open_without_links(self._lower, "/".join(self._names) or ".", _DIRECTORY)
        try:
            one, other = os.open(name, _READ, dir_fd=parent), os.open(name, _READ, dir_fd=directory)
        finally:
            os.close(parent)
        with open(one, "rb", buffering=0) as before, open(other, "rb", buffering=0) as now:
            while (piece := before.read(_PIECE)) == now.read(_PIECE):
                if not piece:
                    return True
        return False


def _meta(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid
