"""What nothing needs any more: told from the database, and removed, but never beneath somebody at work.

Whoever loads, pulls or saves does it in `keeping()`: until the block ends no document is removed, and no layer that the
block has named. What the block leaves behind when it fails goes with it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from darse.images.content import ContentStore
from darse.images.layer_blobs import LayerBlobs
from darse.images.layers import LayerStore
from darse.images.snapshots import SnapshotService
from darse.images.store import ImageStore


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
                await _delete(directories)

    def forget(self) -> tuple[list[str], list[Path]]:
        """Forget what is not needed; return layers' chain IDs, and directories that remain to be deleted."""
        chains = self._snapshots.chains_in_use().union(*(hold.chain_ids for hold in self._holds))
        documents: set[str] = set()
        rebuildable = self._layers.rebuildable()
        for image in self._store:
            chains.update(image.chain_ids)
            documents.update((image.id, image.manifest.digest))
            documents.update(layer.blob.digest for layer in image.layers if layer.chain_id not in rebuildable)
        for target in self._store.targets():
            documents.add(target.digest)
            documents.update(variant.manifest.digest for variant in target.variants)
        gone = [chain for chain in self._layers.sizes() if chain not in chains]
        directories = self._layers.remove(gone)
        self._left = bool(self._holds)
        if not self._left:
            self._content.keep_only(documents.__contains__)
            self._blobs.keep_only(layer.diff_id for image in self._store for layer in image.layers)
        return gone, directories

    def sizes(self) -> dict[str, int]:
        """Bytes of every layer, by chain ID."""
        return self._layers.sizes()

    async def remove(self) -> list[str]:
        """Remove what is not needed; return the layers' chain IDs."""
        gone, directories = self.forget()
        await _delete(directories)
        return gone


async def _delete(directories: list[Path]) -> None:
    for directory in directories:
        await asyncio.to_thread(shutil.rmtree, directory)
