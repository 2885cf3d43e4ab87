"""The content store: blobs by digest, in the shape of an OCI image layout, and ingests (downloads under way).

A blob is written to a temporary name while its digest is computed, synced, and renamed to `blobs/sha256/<hex>` only
when it is complete and has the digest that it claims. What a crash leaves in `ingest/` is removed at the next start. A
document whose image is not recorded yet is linked from there, so that the next start knows that the engine left it.

Whatever waits for the disk (syncs, removals), or grows with the number of blobs, runs in threads; single look-ups and
renames do not wait, and stay in the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import stat
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from darse.core import executors
from darse.core.errors import InvalidParameter, NotFound
from darse.image_spec.digests import digest_of, is_digest
from darse.image_spec.manifests import Descriptor
from darse.images.content.ingest import Ingest, Ingests
from darse.linux.fs.files import publish, read_regular, sync_directory
from darse.linux.fs.inode_flags import spread_subdirectories
from darse.runtime.rootfs.trash import Trash

# No document is larger; archives of layers are.
_DOCUMENT_LIMIT = 8 * 1024 * 1024


class ContentStore:
    """Blobs under `root`."""

    def __init__(self, root: Path, trash: Trash | None = None) -> None:
        """`trash` removes trees in the background; without it there is one below `root`."""
        self._blobs = root / "blobs" / "sha256"
        #: For files and trees that are not complete, or are being removed.
        self.staging = root / "ingest"
        self.trash = trash or Trash(root / "trash")
        self.ingests = Ingests(root / "partials")
        #: At the start: the digests of documents that an engine before has written, and may not have recorded.
        self.unrecorded: set[str] = set()
        self._writing = asyncio.Lock()

    def open(self) -> None:
        """Make the directories and drop what an interrupted engine left."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        self.unrecorded = set(self._linked())
        self.trash.open()
        if self.staging.exists() and any(self.staging.iterdir()):
            self.trash.take(self.staging)
        self.staging.mkdir(mode=0o700, exist_ok=True)  # a full disk has no space for another one
        # Layers are unpacked in here and renamed later: the block groups of their files are chosen now.
        spread_subdirectories(self.staging)
        self.ingests.open()

    # Reading

    def path(self, digest: str) -> Path:
        """The path of the blob `digest`, whether it is here or not. Raises InvalidParameter for any but a sha256."""
        if not is_digest(digest):
            raise InvalidParameter(f"unsupported digest {digest[:100]!r}: must be sha256")
        return self._blobs / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        """Whether the blob is here."""
        return self.path(digest).exists()

    def size(self, digest: str) -> int:
        """Bytes of a blob; 0 when it is not here."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def digests(self) -> list[str]:
        """The digests of all blobs, by their names. Blocks."""
        return [f"sha256:{path.name}" for path in self._blobs.iterdir()]

    def disk_usage(self) -> int:
        """Bytes on the disk of all blobs and ingests. Blocks."""
        blobs = sum(path.stat().st_blocks for path in self._blobs.iterdir()) * 512
        return blobs + sum(self.ingests.sizes().values())

    def read(self, digest: str) -> bytes:
        """Return a small blob. Blocks. Raises NotFound."""
        try:
            return read_regular(self.path(digest))
        except FileNotFoundError:
            raise NotFound(f"content {digest} is not in the store") from None

    async def read_documents(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return small blobs by their digests. Raises NotFound."""
        required = list(dict.fromkeys(digests))
        return await executors.storage.run(lambda: {digest: self.read(digest) for digest in required})

    # Writing

    def open_ingest(self, digest: str) -> Ingest:
        """Begin or resume the download of a blob. Reads what is here already, so it blocks. Raises Conflict."""
        self.path(digest)
        return self.ingests.open_ingest(digest)

    def temporary(self) -> Path:
        """A new name in the staging directory."""
        return self.staging / secrets.token_hex(8)

    def put(self, content: bytes, media_type: str) -> Descriptor:
        """Store a small blob. Blocks."""
        digest = digest_of(content)
        if not self.path(digest).exists():
            temporary = self.temporary()
            with open(temporary, "xb") as file:
                file.write(content)
            publish(temporary, self.path(digest))
        return Descriptor(media_type, digest, len(content))

    @asynccontextmanager
    async def stored(self, documents: Iterable[bytes]) -> AsyncIterator[None]:
        """Store documents durably for the block, which records their image. Enter it with a lease."""
        links: list[Path] = []
        try:
            async with self._writing:
                await executors.storage.run_to_end(self._put_documents, dict.fromkeys(documents), links)
            yield
        finally:
            await executors.storage.run_to_end(_unlink, links)

    def _put_documents(self, documents: Iterable[bytes], links: list[Path]) -> None:
        for document in documents:
            final = self.path(digest_of(document))
            if final.exists():
                continue
            links.append(self.temporary())
            with open(links[-1], "xb") as file:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
            os.link(links[-1], final)
        sync_directory(self._blobs)

    def share(self, file: Path, digest: str) -> None:
        """Make a file whose digest is verified a blob, by a hard link; the file stays. Blocks."""
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(file, self.path(digest))
        sync_directory(self._blobs)

    def _linked(self) -> Iterator[str]:
        """The digests of the documents that are linked from the staging directory."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.staging.iterdir():
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_size <= _DOCUMENT_LIMIT:
                    yield digest_of(path.read_bytes())

    # Removing

    def take_out(self, digests: Iterable[str]) -> tuple[list[Path], int]:
        """Rename blobs into the staging directory; return the files to be deleted, and their bytes on the disk. Blocks.

        The same digest may be stored again while the file is deleted. Blobs that are gone are fine.
        """
        removed, freed = [], 0
        for digest in digests:
            path, aside = self._blobs / digest.removeprefix("sha256:"), self.temporary()
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, aside)
                removed.append(aside)
                freed += aside.stat().st_blocks * 512
        return removed, freed

    def remove_blobs(self, digests: Iterable[str]) -> None:
        """Remove blobs; those that are gone are fine. Blocks."""
        for digest in digests:
            self.path(digest).unlink(missing_ok=True)


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
