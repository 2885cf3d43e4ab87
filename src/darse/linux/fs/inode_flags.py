"""Attributes of inodes by ioctl: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, as chattr(1) sets them; see ioctl_iflags(2)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_FS_TOPDIR_FL = 0x00020000
# File systems without flags, or without this one; owners without the right to change it; a security module.
_WITHOUT = frozenset((errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES))


def spread_subdirectories(path: Path) -> bool:
    """Tell the file system that the trees in directory `path` have nothing to do with each other (FS_TOPDIR_FL).

    ext4 puts a new directory near its parent, and its files near it, so one after the other a directory's trees use
    the same block groups; and where many files were just deleted it is slow to find an inode (it passes over those
    deleted less than minutes ago, one by one, when it has no journal). With the flag each tree gets a group with room.
    Returns whether the file system knows the flag. Raises OSError for other faults.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The argument is declared as a long, and is an int.
        (flags,) = struct.unpack_from("I", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8)))
        if not flags & _FS_TOPDIR_FL:
            fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("II", flags | _FS_TOPDIR_FL, 0))
    except OSError as error:
        if error.errno in _WITHOUT:
            return False
        raise
    finally:
        os.close(descriptor)
    return True
