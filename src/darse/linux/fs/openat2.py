"""openat2(2): opening paths that a container or an archive controls, without ever leaving its root.

RESOLVE_IN_ROOT resolves absolute paths, `..` and every symbolic link as if the directory were the file system's
root, in the kernel, so there is no window between a check and its use.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from darse.linux.libc import call

_SYS_OPENAT2 = 437  # the same on every architecture
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
_ATTEMPTS = 128


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as seen from the root `root_fd`. Raises OSError."""
    return _openat2(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def open_beneath(directory_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` below `directory_fd`; a link or `..` that leaves it is an error (EXDEV)."""
    return _openat2(directory_fd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)


def open_without_links(directory_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` below `directory_fd`; any symbolic link in it is an error (ELOOP)."""
    return _openat2(directory_fd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def _openat2(directory_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    attempts = 0
    while True:
        try:
            return call(
                "syscall",
                ctypes.c_long(_SYS_OPENAT2),
                ctypes.c_int(directory_fd),
                os.fsencode(path),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
                operand=path,
            )
        except OSError as error:
            # The kernel saw a rename while it resolved `..`, and asks for another try. A container that renames in
            # a loop must not keep us here.
            attempts += 1
            if error.errno != errno.EAGAIN or attempts == _ATTEMPTS:
                raise


def read_regular(root_fd: int, path: str, limit: int) -> bytes | None:
    """Return the content of a regular file in the root, or None when there is none.

    Anything but a regular file counts as absent: a fifo would block, a device would do worse. At most `limit` bytes.
    """
    try:
        descriptor = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def make_directories(root_fd: int, path: str, mode: int = 0o755) -> int:
    """Make `path` and its parents in the root where they are missing; return an O_PATH descriptor of it.

    Raises OSError, also when a part of the path is no directory.
    """
    current = os.dup(root_fd)
    walked = ""
    try:
        for part in path.split("/"):
            if part in ("", "."):
                continue
            walked += f"/{part}"
            try:
                following = open_in_root(root_fd, walked, os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                os.mkdir(part, mode, dir_fd=current)
                following = open_in_root(root_fd, walked, os.O_PATH | os.O_DIRECTORY)
            os.close(current)
            current = following
    except BaseException:
        os.close(current)
        raise
    return current
