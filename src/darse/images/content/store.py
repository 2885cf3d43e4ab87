"""The content store: documents by digest, in the shape of an OCI image layout; and downloads that are not whole yet.

A blob is written to a temporary name while its digest is computed, flushed, and renamed to `blobs/sha256/<hex>` only
when it is whole and what it claims to be. What a crash leaves in `ingest/` is removed at the next start. A document
whose image is not recorded yet is a link to a file in there, so that the next start knows that it was left half-made.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from darse.core.errors import InvalidParameter, NotFound
from darse.images.content.ingest import Ingest, Ingests
from darse.images.model import Descriptor, digest_of
from darse.images.references import is_digest
from darse.linux.fs.files import publish, read_regular, sync_directory
from darse.linux.fs.inode_flags import spread_subdirectories
from darse.runtime.rootfs.trash import Trash


class ContentStore:
    """Blobs under `root`."""

    def __init__(self, root: Path, trash: Trash | None = None) -> None:
        """`trash` takes what is to be removed in the background; one below `root` unless given."""
        self._blobs = root / "blobs" / "sha256"
        self.ingest = root / "ingest"
        self.trash = trash or Trash(root / "trash")
        self.partials = Ingests(root / "partials")
        #: At the start: the digests of documents that an engine before us has written, and may not have recorded.
        self.unrecorded: set[str] = set()

    def open(self) -> None:
        """Make the directories and drop what an interrupted ingest left."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        self.unrecorded = set(self._linked())
        self.trash.open()
        if self.ingest.exists() and any(self.ingest.iterdir()):
            self.trash.take(self.ingest)
        self.ingest.mkdir(mode=0o700, exist_ok=True)  # a full disk has no space for another one
        # Layers are unpacked in here, and only renamed later: where their files are is decided now.
        spread_subdirectories(self.ingest)
        self.partials.open()

    def path(self, digest: str) -> Path:
        """Where the blob `digest` is or would be. Raises InvalidParameter for what is no sha256 digest."""
        if not is_digest(digest):
            raise InvalidParameter(f"unsupported digest {digest[:100]!r}: must be sha256")
        return self._blobs / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return self.path(digest).exists()

    def size(self, digest: str) -> int:
        """Bytes of a blob; 0 when it is not there."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def disk_usage(self) -> int:
        """Bytes on the disk of all blobs and partial downloads."""
        blobs = sum(path.stat().st_blocks for path in self._blobs.iterdir()) * 512
        return blobs + sum(self.partials.sizes().values())

    def partial(self, digest: str) -> Ingest:
        """Begin a download, or go on with it; reads what is there already, so it may block. Raises Conflict."""
        self.path(digest)
        return self.partials.of(digest)

    def temporary(self) -> Path:
        """A fresh name in the ingest directory."""
        return self.ingest / secrets.token_hex(8)

    def read(self, digest: str) -> bytes:
        """Return a small blob. Raises NotFound."""
        try:
            return read_regular(self.path(digest))
        except FileNotFoundError:
            raise NotFound(f"content {digest} is not in the store") from None

    def put(self, content: bytes, media_type: str) -> Descriptor:
        """Store a small blob."""
        digest = digest_of(content)
        if not self.path(digest).exists():
            temporary = self.temporary()
            with open(temporary, "xb") as file:
                file.write(content)
            self._publish(temporary, digest)
        return Descriptor(media_type, digest, len(content))

    def put_unrecorded(self, content: bytes) -> Path:
        """Store a document before what it is of is recorded; give what is returned to `recorded` afterwards."""
        temporary, final = self.temporary(), self.path(digest_of(content))
        if not final.exists():
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, final)
            sync_directory(self._blobs)
        return temporary

    @staticmethod
    def recorded(temporary: Path) -> None:
        """What was put is recorded, or is not going to be."""
        temporary.unlink(missing_ok=True)

    def _linked(self) -> Iterator[str]:
        """The digests of the documents that are linked from the ingest directory."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.ingest.iterdir():
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                    yield digest_of(path.read_bytes())

    def share(self, file: Path, digest: str) -> None:
        """Let a file whose digest has been verified be the blob, too, by a hard link; the file is left. Blocks."""
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(file, self.path(digest))
        sync_directory(self._blobs)

    def digests(self) -> list[str]:
        """Every blob's digest, by its name."""
        return [f"sha256:{path.name}" for path in self._blobs.iterdir()]

    def keep_only(self, wanted: Callable[[str], bool]) -> int:
        """Remove every blob whose digest is not `wanted`; return their bytes on the disk."""
        freed = 0
        for path in list(self._blobs.iterdir()):
            if not wanted(f"sha256:{path.name}"):
                freed += path.stat().st_blocks * 512
                path.unlink()
        return freed

    def remove(self, digests: Iterable[str]) -> None:
        """Remove blobs; those that are gone are fine."""
        for digest in digests:
            self.path(digest).unlink(missing_ok=True)

    def _publish(self, temporary: Path, digest: str) -> None:
        final = self.path(digest)
        if final.exists():
            temporary.unlink()
            return
        publish(temporary, final)
