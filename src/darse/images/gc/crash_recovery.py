"""After the power went out: what it left of layers that were not flushed is found whole, or goes.

Each such layer is rebuilt to its archive, whose digest says whether it has all its contents, and unpacked once more of
that: owners, modes, attributes, links and empty files are in no content, and the disk may have lost these, too. A layer
that does not give its archive is removed, and so are the images that need it, since they could neither be run nor told
from sound ones; the log says what to pull or load again. Containers on such a layer stay: they have data of their own,
and work again when it is back.
"""

from __future__ import annotations

import logging

from darse.core.errors import EngineError
from darse.images import references
from darse.images.gc.collector import GarbageCollector
from darse.images.layers.pipe_source import PipeSource
from darse.images.layers.store import DamagedLayer, LayerStore
from darse.images.model import Image
from darse.images.snapshots.service import SnapshotService
from darse.images.store import ImageStore

_log = logging.getLogger("darse.images")


class CrashRecovery:
    """Looks through one store after the start of an engine."""

    def __init__(
        self, store: ImageStore, layers: LayerStore, snapshots: SnapshotService, unused: GarbageCollector
    ) -> None:
        self._store = store
        self._layers = layers
        self._snapshots = snapshots
        self._unused = unused

    async def recover(self) -> None:
        """Look at every doubtful layer; to be called before anything uses them."""
        flushing = self._layers.flushing
        doubtful = flushing.doubtful()
        if doubtful:
            _log.warning("the machine went down before %d layers were flushed: looking at them", len(doubtful))
        damaged: dict[str, str] = {}
        for chain_id in doubtful:
            try:
                await self._layers.verify(chain_id)
                await self._renew(chain_id)
            except DamagedLayer as error:
                damaged[chain_id] = str(error)
            except EngineError as error:
                # Its content is whole, and this host cannot hold it twice at the moment: the next start tries again.
                _log.warning("cannot make sure that layer %s has its attributes: %s", chain_id, error)
        if damaged:
            await self._drop(damaged)
        if flushing.waiting():
            flushing.soon()

    async def _renew(self, chain_id: str) -> None:
        """Make a layer again of its own archive. Raises EngineError."""
        source = PipeSource(self._layers.archive_size(chain_id))
        staged = await source.fed_by(self._layers.archive(chain_id), self._layers.stage(source, chain_id))
        try:
            self._layers.exchange(staged, chain_id)
        finally:
            await self._layers.discard(staged)
        self._layers.flushing.trust(chain_id)

    async def _drop(self, damaged: dict[str, str]) -> None:
        """Remove layers, and the images that need them."""
        gone = [image for image in self._store if not damaged.keys().isdisjoint(image.chain_ids)]
        names = [name for image in gone for name in self._store.names_with(image.id)]
        with self._store.changing():
            self._forget(gone)
        remains = self._layers.remove(damaged)
        await self._unused.delete([*remains, *self._unused.forget()[1]])
        for chain_id, reason in damaged.items():
            _log.warning("removed layer %s, which the power loss has damaged: %s", chain_id, reason)
        shown = [references.parse(name).familiar for name in dict.fromkeys(names)] or [image.id for image in gone]
        if shown:
            _log.warning("removed images with damaged layers: pull or load again: %s", ", ".join(shown))
        for container_id in self._snapshots.standing_on(damaged):
            _log.warning("container %s cannot start until its image is back", container_id)

    def _forget(self, images: list[Image]) -> None:
        """Take images out of their targets, and remove the targets of which nothing remains."""
        ids = {image.id for image in images}
        empty = []
        for target in self._store.targets():
            mine = {image.id for image in self._store.images_of(target)}
            if mine <= ids:
                for name in self._store.names_of(target):
                    self._store.untag(name)
                empty.append(target)
            elif mine & ids:
                self._store.without(target, ids)
        self._unused.going(empty)
        self._store.delete(empty)
