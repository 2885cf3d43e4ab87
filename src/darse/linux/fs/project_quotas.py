"""Project quotas: how much room the files of one project may take, whoever owns them; see quotactl(2), xfs_quota(8).

Each file has the number of a project, 0 at first. A directory with FS_XFLAG_PROJINHERIT gives its own to what is made
in it, and takes by rename(2) only what has it already. xfs and ext4 count by projects when mounted with `prjquota`.

The calls by an open file (quotactl_fd(2), Linux 5.14) need no name of the block device, of which a container, or an
engine in one, sees nothing.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import struct
from typing import NamedTuple

from darse.linux.libc import call

# linux/fs.h: struct fsxattr is xflags, extsize, nextents, projid, cowextsize, and 8 bytes of padding.
_FS_IOC_FSGETXATTR = 0x801C581F
_FS_IOC_FSSETXATTR = 0x401C5820
_FS_XFLAG_PROJINHERIT = 0x00000200
_FSXATTR = struct.Struct("5I8x")
# linux/quota.h, linux/dqblk_xfs.h; QCMD(command, PRJQUOTA).
_SYS_QUOTACTL_FD = 443
_PRJQUOTA = 2
_Q_GETQUOTA, _Q_SETQUOTA, _Q_XGETQSTAT = 0x800007, 0x800008, 0x5805
_FS_QUOTA_PDQ_ENFD = 1 << 5
# struct if_dqblk: hard and soft limit of blocks, bytes in use, the same of inodes, two times, and what of it is valid.
_DQBLK = struct.Struct("8QI4x")
_QIF_BLIMITS = 1
#: The unit of limits, in bytes (QIF_DQBLKSIZE).
BLOCK = 1024
# struct fs_quota_stat, and more.
_STAT_BYTES = 256
_FLAGS_AT = 2
# A kernel without quotas or without the call, a file system without any, one mounted without `prjquota`; and an engine
# that may not ask.
_WITHOUT = frozenset(
    (errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ESRCH, errno.EPERM, errno.EACCES, errno.ENODEV)
)


class Quota(NamedTuple):
    """What a project may take, and what it takes: bytes (a limit of 0 is none), and a number of files."""

    limit: int
    used: int
    files: int


def project_of(descriptor: int) -> int:
    """The project of a file; 0 for none, and on a file system that knows no projects. Raises OSError."""
    try:
        return int(_FSXATTR.unpack(fcntl.ioctl(descriptor, _FS_IOC_FSGETXATTR, bytes(_FSXATTR.size)))[3])
    except OSError as error:
        if error.errno in _WITHOUT:
            return 0
        raise


def set_project(descriptor: int, project: int, *, inherit: bool) -> None:
    """Give a file to a project; with `inherit`, what is made in that directory from now on, too. Raises OSError."""
    flags, extent, extents, _, cow = _FSXATTR.unpack(fcntl.ioctl(descriptor, _FS_IOC_FSGETXATTR, bytes(_FSXATTR.size)))
    flags = flags | _FS_XFLAG_PROJINHERIT if inherit else flags & ~_FS_XFLAG_PROJINHERIT
    fcntl.ioctl(descriptor, _FS_IOC_FSSETXATTR, _FSXATTR.pack(flags, extent, extents, project, cow))


def are_enforced(descriptor: int) -> bool:
    """Whether the file system of an open file keeps projects within limits that we may set. Raises OSError."""
    answer = ctypes.create_string_buffer(_STAT_BYTES)
    try:
        _quotactl(descriptor, _Q_XGETQSTAT, 0, answer)
        quota_of(descriptor, 1)  # nobody may ask that who may not set it
    except OSError as error:
        if error.errno in _WITHOUT:
            return False
        raise
    (flags,) = struct.unpack_from("H", answer.raw, _FLAGS_AT)
    return bool(flags & _FS_QUOTA_PDQ_ENFD)


def quota_of(descriptor: int, project: int) -> Quota:
    """The quota of a project on the file system of an open file. Raises OSError."""
    answer = ctypes.create_string_buffer(_DQBLK.size)
    try:
        _quotactl(descriptor, _Q_GETQUOTA, project, answer)
    except OSError as error:
        if error.errno == errno.ENOENT:  # xfs: nobody has ever heard of it
            return Quota(0, 0, 0)
        raise
    hard, _, used, _, _, files, *_ = _DQBLK.unpack(answer.raw)
    return Quota(hard * BLOCK, used, files)


def rounded(limit: int) -> int:
    """What becomes of a limit of so many bytes."""
    return -(-limit // BLOCK) * BLOCK


def set_limit(descriptor: int, project: int, limit: int) -> None:
    """Have a project take `limit` bytes at most, rounded up to BLOCK; 0 takes the limit away. Raises OSError."""
    blocks = rounded(limit) // BLOCK
    request = ctypes.create_string_buffer(_DQBLK.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, _QIF_BLIMITS), _DQBLK.size)
    _quotactl(descriptor, _Q_SETQUOTA, project, request)


def _quotactl(descriptor: int, command: int, project: int, data: ctypes.Array[ctypes.c_char]) -> None:
    request = ctypes.c_uint((command << 8) | _PRJQUOTA)
    call("syscall", ctypes.c_long(_SYS_QUOTACTL_FD), ctypes.c_int(descriptor), request, ctypes.c_uint(project), data)
