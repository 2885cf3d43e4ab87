"""Recovery after an unclean shutdown of the machine: layers that were not synced are verified, or removed.

Each such layer is reassembled to its archive, whose digest shows whether all contents are there, and unpacked again
from that: owners, modes, attributes, links and empty files are in no content, and the disk may have lost them, too. A
layer that does not give its archive is removed, and so are the images that need it: they would be broken without anyone
noticing. The log says what to pull or load again. Containers on such a layer stay: they have data of their own, and
work again when the layer is back.
"""

from __future__ import annotations

import logging

from darse.archive.pipe_source import PipeSource
from darse.core.errors import EngineError
from darse.images import references
from darse.images.gc.collector import GarbageCollector
from darse.images.layers.store import DamagedLayer, LayerStore
from darse.images.model import Image
from darse.images.snapshots.service import SnapshotService
from darse.images.store import ImageStore

_log = logging.getLogger("darse.images")


class CrashRecovery:
    """Verifies the layers of one store when an engine starts."""

    def __init__(
        self, images: ImageStore, layers: LayerStore, snapshots: SnapshotService, gc: GarbageCollector
    ) -> None:
        self._images = images
        self._layers = layers
        self._snapshots = snapshots
        self._gc = gc

    async def recover_layers(self) -> None:
        """Verify the layers that an earlier boot left unsynced. Call it before anything uses them."""
        sync = self._layers.sync
        unverified = sync.unverified()
        if unverified:
            _log.warning("the machine went down before %d layers were synced: verifying them", len(unverified))
        damaged: dict[str, str] = {}
        for chain_id in unverified:
            try:
                await self._layers.verify(chain_id)
                await self._unpack_again(chain_id)
            except DamagedLayer as error:
                damaged[chain_id] = str(error)
            except EngineError as error:
                # Its content is whole, and this host has no room for it twice at the moment: the next start tries
                # again.
                _log.warning("cannot make sure that layer %s has its attributes: %s", chain_id, error)
        if damaged:
            await self._remove_damaged(damaged)
        if sync.unsynced():
            sync.schedule()

    async def _unpack_again(self, chain_id: str) -> None:
        """Replace a layer by one unpacked from its own archive. Raises EngineError."""
        source = PipeSource(self._layers.archive_size(chain_id))
        staged = await source.fed_by(self._layers.archive(chain_id), self._layers.stage(source, chain_id))
        try:
            self._layers.exchange(staged, chain_id)
        finally:
            await self._layers.discard_staged(staged)
        self._layers.sync.mark_verified(chain_id)

    async def _remove_damaged(self, damaged: dict[str, str]) -> None:
        """Remove damaged layers, and the images that need them."""
        gone = [image for image in self._images if not damaged.keys().isdisjoint(image.chain_ids)]
        names = [name for image in gone for name in self._images.names_with(image.id)]
        with self._images.changing():
            self._remove_records(gone)
        await self._images.flush()
        await self._gc.remove_layers(damaged)
        await self._gc.collect()
        for chain_id, reason in damaged.items():
            _log.warning("removed layer %s, which the unclean shutdown has damaged: %s", chain_id, reason)
        shown = [references.parse(name).familiar for name in dict.fromkeys(names)] or [image.id for image in gone]
        if shown:
            _log.warning("removed images with damaged layers: pull or load again: %s", ", ".join(shown))
        for container_id in self._snapshots.using_layers(damaged):
            _log.warning("container %s cannot start until its image is back", container_id)

    def _remove_records(self, images: list[Image]) -> None:
        """Take images out of their targets, and remove the targets of which nothing remains."""
        ids = {image.id for image in images}
        empty = []
        for target in self._images.targets():
            mine = {image.id for image in self._images.images_of(target)}
            if mine <= ids:
                for name in self._images.names_of(target):
                    self._images.untag(name)
                empty.append(target)
            elif mine & ids:
                self._images.without(target, ids)
        self._gc.mark_documents(empty)
        self._images.delete_targets(empty)
