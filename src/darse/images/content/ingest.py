"""Ingests: resumable downloads of blobs in `partials/<hex>`, kept over a restart so that they resume where they ended.

The digest's state is not kept: it is computed again from the file when an ingest is opened, so damage by an unclean
shutdown is noticed at the end. There is one writer per digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from darse.core.errors import Conflict, InvalidParameter
from darse.linux.fs.files import open_own

_PIECE = 1024 * 1024
# A download that no pull has resumed for a week is removed.
_STALE_SECONDS = 7 * 24 * 3600


class Ingest:
    """A download of the blob `digest`, of which `offset` bytes are here."""

    def __init__(self, path: Path, digest: str, on_close: Callable[[], None]) -> None:
        """Open or create the file, and read what is in it. Blocks."""
        self.path = path
        self.digest = digest
        self._on_close = on_close
        self._checksum = hashlib.sha256()
        self.offset = 0
        self._file = open_own(path, os.O_RDWR | os.O_CREAT)
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
        """Begin again at offset 0: the source cannot resume at `offset`."""
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._checksum = hashlib.sha256()
        self.offset = 0

    def complete(self, size: int) -> None:
        """Check size and digest of the complete file. When they are wrong, removes it and raises InvalidParameter."""
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
        """Keep it for later. Does nothing the second time."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._on_close()

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Ingests:
    """The directory of ingests. Threads share it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._open: set[str] = set()

    def open(self) -> None:
        """Make the directory; remove what no pull has resumed for a week."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.remove_ingests(before=time.time() - _STALE_SECONDS)

    def path(self, digest: str) -> Path:
        """The path of the ingest of a blob, whether there is one or not."""
        return self.directory / digest.removeprefix("sha256:")

    def open_ingest(self, digest: str) -> Ingest:
        """Begin or resume an ingest. Blocks. Raises Conflict while it is open already."""
        with self._lock:
            if digest in self._open:
                raise Conflict(f"content {digest} is being downloaded already")
            self._open.add(digest)
        try:
            return Ingest(self.path(digest), digest, lambda: self._close(digest))
        except BaseException:
            self._close(digest)
            raise

    def _close(self, digest: str) -> None:
        with self._lock:
            self._open.discard(digest)

    def sizes(self) -> dict[str, int]:
        """Bytes on the disk of each ingest, by digest."""
        found = {}
        for path in self.directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # completed or discarded meanwhile
                found[f"sha256:{path.name}"] = path.stat().st_blocks * 512
        return found

    def remove_ingests(self, is_needed: Callable[[str], bool] = lambda _: False, *, before: float | None = None) -> int:
        """Remove the ingests that are not open, except those whose digest `is_needed`. Blocks.

        With `before` (seconds since the epoch), those written to since then stay, too. Returns the bytes on the disk
        that this freed.
        """
        freed = 0
        for path in list(self.directory.iterdir()):
            digest = f"sha256:{path.name}"
            with self._lock:
                if digest in self._open or is_needed(digest):
                    continue
                status = path.stat()
                if before is not None and status.st_mtime >= before:
                    continue
                path.unlink()
            freed += status.st_blocks * 512
        return freed
