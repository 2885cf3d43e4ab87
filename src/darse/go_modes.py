"""Modes of files as Go has them (io/fs.FileMode): in docker's API of archives, in packets of BuildKit's clients."""

from __future__ import annotations

import stat
from typing import Final

GO_DIRECTORY, GO_SYMLINK, GO_DEVICE, GO_FIFO, GO_SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
GO_SETUID, GO_SETGID, GO_CHARACTER, GO_STICKY, GO_IRREGULAR = 1 << 23, 1 << 22, 1 << 21, 1 << 20, 1 << 19
#: The bits of a kind; a regular file has none of them.
GO_TYPES = GO_DIRECTORY | GO_SYMLINK | GO_DEVICE | GO_FIFO | GO_SOCKET | GO_CHARACTER | GO_IRREGULAR
#: Go's kind of a file, by the kernel's.
GO_KINDS: Final = {
    stat.S_IFREG: 0,
    stat.S_IFDIR: GO_DIRECTORY,
    stat.S_IFLNK: GO_SYMLINK,
    stat.S_IFBLK: GO_DEVICE,
    stat.S_IFCHR: GO_DEVICE | GO_CHARACTER,
    stat.S_IFIFO: GO_FIFO,
    stat.S_IFSOCK: GO_SOCKET,
}
#: The kernel's, by Go's.
KERNEL_KINDS: Final = {kind: kernels for kernels, kind in GO_KINDS.items()}
_MORE_BITS = ((GO_SETUID, stat.S_ISUID), (GO_SETGID, stat.S_ISGID), (GO_STICKY, stat.S_ISVTX))


def go_mode(mode: int, kind: int) -> int:
    """A mode of Go's: the bits of chmod(2), and of `kind`, which is one of Go's."""
    found = (mode & 0o777) | kind
    for bit, kernels in _MORE_BITS:
        found |= bit if mode & kernels else 0
    return found


def permissions(mode: int) -> int:
    """The bits of chmod(2) in a mode of Go's."""
    found = mode & 0o777
    for bit, kernels in _MORE_BITS:
        found |= kernels if mode & bit else 0
    return found
