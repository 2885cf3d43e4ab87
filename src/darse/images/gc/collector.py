"""Garbage collection: content that the database does not reference is removed, unless a lease protects it.

The roots are the images, the layers of containers and of other snapshots, and the leases. Whoever loads, pulls or saves
takes a lease: until it ends no document is removed, and none of the layers that it holds; it begins when no document is
about to go. When the block of a lease fails, the content that it leaves behind is collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from darse.core import executors
from darse.core.unfinished import DOCUMENTS, Unfinished
from darse.images.content.attestations import AttestationParts
from darse.images.content.store import ContentStore
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.remapped import RemappedLayers
from darse.images.layers.store import LayerStore
from darse.images.model import Target
from darse.images.snapshots.service import SnapshotService
from darse.images.snapshots.snapshotter import Snapshotter
from darse.images.store import ImageStore
from darse.linux.fs.contained import remove_tree
from darse.recovery.startup import Recovery


class Lease:
    """The layers that an operation needs."""

    def __init__(self) -> None:
        self.chain_ids: set[str] = set()

    def hold(self, *chain_ids: str) -> None:
        """Protect these layers until the lease ends. Call it before looking for them."""
        self.chain_ids.update(chain_ids)


class GcResult(NamedTuple):
    """What was collected: layers, bytes of blobs on the disk, and the files and directories to be deleted."""

    chain_ids: list[str]
    blob_bytes: int
    leftovers: list[Path]


class GarbageCollector:
    """Finds and removes layers and blobs that no image, container or lease needs."""

    def __init__(
        self,
        images: ImageStore,
        content: ContentStore,
        layers: LayerStore,
        remapped: RemappedLayers,
        snapshots: SnapshotService,
        snapshotter: Snapshotter,
        compressed: CompressedDigests,
        unfinished: Unfinished,
    ) -> None:
        self._images = images
        self._content = content
        self._layers = layers
        self._remapped = remapped
        self._snapshots = snapshots
        self._snapshotter = snapshotter
        self._compressed = compressed
        self._unfinished = unfinished
        self._leases: list[Lease] = []
        # Layers of containers whose records are orphans: the containers may be put back.
        self._orphans: set[str] = set()
        # Whether documents are left that no image needs.
        self._is_due = False
        # Held while documents are removed: who takes a lease then waits, and finds none that is about to go.
        self._documents = asyncio.Lock()
        self._attested = AttestationParts(content)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Lease]:
        """Protect the content that the block writes, and the layers that it holds."""
        lease = Lease()
        async with self._documents:
            self._leases.append(lease)
        try:
            yield lease
        except BaseException:
            self._is_due = True
            raise
        finally:
            self._leases.remove(lease)
            if self._is_due:
                await self.collect()

    def is_only_lease(self, lease: Lease) -> bool:
        """Whether no other operation holds a lease, which could have written documents that are not recorded yet."""
        return self._leases == [lease]

    # Roots

    def needed_layers(self) -> set[str]:
        """The chain IDs that an image, a container, another snapshot or a lease needs."""
        chains = self._snapshots.chains_in_use() | self._snapshotter.chains_in_use()
        chains = chains.union(self._orphans, *(lease.chain_ids for lease in self._leases))
        return chains.union(*(image.chain_ids for image in self._images))

    async def needed_documents(self) -> set[str]:
        """The digests of the blobs that are kept, where they are here: of an index not all manifests are pulled."""
        await executors.storage.run(self._attested.read, self._images.targets())
        return self._needed_documents()

    def _needed_documents(self) -> set[str]:
        # Kept archives of layers: in the forms in which images have them, each for as long as its layer.
        digests = self._compressed.digests()
        for image in self._images:
            digests.update((image.id, image.manifest.digest))
            digests.update(layer.blob.digest for layer in image.layers)
        for target in self._images.targets():
            digests.add(target.digest)
            digests.update(variant.manifest.digest for variant in target.variants)
            digests.update(self._attested.known_of(target))
        return digests

    def _is_uncertain(self) -> bool:
        """Whether a damaged record may need content that no other record needs."""
        return self._images.is_damaged or self._snapshots.is_damaged

    # Collecting

    async def collect(self) -> GcResult:
        """Remove the layers and blobs that are not needed.

        What goes is decided in one moment of the event loop, and renamed in a thread. Nobody comes to need it
        meanwhile: see `LayerStore.locked` and `lease`. Removes nothing while a record is damaged: what that needs is
        not known.
        """
        # No record that needs them may come back with the power.
        await self._images.flush()
        if self._is_uncertain():
            return GcResult([], 0, [])
        garbage, leftovers = await self._remove_garbage_layers()
        blobs, freed = await self._remove_garbage_documents()
        leftovers += blobs
        await self.delete_leftovers(leftovers)
        return GcResult(garbage, freed, leftovers)

    def collect_at_start(self) -> list[Path]:
        """As `collect`, when nothing else runs yet; the caller deletes what is returned. Blocks."""
        if self._is_uncertain():
            return []
        garbage = self._garbage_layers()
        self._layers.delete_records(garbage)
        leftovers = self._take_out_layers(garbage)
        self._attested.read(self._images.targets())
        blobs, _ = self._content.take_out(self._garbage_documents(self._content.digests()))
        return leftovers + blobs

    def _garbage_layers(self) -> list[str]:
        needed = self.needed_layers()
        return [chain for chain in self._layers.sizes() if chain not in needed]

    async def _remove_garbage_layers(self) -> tuple[list[str], list[Path]]:
        candidates = self._garbage_layers()
        if not candidates:
            return [], []
        async with self._layers.locked(candidates):
            # A lease may hold some of them by now.
            garbage = sorted(set(candidates).intersection(self._garbage_layers()))
            self._layers.delete_records(garbage)
            return garbage, await executors.storage.run_to_end(self._take_out_layers, garbage)

    def _take_out_layers(self, chain_ids: Sequence[str]) -> list[Path]:
        """Take the directories of layers and of their remapped copies out of the stores. Blocks."""
        return self._layers.take_out(chain_ids) + self._remapped.take_out(chain_ids)

    async def _remove_garbage_documents(self) -> tuple[list[Path], int]:
        async with self._documents:
            self._is_due = bool(self._leases)
            if self._is_due:
                return [], 0
            # From here on no document comes.
            present = await executors.storage.run_to_end(self._look_for_documents, self._images.targets())
            garbage = self._garbage_documents(present)
            return await executors.storage.run_to_end(self._content.take_out, garbage)

    def _look_for_documents(self, targets: Iterable[Target]) -> list[str]:
        """The digests of all documents; the parts of all attestations are known then. Blocks."""
        self._attested.read(targets)
        return self._content.digests()

    def _garbage_documents(self, present: Iterable[str]) -> list[str]:
        self._compressed.retain(layer.diff_id for image in self._images for layer in image.layers)
        needed = self._needed_documents()
        return [digest for digest in present if digest not in needed]

    async def remove_layers(self, chain_ids: Iterable[str]) -> None:
        """Remove layers and their remapped copies, whoever needs them."""
        gone = list(chain_ids)
        async with self._layers.locked(gone):
            self._layers.delete_records(gone)
            leftovers = await executors.storage.run_to_end(self._take_out_layers, gone)
        await self.delete_leftovers(leftovers)

    async def delete_leftovers(self, paths: Iterable[Path]) -> None:
        """Delete the files and directories of removed blobs and layers."""
        for path in paths:
            await executors.storage.run(remove_tree, path)

    # Crashes

    def mark_documents(self, targets: Iterable[Target]) -> None:
        """Note that the documents of these targets are being removed. Call it in the transaction that removes the rows.

        So the start after a crash knows that it may remove them.
        """
        digests = {
            digest
            for target in targets
            for digest in (
                target.digest,
                *(digest for one in target.variants for digest in (one.manifest.digest, one.image_id) if digest),
                *self._attested.of(target),
            )
        }
        self._unfinished.begin(DOCUMENTS, digests)

    def note_blobs(self, digests: Iterable[str]) -> None:
        """Note that these archives of layers become blobs before their image is recorded."""
        self._unfinished.begin(DOCUMENTS, digests)

    def set_orphans_aside(self, recovery: Recovery) -> None:
        """At the start: set documents aside that no image needs and that the engine did not leave itself.

        The layers of containers that have no row but a copy of their record are kept from now on.
        """
        for copy in recovery.containers_beside():
            self._orphans.update(copy.chain, *copy.mounted.values())
        if self._is_uncertain():
            return
        self._attested.read(self._images.targets())
        needed = self._needed_documents()
        noted = {digest for kind in (DOCUMENTS, "images", "image_targets") for digest in self._unfinished.of(kind)}
        noted |= self._content.unrecorded
        for digest in self._content.digests():
            if digest not in needed and digest not in noted and self._compressed.diff_id(digest) is None:
                recovery.set_aside("documents", self._content.path(digest), "no record names this document of an image")
        self._unfinished.done((DOCUMENTS, digest) for digest in noted & needed)
