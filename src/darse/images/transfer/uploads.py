"""Layers on their way to a registry: what it has already is named, what another repository of it has is mounted, and
the rest is rebuilt, compressed and sent in one stream, so that nothing of it is ever on the disk or in memory.

The compression is the same every time, so a layer that was sent once is recognized the next time. The digest that the
registry gets at the end is that of an archive whose rebuilding has been verified.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darse.distribution.errors import RegistryError
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import DOCKER_MANIFEST, OCI_LAYER
from darse.images.layers.compressed import CompressedDigest
from darse.images.layers.compression import ArchivePipe, Compression
from darse.images.layers.store import LayerStore
from darse.images.model import Layer
from darse.images.progress import LayerStage
from darse.images.references import Reference
from darse.images.transfer.manager import ResizableSemaphore
from darse.images.transfer.progress import ProgressStep
from darse.images.transfer.registries import in_thread
from darse.linux.fs.files import open_regular

if TYPE_CHECKING:
    from darse.distribution import Repository, Uploads

_PIECE = 1024 * 1024
# How many forms of a layer are asked for before it is sent.
_CANDIDATES = 4
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class LayerUpload:
    """One layer of a push."""

    def __init__(
        self, layer: Layer, size: int, candidates: list[CompressedDigest], manifest_type: str, kept: Path | None = None
    ) -> None:
        """`size` is that of the uncompressed archive, in bytes; `candidates` are forms that the registry may have.

        kept: the layer's own archive as it came, where that was kept: it is sent as it is.
        """
        self.layer = layer
        self._kept = kept
        self.digest = layer.diff_id
        self.size = layer.blob.size if kept is not None else size
        self.candidates = candidates
        self._media_type = _DOCKER_LAYER if manifest_type == DOCKER_MANIFEST else f"{OCI_LAYER}+gzip"
        self._steps = [ProgressStep(LayerStage.PREPARING)]
        self._sent = 0

    def steps(self) -> list[ProgressStep]:
        """The stages so far, for a `ProgressReporter`."""
        return self._steps

    async def run(
        self, repository: Repository, reference: Reference, layers: LayerStore, slots: ResizableSemaphore
    ) -> Descriptor:
        """Bring the layer to the repository; return the form in which it is there.

        Raises RegistryError, and EngineError when the layer is damaged.
        """
        cancellation = repository.session.transport.cancellation
        if self.layer.blob.urls:
            self._steps.append(ProgressStep(LayerStage.FOREIGN))
            return self.layer.blob
        if not slots.is_free:
            self._steps.append(ProgressStep(LayerStage.WAITING))
        async with slots:
            found = await in_thread(cancellation, lambda: self._find(repository, reference))
            return found or await self._send(repository, layers)

    def _find(self, repository: Repository, reference: Reference) -> Descriptor | None:
        """Look for the layer in the repository, and then in others that it can be mounted from. Blocks."""
        from darse.distribution import Uploads  # noqa: PLC0415

        forms = {known.descriptor.digest: known.descriptor for known in self.candidates}
        for digest in list(forms)[:_CANDIDATES]:
            if repository.has_blob(digest) is not None:
                self._steps.append(ProgressStep(LayerStage.PRESENT))
                return forms[digest]
        for known in self.candidates:
            domain, _, path = known.repository.partition("/")
            if domain == reference.domain and path != reference.path and self._mount(Uploads(repository), known, path):
                return known.descriptor
        return None

    def _mount(self, uploads: Uploads, known: CompressedDigest, path: str) -> bool:
        try:
            mounted = uploads.mount(known.descriptor.digest, path)
        except RegistryError:
            return False  # not to be read there, perhaps; then it is sent
        if mounted:
            self._steps.append(ProgressStep(LayerStage.MOUNTED, mounted_from=path))
        return mounted

    async def _send(self, repository: Repository, layers: LayerStore) -> Descriptor:
        from darse.distribution.timeouts import pause_before  # noqa: PLC0415

        attempt = 1
        while True:
            self._sent = 0
            self._steps.append(ProgressStep(LayerStage.PUSHING, lambda: self._sent, self.size))
            try:
                blob = await (
                    self._stream(repository, layers) if self._kept is None else self._copy(repository, self._kept)
                )
            except RegistryError as error:
                attempt += 1
                pause = round(pause_before(attempt, error, repository.session.transport.limits))
                for left in range(pause, 0, -1):
                    self._steps.append(ProgressStep(LayerStage.RETRYING, retry_in=left))
                    await asyncio.sleep(1)
            else:
                self._steps.append(ProgressStep(LayerStage.PUSHED))
                return blob

    async def _copy(self, repository: Repository, kept: Path) -> Descriptor:
        """Send an archive that was kept. That it is damaged is for the registry to find, which hashes it, too."""
        from darse.distribution import Uploads  # noqa: PLC0415

        def pieces() -> Iterator[bytes]:
            with open(kept, "rb", opener=open_regular) as file:
                while piece := file.read(_PIECE):
                    self._sent += len(piece)
                    yield piece

        blob = self.layer.blob
        await in_thread(
            repository.session.transport.cancellation,
            lambda: Uploads(repository).stream(pieces(), lambda: blob.digest),
            to_the_end=True,
        )
        return blob

    async def _stream(self, repository: Repository, layers: LayerStore) -> Descriptor:
        from darse.distribution import Uploads  # noqa: PLC0415

        pipe = ArchivePipe()
        sending = asyncio.create_task(
            in_thread(
                repository.session.transport.cancellation,
                lambda: Uploads(repository).stream(
                    pipe.compressed(Compression("gzip"), self._count), lambda: pipe.digest
                ),
                to_the_end=True,
            )
        )
        sending.add_done_callback(lambda _: pipe.close())
        try:
            await pipe.fill(layers, self.layer.chain_id)
            await sending
        finally:
            sending.cancel()
            await asyncio.wait({sending})
        return Descriptor(self._media_type, pipe.digest, pipe.size)

    def _count(self, sent: int) -> None:
        self._sent += sent
