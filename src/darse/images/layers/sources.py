"""Where the archive of a layer comes from; `darse.archive.pipe_source` has one for archives that come in pieces."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class LayerSource(Protocol):
    """A source of a layer's archive, compressed or not."""

    @property
    def size(self) -> int:
        """Bytes of the archive, -1 when they are not known; a pipe that gives more is refused."""

    def open(self) -> int:
        """Return a file descriptor from whose position the archive is read; the store closes it.

        It is a file, or a pipe: when the layer is refused, the writer of the pipe gets EPIPE.
        """


class FileSource:
    """An archive in a file, or a part of one."""

    def __init__(self, path: Path, offset: int = 0, size: int = -1) -> None:
        self._path = path
        self._offset = offset
        self.size = size

    def open(self) -> int:
        """Raises OSError."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if self._offset:
            os.lseek(descriptor, self._offset, os.SEEK_SET)
        return descriptor


class DescriptorSource:
    """What a descriptor gives, of unknown size: the reading end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = -1

    def open(self) -> int:
        """Return the descriptor."""
        return self._descriptor
