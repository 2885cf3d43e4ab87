"""Downloads that are not whole yet: `partials/<hex>`, kept over a restart so that they go on where they ended.

The digest's state is not kept: it is computed again from what is there when a partial is opened, so a file that the
power cut damaged is found out when it is complete. One writer per digest.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from darse.core.errors import Conflict, InvalidParameter
from darse.linux.fs.files import open_own

_PIECE = 1024 * 1024
# A download that nobody came back to for a week.
_STALE_SECONDS = 7 * 24 * 3600


class Ingest:
    """A download of the blob `digest`; `offset` bytes of it are there."""

    def __init__(self, path: Path, digest: str, writers: set[str]) -> None:
        """Open or begin it, and read what is there: blocks. Raises Conflict while another has it."""
        if digest in writers:
            raise Conflict(f"content {digest} is being downloaded already")
        writers.add(digest)
        self.path = path
        self.digest = digest
        self._writers = writers
        self._checksum = hashlib.sha256()
        self.offset = 0
        try:
            self._file = open_own(path, os.O_RDWR | os.O_CREAT)
        except BaseException:
            writers.discard(digest)
            raise
        while piece := os.read(self._file, _PIECE):
            self._checksum.update(piece)
            self.offset += len(piece)

    def write(self, piece: bytes | memoryview) -> None:
        """Append. Raises OSError."""
        self._checksum.update(piece)
        rest = memoryview(piece)
        while rest:
            written = os.write(self._file, rest)
            self.offset += written
            rest = rest[written:]

    def restart(self) -> None:
        """Forget what is there: the source cannot go on from `offset`."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._checksum = hashlib.sha256()
        self.offset = 0

    def complete(self, size: int) -> None:
        """Check that all of it is there. Raises InvalidParameter, and drops it, when it is another content."""
        actual = f"sha256:{self._checksum.hexdigest()}"
        if self.offset != size or actual != self.digest:
            found = f"{self.offset} bytes of digest {actual}"
            self.discard()
            raise InvalidParameter(f"content {self.digest} must have {size} bytes, and {found} came")

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave it for later. Does nothing the second time."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._writers.discard(self.digest)

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Ingests:
    """The directory of partial downloads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writers: set[str] = set()

    def open(self) -> None:
        """Make the directory; drop what nobody came back to."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.drop(before=time.time() - _STALE_SECONDS)

    def path(self, digest: str) -> Path:
        """Where the download of a blob is or would be."""
        return self.directory / digest.removeprefix("sha256:")

    def of(self, digest: str) -> Ingest:
        """See `ContentStore.partial`."""
        return Ingest(self.path(digest), digest, self._writers)

    def sizes(self) -> dict[str, int]:
        """Bytes on the disk of each partial, by digest."""
        found = {}
        for path in self.directory.iterdir():
            found[f"sha256:{path.name}"] = path.stat().st_blocks * 512
        return found

    def drop(self, wanted: Callable[[str], bool] = lambda _: False, *, before: float | None = None) -> int:
        """Remove those that nobody writes, but for the digests that are `wanted`; return their bytes on the disk.

        With `before` (seconds since the epoch), those written to since then stay, too.
        """
        freed = 0
        for path in list(self.directory.iterdir()):
            status, digest = path.stat(), f"sha256:{path.name}"
            if digest in self._writers or wanted(digest) or (before is not None and status.st_mtime >= before):
                continue
            path.unlink()
            freed += status.st_blocks * 512
        return freed
