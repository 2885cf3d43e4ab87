"""What nothing needs any more: told from the database, and removed, but never beneath somebody at work.

Whoever loads, pulls or saves does it in `keeping()`: until the block ends no document is removed, and no layer that the
block has named. What the block leaves behind when it fails goes with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from darse.images.content import ContentStore
from darse.images.layer_blobs import LayerBlobs
from darse.images.layers import LayerStore
from darse.images.snapshots import SnapshotService
from darse.images.store import ImageStore
from darse.linux.contained import remove_tree


class Hold:
    """Names the layers that somebody at work needs."""

    def __init__(self) -> None:
        self.chain_ids: set[str] = set()

    def __call__(self, *chain_ids: str) -> None:
        """Keep these layers, from before they are looked for until the block ends."""
        self.chain_ids.update(chain_ids)


class Unused:
    """Finds and removes layers and blobs that no image and no container needs."""

    def __init__(
        self,
        store: ImageStore,
        content: ContentStore,
        layers: LayerStore,
        snapshots: SnapshotService,
        blobs: LayerBlobs,
    ) -> None:
        self._store = store
        self._content = content
        self._layers = layers
        self._snapshots = snapshots
        self._blobs = blobs
        self._holds: list[Hold] = []
        self._left = False

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[Hold]:
        """Let no removal take content from the block; see the module."""
        hold = Hold()
        self._holds.append(hold)
        try:
            yield hold
        except BaseException:
            self._left = True
            raise
        finally:
            self._holds.remove(hold)
            if self._left:
                _, directories = self.forget()
                await self.delete(directories)

    def forget(self) -> tuple[list[str], list[Path]]:
        """Forget what is not needed; return layers' chain IDs, and directories that remain to be deleted."""
        chains, documents = self.layers_needed(), self.documents_needed()
        gone = [chain for chain in self._layers.sizes() if chain not in chains]
        directories = self._layers.remove(gone)
        self._left = bool(self._holds)
        if not self._left:
            self._content.keep_only(documents.__contains__)
            self._blobs.keep_only(layer.diff_id for image in self._store for layer in image.layers)
        return gone, directories

    def is_alone(self, hold: Hold) -> bool:
        """Whether nobody else is at work, who may have written what is not recorded yet."""
        return self._holds == [hold]

    def layers_needed(self) -> set[str]:
        """The chain IDs that an image, a container, or somebody at work needs."""
        chains = self._snapshots.chains_in_use().union(*(hold.chain_ids for hold in self._holds))
        return chains.union(*(image.chain_ids for image in self._store))

    def documents_needed(self) -> set[str]:
        """The digests of the blobs that are kept, if they are here: an index has manifests that never came."""
        digests: set[str] = set()
        rebuildable = self._layers.rebuildable()
        for image in self._store:
            digests.update((image.id, image.manifest.digest))
            digests.update(layer.blob.digest for layer in image.layers if layer.chain_id not in rebuildable)
        for target in self._store.targets():
            digests.add(target.digest)
            digests.update(variant.manifest.digest for variant in target.variants)
        return digests

    async def remove(self) -> list[str]:
        """Remove what is not needed; return the layers' chain IDs."""
        gone, directories = self.forget()
        await self.delete(directories)
        return gone

    async def delete(self, directories: list[Path]) -> None:
        """Delete what forgotten layers have left."""
        for directory in directories:
            await asyncio.to_thread(remove_tree, directory)
