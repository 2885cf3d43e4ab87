"""Files of a tree that anybody has written: only regular ones are read, only so many bytes, and no link leaves it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from darse.linux.fs.contained import sorted_names
from darse.linux.fs.openat2 import open_in_root, read_regular

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class TreeFiles:
    """Reads below one root."""

    def __init__(self, root: int) -> None:
        """root: a descriptor that stays the caller's."""
        self.root = root
        self.too_large: list[str] = []
        """What was passed over for its size: a document is to say so."""

    def read(self, path: str, limit: int) -> bytes | None:
        """A file by its path, as it is seen from the root; None where there is none, or one of more bytes."""
        content = read_regular(self.root, path, limit + 1)
        if content is not None and len(content) > limit:
            self.too_large.append(f"/{path}")
            return None
        return content

    def names(self, path: str) -> Iterator[str]:
        """Yield the names in a directory; none where it is not there."""
        try:
            directory = open_in_root(self.root, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        try:
            yield from sorted_names(directory)
        finally:
            os.close(directory)


def read_entry(directory: int, name: str, limit: int) -> bytes | None:
    """A file of a directory that is being walked; None where it is no regular one, or has more bytes."""
    descriptor = open_entry(directory, name)
    if descriptor is None:
        return None
    with open(descriptor, "rb") as file:
        content = file.read(limit + 1)
    return content if len(content) <= limit else None


def open_entry(directory: int, name: str) -> int | None:
    """A descriptor of a regular file that the caller closes; None for anything else."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=directory)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
