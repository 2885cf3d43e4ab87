"""Copies of files and trees from one root into another, as BuildKit copies (`fsutil/copy`).

What is copied keeps its owner, permissions, attributes, times and hard links, unless the copy says otherwise. A
directory that is there already keeps what it has; those below it that are in the source take the source's.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Mapping

import msgspec

from darse.build.context.wildcards import PathNotFound, matching_paths
from darse.build.errors import BuildError
from darse.build.files.modes import symbolic_mode
from darse.build.files.rooted_paths import (
    Ids,
    Made,
    directory_at,
    ensure_directory,
    parent_of,
    resolved,
    status_of,
)
from darse.build.graph.operations import CopyAction
from darse.build.graph.selectors import has_wildcard
from darse.build.ignore import PathMatcher, PathResult, clean
from darse.linux.fs.contained import ENTER, ENTRY, LEAVE, Walk, Way, remove_entry
from darse.linux.fs.sparse import copy_data

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_LINK = 1000
_NO_ATTRIBUTES = (errno.ENOTSUP, errno.EPERM, errno.EINVAL)


def sources_of(action: CopyAction, source: int) -> list[str]:
    """The paths that a copy takes. Raises PathNotFound."""
    for required in action.required_paths:
        if status_of(source, required) is None:
            raise PathNotFound(f'"{required}": not found')
    if not (action.allow_wildcard and has_wildcard(action.source)):
        if status_of(source, action.source, follow=action.follow_symlink) is None:
            raise PathNotFound(f'"{action.source}": not found')
        return [action.source]
    found = list(matching_paths(source, action.source))
    if not found and not action.allow_empty_wildcard:
        raise PathNotFound(f"no matches found: {action.source}")
    return found


def copy_path(action: CopyAction, path: str, source: int, target: int, owner: Ids | None) -> None:
    """Copy one path. Raises BuildError and OSError."""
    _Copy(action, source, target, owner).run(path)


class _Kept(msgspec.Struct, frozen=True):
    """What a copy takes over."""

    status: os.stat_result
    attributes: Mapping[str, bytes]


class _TreeCopy:
    """Copies what is below one directory into another. Directories that nothing is copied into are not made."""

    def __init__(
        self,
        action: CopyAction,
        source: int,
        target: int,
        entry: Callable[[int, str, os.stat_result, int, int, str], None],
        finish: Callable[[_Kept, int], None],
    ) -> None:
        self._action, self._source, self._target, self._entry, self._finish = action, source, target, entry, finish
        self._way = Way(target)
        self._names: list[str] = []
        self._waiting: list[tuple[str, _Kept]] = []
        """The last of `names`, that are not made yet."""
        self._made: list[_Kept] = []
        self._included = PathMatcher(action.include_patterns) if action.include_patterns else None
        self._excluded = PathMatcher(action.exclude_patterns) if action.exclude_patterns else None
        self._results: list[tuple[PathResult | None, PathResult | None]] = [(None, None)]

    def run(self) -> None:
        """Copy all of it."""
        try:
            for kind, directory, name, status in Walk(self._source, ordered=True):
                if kind == LEAVE:
                    self._leave()
                    continue
                results, counts = self._match(name)
                if kind == ENTER:
                    self._names.append(name)
                    self._results.append(results)
                    self._waiting.append((name, _kept(directory)))
                if counts:
                    self._make_waiting()
                    if kind == ENTRY:
                        path = "/".join((*self._names, name))
                        self._entry(directory, name, status, self._way.directory, self._target, path)
        finally:
            self._way.close()

    def _match(self, name: str) -> tuple[tuple[PathResult | None, PathResult | None], bool]:
        path = "/".join((*self._names, name))
        inside_, outside = self._results[-1]
        included = self._included.below(path, inside_) if self._included is not None else None
        excluded = self._excluded.below(path, outside) if self._excluded is not None else None
        counts = (included is None or included.matched) and (excluded is None or not excluded.matched)
        return (included, excluded), counts

    def _make_waiting(self) -> None:
        for name, kept in self._waiting:
            try:
                os.mkdir(name, 0o700, dir_fd=self._way.directory)
            except FileExistsError:
                self._take_over(name)
            self._way.down(name)
            self._made.append(kept)
        self._waiting.clear()

    def _take_over(self, name: str) -> None:
        """Something is there already: a directory stays, anything else does not unless the copy says so."""
        there = os.stat(name, dir_fd=self._way.directory, follow_symlinks=False)
        if stat.S_ISDIR(there.st_mode):
            return
        if not self._action.always_replace:
            raise BuildError(f"cannot copy to non-directory: {'/'.join(self._names)}")
        remove_entry(self._way.directory, name)
        os.mkdir(name, 0o700, dir_fd=self._way.directory)

    def _leave(self) -> None:
        self._names.pop()
        self._results.pop()
        if self._waiting:
            self._waiting.pop()
            return
        self._finish(self._made.pop(), self._way.directory)
        self._way.up()


class _Copy:
    def __init__(self, action: CopyAction, source: int, target: int, owner: Ids | None) -> None:
        self._action, self._source, self._target, self._owner = action, source, target, owner
        self._links: dict[tuple[int, int], str] = {}

    def run(self, path: str) -> None:
        action = self._action
        origin = resolved(self._source, path) if action.follow_symlink else path
        status = status_of(self._source, origin, follow=False)
        if status is None:
            raise PathNotFound(f'"{path}": not found')
        destination = self._destination(path, status)
        if stat.S_ISDIR(status.st_mode):
            self._tree(origin, destination)
            return
        with parent_of(self._source, origin) as (directory, name), parent_of(self._target, destination) as (into, new):
            self._file(directory, name, status, into, new)

    def _destination(self, path: str, status: os.stat_result) -> str:
        """Where a path is copied to, with the directories above it made."""
        action = self._action
        is_directory = stat.S_ISDIR(status.st_mode)
        above, name = posixpath.split(action.destination)
        made = Made(0o755 if action.mode is None else action.mode, self._owner, action.timestamp)
        if action.create_destination:
            ensure_directory(self._target, above if name not in ("", ".") else action.destination, made)
        destination = resolved(self._target, clean(action.destination))
        there = status_of(self._target, destination)
        if there is not None and (not action.copy_directory_contents if is_directory else stat.S_ISDIR(there.st_mode)):
            destination = posixpath.join(destination, posixpath.basename(path.rstrip("/")))
        parent = posixpath.dirname(destination)
        if action.create_destination:
            ensure_directory(self._target, parent, made)
        elif status_of(self._target, parent) is None:
            raise PathNotFound(f'"{parent}": not found')
        return destination

    def _tree(self, origin: str, destination: str) -> None:
        """Copy a directory into one that may be there."""
        existing = status_of(self._target, destination, follow=False)
        if existing is not None and not stat.S_ISDIR(existing.st_mode):
            if not self._action.always_replace:
                raise BuildError(f"cannot copy to non-directory: {destination}")
            with parent_of(self._target, destination) as (directory, name):
                remove_entry(directory, name)
            existing = None
        if existing is None:
            ensure_directory(self._target, destination, Made(0o700))
        with directory_at(self._source, origin) as source, directory_at(self._target, destination) as target:
            _TreeCopy(self._action, source, target, self._entry, self._finish).run()
            if existing is None:
                self._finish(_kept(source), target)
            else:
                os.utime(target, ns=(existing.st_atime_ns, existing.st_mtime_ns))

    def _entry(self, directory: int, name: str, status: os.stat_result, into: int, top: int, path: str) -> None:
        """Copy what is in a tree, and is no directory; top and path: the copy's root, and where it is there."""
        key = (status.st_dev, status.st_ino)
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            if (first := self._links.get(key)) is not None:
                self._make_way(into, name)
                os.link(first, name, src_dir_fd=top, dst_dir_fd=into, follow_symlinks=False)
                return
            if len(path) < _LONGEST_LINK:
                self._links[key] = path
        self._file(directory, name, status, into, name)

    def _make_way(self, into: int, name: str) -> None:
        try:
            there = os.stat(name, dir_fd=into, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(there.st_mode) and not self._action.always_replace:
            raise BuildError(f"cannot replace to directory {name} with file")
        remove_entry(into, name)

    def _file(self, directory: int, name: str, status: os.stat_result, into: int, new: str) -> None:
        """Copy anything but a directory."""
        self._make_way(into, new)
        if stat.S_ISREG(status.st_mode):
            self._regular(directory, name, into, new)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=directory), new, dir_fd=into)
            self._finish_node(status, into, new)
        elif stat.S_ISSOCK(status.st_mode):
            os.mknod(new, stat.S_IFREG | 0o600, dir_fd=into)  # as BuildKit: a name without anybody behind it
            self._finish_node(status, into, new)
        else:
            os.mknod(new, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=into)
            self._finish_node(status, into, new)
            os.chmod(new, self._mode(status), dir_fd=into)

    def _regular(self, directory: int, name: str, into: int, new: str) -> None:
        reading = os.open(name, _READ, dir_fd=directory)
        try:
            writing = os.open(new, _CREATE, 0o600, dir_fd=into)
            try:
                kept = _kept(reading)
                copy_data(reading, writing, kept.status)
                self._finish(kept, writing)
            except BaseException:
                os.unlink(new, dir_fd=into)  # a part must not pass for the whole
                raise
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def _mode(self, status: os.stat_result) -> int:
        mode = stat.S_IMODE(status.st_mode)
        if self._action.mode_text:
            return symbolic_mode(self._action.mode_text, mode, is_directory=stat.S_ISDIR(status.st_mode))
        return mode if self._action.mode is None else self._action.mode

    def _ids(self, status: os.stat_result) -> tuple[int, int]:
        owner = self._owner or Ids()
        return (
            status.st_uid if owner.uid < 0 else owner.uid,
            status.st_gid if owner.gid < 0 else owner.gid,
        )

    def _times(self, status: os.stat_result) -> tuple[int, int]:
        time = self._action.timestamp
        return (status.st_atime_ns, status.st_mtime_ns) if time is None else (time, time)

    def _finish(self, kept: _Kept, descriptor: int) -> None:
        """Owner, mode, attributes, times, in this order: a change of owner clears set-id bits and capabilities."""
        os.fchown(descriptor, *self._ids(kept.status))
        os.fchmod(descriptor, self._mode(kept.status))
        for name, value in kept.attributes.items():
            try:
                os.setxattr(descriptor, name, value)
            except OSError as error:
                if error.errno not in _NO_ATTRIBUTES:
                    raise
        os.utime(descriptor, ns=self._times(kept.status))

    def _finish_node(self, status: os.stat_result, into: int, new: str) -> None:
        os.chown(new, *self._ids(status), dir_fd=into, follow_symlinks=False)
        os.utime(new, ns=self._times(status), dir_fd=into, follow_symlinks=False)


def _kept(descriptor: int) -> _Kept:
    attributes = {}
    for name in os.listxattr(descriptor):
        # Those of overlays could make the copy show other files than it has.
        if name == "security.capability" or name.startswith("user."):
            attributes[name] = os.getxattr(descriptor, name)
    return _Kept(os.fstat(descriptor), attributes)
