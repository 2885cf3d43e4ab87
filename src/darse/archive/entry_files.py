"""What an entry becomes on a disk, whoever makes it: a file's content, its times, its extended attributes."""

from __future__ import annotations

import errno
import os

from darse.archive.stream import write_all, write_segments
from darse.archive.tar import REGULAR

TYPE_CHECKING = False  # not typing's, whose import is a third of a worker's start
if TYPE_CHECKING:
    from darse.archive.tar import Entry, Reader

CAPABILITY = b"security.capability"
_NANOSECONDS = (1 << 63) - 1


def write_content(reader: Reader, entry: Entry, file: int) -> None:
    """Write the content of a regular file's entry, with its holes. Raises ArchiveRefused and OSError."""
    if entry.segments is not None:
        write_segments(reader.content(), file, entry.segments)
        os.ftruncate(file, entry.length)
        return
    at_hand = reader.content_at_hand()
    if at_hand is not None:
        if entry.size:
            write_all(file, at_hand)
        return
    for piece in reader.content():
        write_all(file, piece)


def times(entry: Entry) -> tuple[int, int]:
    """Access and modification time in nanoseconds; the epoch in place of a time that the kernel has no bits for."""
    time_ns = entry.time_ns
    if not -_NANOSECONDS < time_ns < _NANOSECONDS:
        time_ns = 0
    return time_ns, time_ns


def set_xattr(where: bytes | int, name: bytes, value: bytes, kind: bytes) -> None:
    """setxattr(2), on a path or a descriptor of what is of a kind. Raises OSError.

    Attributes that the file system does not have, or not for this kind of file, are left out as by docker; but a
    program without the capabilities that it should have is another program.
    """
    try:
        if isinstance(where, int):
            os.setxattr(where, name, value)
        else:
            os.setxattr(where, name, value, follow_symlinks=False)
    except OSError as error:
        ignored = error.errno == errno.ENOTSUP and name != CAPABILITY
        # The kernel lets only files and directories have attributes of this class.
        ignored = ignored or (error.errno == errno.EPERM and name.startswith(b"user.") and kind != REGULAR)
        if not ignored:
            raise
