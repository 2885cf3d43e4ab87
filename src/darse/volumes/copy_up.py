"""Copy-up: an empty volume takes what the image has where it is mounted, with owners, modes and attributes.

The image's tree is walked by descriptors, starting from one that was opened within the container's root: no link in
it is followed. The copy is made beside the volume's data and renamed over it, so a crash leaves an empty volume, or a
full one.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

from darse.linux import trace
from darse.linux.openat2 import open_in_root

_PARTIAL = ".copy-up"
_PIECE = 1 << 30


def copy_up(root_fd: int, destination: str, data: Path) -> bool:
    """Fill the empty directory `data` with the root's `destination`. Blocks.

    Returns whether there was anything to copy. Raises OSError.
    """
    if any(True for _ in data.iterdir()):
        return False
    try:
        source = open_in_root(root_fd, destination, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    partial = data.parent / _PARTIAL
    try:
        if partial.exists():
            shutil.rmtree(partial)
        with trace.step("file", f"copy {destination} into the volume", "cp", "-a", destination, str(data)):
            partial.mkdir(mode=0o700)
            target = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _copy_directory(source, target, {})
            finally:
                os.close(target)
            os.rename(partial, data)
    finally:
        os.close(source)
    return True


def _copy_directory(source: int, target: int, links: dict[int, tuple[int, str]]) -> None:
    with os.scandir(source) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        _copy_entry(source, target, name, links)
    _copy_metadata(source, target)


def _copy_entry(source: int, target: int, name: str, links: dict[int, tuple[int, str]]) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        inner_source = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
        inner_target = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
        try:
            _copy_directory(inner_source, inner_target, links)
        finally:
            os.close(inner_source)
            os.close(inner_target)
        return
    if status.st_nlink > 1 and status.st_ino in links:
        linked_directory, linked_name = links[status.st_ino]
        try:
            os.link(linked_name, name, src_dir_fd=linked_directory, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EBADF:  # its directory has been left, and its descriptor closed
                raise
        else:
            return
    if stat.S_ISREG(status.st_mode):
        _copy_file(source, target, name)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    elif not stat.S_ISSOCK(status.st_mode):
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
    if status.st_nlink > 1:
        links[status.st_ino] = (target, name)


def _copy_file(source: int, target: int, name: str) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        # Not copy_file_range(2): between overlayfs and another file system it gives EXDEV.
        while os.sendfile(writing, reading, None, _PIECE):
            pass
        _copy_metadata(reading, writing)
    finally:
        os.close(reading)
        os.close(writing)


def _copy_metadata(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if not name.startswith("trusted.overlay."):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
