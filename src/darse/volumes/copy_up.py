"""Copy-up: an empty volume takes what the image has where it is mounted, with owners, modes and attributes.

The image's tree is walked by descriptors, starting from one that was opened within the container's root: no link in
it is followed.

The copy is made beside the volume's data, in `.copy-up`, and becomes `.copied` when it is whole and on disk. Then its
entries are renamed into the data directory, one by one, which a running container may have mounted already: so the
directory itself stays, and what others put there meanwhile is never replaced. A crash before the first rename leaves
an empty volume, one after it is completed by `recover`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from darse.core import trace
from darse.core.errors import InvalidParameter
from darse.linux.fs.contained import ENTER, ENTRY, Walk, Way, remove_tree
from darse.linux.fs.files import open_own, read_regular, sync_file_system
from darse.linux.fs.openat2 import open_beneath, open_in_root
from darse.linux.fs.sparse import copy_data
from darse.linux.libc import call

_PARTIAL, _WHOLE, _INTO = ".copy-up", ".copied", ".copied-into"
# Files with several names whose first one is remembered; a further one is copied again, as is one with a longer path.
_MOST_LINKS = 200_000
_PATH_MAX = 4096
_RENAME_NOREPLACE = 1
# EXDEV and ELOOP: a link that leads out of the volume, or in circles.
_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.EXDEV, errno.ELOOP)
_Links = dict[tuple[int, int], str]


def copy_up(root_fd: int, destination: str, data: Path, subpath: str = "") -> bool:
    """Fill the empty directory `data`, or the one that `subpath` is in it, with the root's `destination`. Blocks.

    Returns whether there was anything to do: nothing is, where the subpath is no directory, which is the start's to
    refuse. Raises InvalidParameter for a destination that is a file, and OSError.
    """
    with _alone(data.parent), contextlib.ExitStack() as stack:
        recover(data)
        target = _open_target(data, subpath)
        if target is None:
            return False
        stack.callback(os.close, target)
        if not _is_empty(target):
            return False
        source = _open_source(root_fd, destination)
        if source is None:
            return False
        stack.callback(os.close, source)
        shown = str(data / subpath)
        with trace.step("file", f"copy {destination} into the volume", "cp", "-a", f"{destination}/.", shown):
            _copy_aside(source, data.parent / _PARTIAL)
            if subpath:
                _note_where(data.parent, subpath)
            os.rename(data.parent / _PARTIAL, data.parent / _WHOLE)
            _move_in(data.parent, target)
    return True


def recover(data: Path) -> None:
    """Complete, or throw away, what an interrupted copy-up has left beside `data`."""
    volume = data.parent
    remove_tree(volume / _PARTIAL)
    if not os.path.lexists(volume / _WHOLE):
        (volume / _INTO).unlink(missing_ok=True)
        return
    try:
        subpath = os.fsdecode(read_regular(volume / _INTO))
    except FileNotFoundError:
        subpath = ""
    target = _open_target(data, subpath)
    if target is None:
        # A container has removed the directory meanwhile.
        _discard(volume)
        return
    try:
        _move_in(volume, target)
    finally:
        os.close(target)


def is_empty(data: Path, subpath: str = "") -> bool:
    """Whether a volume's directory, or the one that `subpath` is in it, is there and has nothing in it."""
    target = _open_target(data, subpath)
    if target is None:
        return False
    try:
        return _is_empty(target)
    finally:
        os.close(target)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Two containers may be created at once that share a new volume."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _is_empty(directory: Path | int) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def _open_target(data: Path, subpath: str) -> int | None:
    """Open the directory that is to be filled; None where the subpath is none in the volume."""
    top = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if not subpath:
        return top
    try:
        return open_beneath(top, subpath, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY:
            raise
        return None
    finally:
        os.close(top)


def _open_source(root_fd: int, destination: str) -> int | None:
    try:
        found = open_in_root(root_fd, destination, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            raise InvalidParameter(f"cannot mount volume over existing file, file exists {destination}")
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(found)


def _copy_aside(source: int, aside: Path) -> None:
    aside.mkdir(mode=0o700)
    target = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _Copy(source, target).run()
    finally:
        os.close(target)
    if not _is_empty(aside):
        # One syncfs(2) costs less than an fsync(2) per file. An image's VOLUME is mostly an empty directory.
        sync_file_system(aside)


def _note_where(volume: Path, subpath: str) -> None:
    """Written before the copy is called whole: without one, what a crash leaves of the note means nothing."""
    with open(volume / _INTO, "wb", opener=open_own) as file:
        file.write(os.fsencode(subpath))
        file.flush()
        os.fsync(file.fileno())


def _move_in(volume: Path, target: int) -> None:
    copied = os.open(volume / _WHOLE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(copied) as entries:
            for entry in entries:
                with contextlib.suppress(FileExistsError):
                    _rename_noreplace(copied, entry.name, target)
        _copy_metadata(copied, target)
        os.fsync(target)
    finally:
        os.close(copied)
    _discard(volume)


def _discard(volume: Path) -> None:
    """Remove the copy, and after it the note of where it belongs."""
    remove_tree(volume / _WHOLE)
    (volume / _INTO).unlink(missing_ok=True)


def _rename_noreplace(source: int, name: str, target: int) -> None:
    """renameat2(2) with RENAME_NOREPLACE, from one directory to another. Raises FileExistsError."""
    encoded = os.fsencode(name)
    old, new = ctypes.c_int(source), ctypes.c_int(target)
    call("renameat2", old, encoded, new, encoded, _RENAME_NOREPLACE, operand=name)


class _Copy:
    """One copy of a tree. `links` knows the first name, from the copy's top, of files that have several."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._top = target
        self._links: _Links = {}
        # Names of the directories from the top to where the copy is.
        self._names: list[str] = []

    def run(self) -> None:
        """Copy what is in a directory, then what is said of the directory itself."""
        way = Way(self._top)
        try:
            for kind, source, name, status in Walk(self._source):
                if kind == ENTRY:
                    self._entry(source, way.directory, name, status)
                elif kind == ENTER:
                    os.mkdir(name, 0o700, dir_fd=way.directory)
                    way.down(name)
                    self._names.append(name)
                else:
                    _copy_metadata(source, way.directory)
                    way.up()
                    self._names.pop()
        finally:
            way.close()
        _copy_metadata(self._source, self._top)

    def _entry(self, source: int, target: int, name: str, status: os.stat_result) -> None:
        if status.st_nlink > 1 and self._is_linked(target, name, status):
            return
        if stat.S_ISREG(status.st_mode):
            _copy_file(source, target, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            _copy_node_metadata(status, target, name)
        elif not stat.S_ISSOCK(status.st_mode):
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
            _copy_node_metadata(status, target, name)

    def _is_linked(self, target: int, name: str, status: os.stat_result) -> bool:
        """Whether it is a name of a file that was copied already, and is a name of the copy now."""
        key = (status.st_dev, status.st_ino)
        first = self._links.get(key)
        if first is not None:
            return self._link(first, target, name)
        if len(self._links) < _MOST_LINKS:
            path = "/".join((*self._names, name))
            if len(path) < _PATH_MAX // 4:  # of four bytes a character, at most
                self._links[key] = path
        return False

    def _link(self, first: str, target: int, name: str) -> bool:
        try:
            os.link(first, name, src_dir_fd=self._top, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            # More links than the file system counts: a copy will do.
            if error.errno != errno.EMLINK:
                raise
            return False
        return True


def _copy_file(source: int, target: int, name: str) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            copy_data(reading, writing, os.fstat(reading).st_size)
            _copy_metadata(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_metadata(source: int, target: int) -> None:
    status = os.fstat(source)
    # In this order: a change of owner clears the set-uid bit and file capabilities.
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if not name.startswith("trusted.overlay."):
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError as error:
                if error.errno != errno.ENOTSUP:  # the volume's file system has no such attributes
                    raise
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_node_metadata(status: os.stat_result, target: int, name: str) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)
