"""What a runtime leaves where it has mounted something: empty directories and files that were not there before.

A layer of a container's changes must not have them. `MountStubs` looks before the runtime makes them, and removes them
from the upper directory when the container has ended. As BuildKit does (`executor/stubs.go`), and a directory that is
in the upper one only because a stub was made in it goes, too.
"""

from __future__ import annotations

import errno
import functools
import os
import posixpath
import stat
from collections.abc import Callable, Iterable

import msgspec

from darse.linux.fs.openat2 import open_in_root, open_without_links
from darse.runtime.rootfs.mount_targets import resolved_target

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_OPAQUE = "trusted.overlay.opaque"


class _Former(msgspec.Struct, frozen=True):
    """A directory as it was."""

    mode: int
    uid: int
    gid: int


class MountStubs:
    """The stubs of one container."""

    def __init__(self) -> None:
        self._missing: set[str] = set()
        self._looked_at: set[str] = set()
        """Every path that was missing, those on the way included."""
        self._parents: dict[str, _Former] = {}

    def find(self, root_fd: int, root: str, destinations: Iterable[str], *, recursive: bool = True) -> None:
        """Note what is missing in a root file system of these targets, and, with `recursive`, of the way to them.

        `root` is where the root that `root_fd` is of is mounted.
        """
        for destination in destinations:
            target = path = resolved_target(root_fd, root, destination)
            missing = []
            # What is above a path that was found missing has been looked at, then.
            while path != "/" and path not in self._looked_at and _status(root_fd, path) is None:
                missing.append(path)
                path = posixpath.dirname(path)
            self._looked_at.update(missing)
            if recursive:
                self._missing.update(missing)
            elif target in self._looked_at:
                self._missing.add(target)
            while missing and path != "/" and path not in self._parents and path not in self._looked_at:
                status = _status(root_fd, path)
                if status is not None:
                    self._parents[path] = _Former(status.st_mode, status.st_uid, status.st_gid)
                path = posixpath.dirname(path)

    def remove(self, upper: int) -> None:
        """Remove them from an upper directory, a descriptor, where nothing was made of them. Blocks. Raises OSError."""
        for path in sorted(self._missing, key=_depth, reverse=True):
            _in_directory(upper, path, _remove_stub)
        for path in sorted(self._parents, key=_depth, reverse=True):
            _in_directory(upper, path, functools.partial(_remove_unchanged, self._parents[path]))


def _depth(path: str) -> int:
    return path.count("/")


def _status(root_fd: int, path: str) -> os.stat_result | None:
    try:
        descriptor = open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _in_directory(upper: int, path: str, action: Callable[[int, str], None]) -> None:
    parent, name = posixpath.split(path)
    try:
        directory = open_without_links(upper, parent.lstrip("/") or ".", _DIRECTORY)
    except OSError:
        return  # the container has removed it, or put something else in its place
    try:
        action(directory, name)
    finally:
        os.close(directory)


def _remove_stub(directory: int, name: str) -> None:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        _remove_empty(directory, name)
    elif stat.S_ISREG(status.st_mode) and not status.st_size:
        os.unlink(name, dir_fd=directory)


def _remove_unchanged(former: _Former, directory: int, name: str) -> None:
    """Remove a directory that is here only for a stub: empty, and as it was."""
    try:
        descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return
    try:
        status = os.fstat(descriptor)
        changed = _Former(status.st_mode, status.st_uid, status.st_gid) != former
        if changed or _OPAQUE in os.listxattr(descriptor):
            return
    finally:
        os.close(descriptor)
    _remove_empty(directory, name)


def _remove_empty(directory: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
