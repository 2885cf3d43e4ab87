"""Holes of sparse files: lseek(2), SEEK_DATA and SEEK_HOLE."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False  # not typing's, whose import is a third of a worker's start
if TYPE_CHECKING:
    from collections.abc import Iterator


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
