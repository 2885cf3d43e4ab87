"""What nothing needs any more: told from the database, and removed, but never beneath somebody at work.

Whoever loads, pulls or saves does it in `keeping()`: until the block ends no document is removed, and no layer that the
block has named. What the block leaves behind when it fails goes with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from darse.core.unfinished import DOCUMENTS, Unfinished
from darse.images.content.store import ContentStore
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.store import LayerStore
from darse.images.model import Target
from darse.images.snapshots.service import SnapshotService
from darse.images.store import ImageStore
from darse.linux.fs.contained import remove_tree
from darse.recovery.startup import Recovery


class Lease:
    """Names the layers that somebody at work needs."""

    def __init__(self) -> None:
        self.chain_ids: set[str] = set()

    def __call__(self, *chain_ids: str) -> None:
        """Keep these layers, from before they are looked for until the block ends."""
        self.chain_ids.update(chain_ids)


class GcResult(NamedTuple):
    """What went: layers, whose directories remain to be deleted, and bytes of blobs on the disk."""

    chain_ids: list[str]
    directories: list[Path]
    blob_bytes: int


class GarbageCollector:
    """Finds and removes layers and blobs that no image and no container needs."""

    def __init__(
        self,
        store: ImageStore,
        content: ContentStore,
        layers: LayerStore,
        snapshots: SnapshotService,
        blobs: CompressedDigests,
        unfinished: Unfinished,
    ) -> None:
        self._unfinished = unfinished
        self._store = store
        self._content = content
        self._layers = layers
        self._snapshots = snapshots
        self._blobs = blobs
        self._holds: list[Lease] = []
        # Chain IDs of layers that containers without a row stand on: they may be taken back.
        self._beside: set[str] = set()
        self._left = False

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[Lease]:
        """Let no removal take content from the block; see the module."""
        hold = Lease()
        self._holds.append(hold)
        try:
            yield hold
        except BaseException:
            self._left = True
            raise
        finally:
            self._holds.remove(hold)
            if self._left:
                await self.remove()

    def going(self, targets: Iterable[Target]) -> None:
        """Note that the documents of these targets are to go; call it in the transaction that removes their rows."""
        digests = {
            digest
            for target in targets
            for digest in (
                target.digest,
                *(digest for one in target.variants for digest in (one.manifest.digest, one.image_id) if digest),
            )
        }
        self._unfinished.begin(DOCUMENTS, digests)

    def set_aside(self, recovery: Recovery) -> None:
        """At the start: move documents aside that nothing needs, and that the engine has not left itself.

        What containers need that have no row, and a copy of their record, is kept from now on.
        """
        for copy in recovery.containers_beside():
            self._beside.update(copy.chain, *copy.mounted.values())
        if self._is_uncertain():
            return
        needed = self.documents_needed()
        noted = {digest for kind in (DOCUMENTS, "images", "image_targets") for digest in self._unfinished.of(kind)}
        noted |= self._content.unrecorded
        for digest in self._content.digests():
            if digest not in needed and digest not in noted and self._blobs.diff_id(digest) is None:
                recovery.set_aside("documents", self._content.path(digest), "no record names this document of an image")
        self._unfinished.done((DOCUMENTS, digest) for digest in noted & needed)

    def _is_uncertain(self) -> bool:
        """Whether a damaged record may need what nothing else needs."""
        return self._store.is_damaged or self._snapshots.is_damaged

    def forget(self) -> GcResult:
        """Forget what is not needed; the layers' directories remain to be deleted.

        Nothing, while a record is damaged: what it names is not known.
        """
        if self._is_uncertain():
            return GcResult([], [], 0)
        chains = self.layers_needed()
        gone = [chain for chain in self._layers.sizes() if chain not in chains]
        directories = self._layers.remove(gone)
        self._left = bool(self._holds)
        freed = 0
        if not self._left:
            self._blobs.keep_only(layer.diff_id for image in self._store for layer in image.layers)
            freed = self._content.keep_only(self.documents_needed().__contains__)
        return GcResult(gone, directories, freed)

    def is_alone(self, hold: Lease) -> bool:
        """Whether nobody else is at work, who may have written what is not recorded yet."""
        return self._holds == [hold]

    def layers_needed(self) -> set[str]:
        """The chain IDs that an image, a container, or somebody at work needs."""
        chains = self._snapshots.chains_in_use().union(self._beside, *(hold.chain_ids for hold in self._holds))
        return chains.union(*(image.chain_ids for image in self._store))

    def documents_needed(self) -> set[str]:
        """The digests of the blobs that are kept, if they are here: an index has manifests that never came."""
        # Layers' archives that are kept: in the forms in which images have them, each for as long as its layer.
        digests = self._blobs.digests()
        for image in self._store:
            digests.update((image.id, image.manifest.digest))
            digests.update(layer.blob.digest for layer in image.layers)
        for target in self._store.targets():
            digests.add(target.digest)
            digests.update(variant.manifest.digest for variant in target.variants)
        return digests

    async def remove(self) -> GcResult:
        """Remove what is not needed."""
        gone = self.forget()
        await self.delete(gone.directories)
        return gone

    async def delete(self, directories: list[Path]) -> None:
        """Delete what forgotten layers have left."""
        for directory in directories:
            await asyncio.to_thread(remove_tree, directory)
