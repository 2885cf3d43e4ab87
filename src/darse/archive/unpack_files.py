"""Unpacks an archive of files, not of a layer, below the current root directory: a build's context, or a volume.

Names that begin with `.wh.` mean nothing here, a later entry replaces an earlier one, and links lead on within the root
(see `darse.linux.proc.sandbox`), as in moby's chrooted untar. All of a context belongs to root, as docker's own client
sends it: an image must not depend on who built it. A volume has the owners that the archive says.
"""

from __future__ import annotations

import os

from darse.archive.errors import ArchiveRefused
from darse.archive.extract import Parents, Unpacker
from darse.archive.stream import PIECE, aligned, decompressed, prepare_for
from darse.archive.tar import Blocks, Entry, Reader
from darse.linux.fs.openat2 import make_directories, open_in_root

TYPE_CHECKING = False  # not the one of typing, whose import is a third of a worker's start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAGIC = 6


class FilesUnpacker:
    """Unpacks one archive that comes on a descriptor."""

    def __init__(
        self, descriptor: int, most_entries: int, most_bytes: int, owners: Callable[[Entry], None] | None = None
    ) -> None:
        """most_entries, most_bytes: of what it unpacks to; -1 is no bound.

        owners: the archive is that of a volume, and this changes what it says of an entry's owner.
        """
        self._descriptor = descriptor
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._owners = owners
        self._start = b""
        self.entries = 0
        #: Bytes of the files.
        self.size = 0

    def prepare(self) -> None:
        """Load what its compression needs, as long as modules can be found: the first bytes tell which."""
        while len(self._start) < _MAGIC and (more := os.read(self._descriptor, PIECE)):
            self._start += more
        prepare_for(self._start)

    def run(self) -> None:
        """Unpack all of it into the current root. Raises ArchiveRefused, and OSError."""
        pieces = self._bounded(decompressed(self._input()))
        blocks = Blocks(memoryview(piece) for piece in aligned(pieces))
        owner = (0, 0) if self._owners is None else None
        unpacker = Unpacker(
            _InRoot(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)),
            "",
            owner=owner,
            has_top=self._owners is not None,
        )
        unpacker.unpack(_CountedReader(blocks, self._count))
        self.size = unpacker.size

    def _input(self) -> Iterator[bytes]:
        if self._start:
            yield self._start
        while piece := os.read(self._descriptor, PIECE):
            yield piece

    def _bounded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        size = 0
        for piece in pieces:
            size += len(piece)
            if 0 <= self._most_bytes < size:
                raise ArchiveRefused(f"it unpacks to more than {self._most_bytes} bytes")
            yield piece

    def _count(self, entry: Entry) -> None:
        if self._owners is not None:
            self._owners(entry)
        self.entries += 1
        if 0 <= self._most_entries < self.entries:
            raise ArchiveRefused(f"it has more than {self._most_entries} entries")


class _CountedReader(Reader):
    """Reports each entry before it is used."""

    def __init__(self, blocks: Blocks, count: Callable[[Entry], None]) -> None:
        super().__init__(blocks, _ignore_header)
        self._count = count

    def __iter__(self) -> Iterator[Entry]:
        for entry in super().__iter__():
            self._count(entry)
            yield entry


def _ignore_header(_header: bytes) -> None:
    """Nobody rebuilds this archive."""


class _InRoot(Parents):
    """Directories below the current root."""

    def __init__(self, root: int) -> None:
        self._root = root

    def open(self, path: str) -> int:
        return open_in_root(self._root, path or ".", os.O_RDONLY | os.O_DIRECTORY)

    def make(self, path: str) -> int:
        try:
            return self.open(path)
        except FileNotFoundError:
            os.close(make_directories(self._root, path))
            return self.open(path)
