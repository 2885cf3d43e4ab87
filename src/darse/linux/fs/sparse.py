"""Holes of sparse files: lseek(2), SEEK_DATA and SEEK_HOLE."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False  # not typing's, whose import is a third of a worker's start
if TYPE_CHECKING:
    from collections.abc import Iterator

# Bytes of a block that stat(2) counts.
_BLOCK = 512
# Bytes in one call of sendfile(2).
_PIECE = 1 << 30
# Bytes that are copied, and on their way to the disk, before the next are copied.
_FLUSHED_PIECE = 8 << 20
# Another file system, one that cannot, or a file that it does not do this for.
_NOT_SHARED = frozenset((errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS))


def data_segments(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, as offsets and lengths in bytes; the rest are holes."""
    offset = 0
    while offset < size:
        try:
            start = os.lseek(file, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a hole up to the end
                raise
            return
        offset = min(size, os.lseek(file, start, os.SEEK_HOLE))
        if start >= offset:
            return
        yield start, offset - start


def _segments(file: int, status: os.stat_result) -> Iterator[tuple[int, int]]:
    """As `data_segments`; one with as many blocks as bytes has no holes, and is not asked for them."""
    if status.st_blocks * _BLOCK < status.st_size:
        yield from data_segments(file, status.st_size)
    elif status.st_size:
        yield 0, status.st_size


def copy_data(reading: int, writing: int, status: os.stat_result) -> None:
    """Copy a file's content into an empty one, leaving holes: few bytes of an archive can be a file of terabytes.

    Not by copy_file_range(2): between overlayfs and another file system it gives EXDEV.
    """
    position = 0
    for start, length in _segments(reading, status):
        if start != position:
            os.lseek(writing, start, os.SEEK_SET)
        position, end = start, start + length
        while position < end:
            sent = os.sendfile(writing, reading, position, min(end - position, _PIECE))
            if not sent:
                break
            position += sent
    if position != status.st_size:
        os.ftruncate(writing, status.st_size)


def share_data(reading: int, writing: int, status: os.stat_result) -> None:
    """As `copy_data`, with blocks that both files share where the file system can: copy_file_range(2).

    Where it cannot, the disk writes while the rest is copied: whoever flushes the file then waits for little more.
    """
    position = 0
    for start, length in _segments(reading, status):
        position, end = start, start + length
        while position < end:
            try:
                copied = os.copy_file_range(reading, writing, min(end - position, _FLUSHED_PIECE), position, position)
            except OSError as error:
                if error.errno not in _NOT_SHARED:
                    raise
                copy_data(reading, writing, status)
                return
            if not copied:
                break
            if copied == _FLUSHED_PIECE:
                # Begins to write what is not on the disk, and waits for none of it: generic_fadvise() in mm/fadvise.c.
                os.posix_fadvise(writing, position, copied, os.POSIX_FADV_DONTNEED)
            position += copied
    if position != status.st_size:
        os.ftruncate(writing, status.st_size)
