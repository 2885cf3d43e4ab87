"""Which files a project was made from, and which were looked for: while they are the same, it is the same project.

Each is known by what stat(2) says of it before it is read. A file that is changed after that has another time of
change; only one that was changed a moment ago might be changed again within one tick of the file system's clock, so
such inputs say that they are `unsettled`.
"""

from __future__ import annotations

import errno
import os
import time

# Longer than a tick of any file system's clock, and than clocks of a machine and its file server differ.
_TICK_NS = 2_000_000_000

FileState = list[int]
# A project may name /dev/zero.
_MOST_BYTES = 16 << 20


class Inputs:
    """The files of a project, by their paths; None for one that was not there."""

    def __init__(self) -> None:
        self.files: dict[str, FileState | None] = {}
        #: Whether there is more to it than files: standard input, or a warning that is to be repeated.
        self.has_more = False

    def note(self, path: str) -> None:
        """Take note of a file before it is looked at."""
        if path not in self.files:
            self.files[path] = file_state(path)

    @property
    def unsettled(self) -> bool:
        """Whether a file may have been changed without another time."""
        latest = time.time_ns() - _TICK_NS
        return any(state is not None and max(state[-2:]) > latest for state in self.files.values())


def file_state(path: str) -> FileState | None:
    """What a file is known by; None where none is."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def read_bounded(path: str) -> bytes:
    """What is in a file that a project names, or comes out of a pipe. Raises OSError, also for more than 16 MB."""
    with open(path, "rb") as file:
        found = file.read(_MOST_BYTES + 1)
    if len(found) > _MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return found


def in_words(error: OSError | ValueError) -> str:
    """Why a file cannot be read."""
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
