"""Populates volumes: an empty volume takes what the image has where it is mounted, with owners, modes and attributes.

docker's `nocopy` turns it off. (Podman calls it copy-up, which is also overlayfs's word for another copy.)

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

from darse.archive.tree_copy import TreeCopy, copy_metadata
from darse.core import trace
from darse.core.errors import InvalidParameter
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import open_own, read_regular, sync_file_system
from darse.linux.fs.openat2 import open_beneath, open_in_root
from darse.linux.libc import call
from darse.linux.proc.fsuid import CAP_SYS_RESOURCE, without_capability

_PARTIAL, _WHOLE, _INTO = ".copy-up", ".copied", ".copied-into"
_RENAME_NOREPLACE = 1
# EXDEV and ELOOP: a link that leads out of the volume, or in circles.
_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.EXDEV, errno.ELOOP)


def populate(root_fd: int, destination: str, data: Path, subpath: str = "") -> bool:
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
    """Complete, or throw away, what an interrupted copy has left beside `data`."""
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
        # A volume with a size is not to get more by its engine than by a container.
        with without_capability(CAP_SYS_RESOURCE):
            TreeCopy(source, target).run()
    except OSError:
        remove_tree(aside)
        raise
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
        copy_metadata(copied, target)
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
