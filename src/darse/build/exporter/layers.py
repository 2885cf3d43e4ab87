"""The layers of a build's tree as layers of the image store.

Those of base images are there already; each of the build's own gets its archive's digest when it is exported first.
Where times are rewritten, or all layers become one, they are other layers, which are copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from darse.archive.pipe_source import PipeSource
from darse.build.executor.differences import write_difference
from darse.build.exporter.options import ExportOptions
from darse.image_spec.digests import chain_above
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_LAYER
from darse.images.gc.collector import Lease
from darse.images.model import Layer

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor


class LayerExport:
    """Exports the layers of one tree; what it names is held by a lease."""

    def __init__(self, executor: EngineExecutor, lease: Lease, options: ExportOptions) -> None:
        self._executor = executor
        self._images = executor.images
        self._snapshotter = executor.snapshotter
        self._lease = lease
        self._options = options

    async def export(self, stack: Sequence[str], base: Sequence[str]) -> list[Layer]:
        """The layers of a stack, lowest first. base: the diff IDs of its lowest ones, which are an image's.

        Raises InvalidParameter for a tree that no layer can hold, and SystemFault.
        """
        made: list[Layer] = []
        for layer, diff_id in zip(stack, base, strict=False):
            one = await self._layer(layer, made)
            if one.diff_id != diff_id:
                break
            made.append(msgspec.structs.replace(one, blob=self._blob_of_images(one)))
        based = len(made)
        own = stack[based:]
        squashed = ""
        try:
            if self._options.squash and own:
                squashed = await self._squashed(stack, based)
                own = [squashed]
            for layer in own:
                made.append(await self._own(layer, made))
        finally:
            if squashed:
                await self._snapshotter.remove([squashed])
        if self._options.compression is None:
            return made
        forced = self._options.force_compression
        return [await self._compressed(one) if forced or number >= based else one for number, one in enumerate(made)]

    async def _own(self, layer: str, below: Sequence[Layer]) -> Layer:
        """One of the build's own layers; where times are rewritten it is another one."""
        newest = self._options.epoch if self._options.rewrite_timestamps else None
        if newest is None:
            return await self._layer(layer, below)
        parent = below[-1].chain_id if below else None
        path = self._snapshotter.path(self._snapshotter.current(layer))
        made = await self._images.commit_layer(path, parent, newest=newest)
        self._lease.hold(made.chain_id)
        return made

    async def _layer(self, layer: str, below: Sequence[Layer]) -> Layer:
        """A layer of a tree as one of the image store, above another one."""
        # Another build may export the same layer.
        async with self._executor.exporting.hold(layer):
            return await self._held_layer(self._snapshotter.current(layer), below[-1].chain_id if below else None)

    async def _held_layer(self, layer: str, parent: str | None) -> Layer:
        images = self._images
        of_image = layer.startswith("sha256:")
        diff_id = images.layer_diff_id(layer) if of_image else self._snapshotter.diff_id(layer)
        if diff_id:
            chain_id = chain_above(parent, diff_id)
            self._lease.hold(chain_id)
            if of_image and chain_id != layer and not images.has_layer(chain_id):
                source = PipeSource(images.layer_archive_size(layer))
                await source.fed_by(images.layer_archive(layer), images.ensure_layer(chain_id, diff_id, source))
            if images.has_layer(chain_id):
                return Layer(Descriptor(OCI_LAYER, diff_id, images.layer_archive_size(chain_id)), diff_id, chain_id)
        exported = await self._snapshotter.export(layer, parent)
        self._lease.hold(exported.chain_id)
        return exported

    def _blob_of_images(self, layer: Layer) -> Descriptor:
        """The blob that a base image's layer came as: the same one whatever else is here."""
        known = {
            one.blob.digest: one.blob
            for image in self._images.all_images()
            for one in image.layers
            if one.diff_id == layer.diff_id and one.blob.digest != layer.diff_id
        }
        return known[min(known)] if known else layer.blob

    async def _squashed(self, stack: Sequence[str], based: int) -> str:
        """A snapshot of one layer: the difference that a stack makes to its lowest layers."""
        active = self._snapshotter.prepare(())
        try:
            await self._executor.trees.change(active, (stack[:based], stack), write_difference)
            return (await self._snapshotter.commit(active)).id
        finally:
            await self._snapshotter.discard(active)

    async def _compressed(self, layer: Layer) -> Layer:
        """A layer whose blob is its archive in the form that is asked for, and is kept."""
        compression = self._options.compression
        assert compression is not None
        blob = await self._images.keep_compressed_layer(layer.chain_id, compression)
        return msgspec.structs.replace(layer, blob=blob)
