"""An image of a build's tree and of the configuration that the front end has made.

The layers of the tree become layers of the image store, in their order: those of base images are there already, and
each of the build's own gets its archive's digest now, and once. The history has one line with a layer for each layer,
as the image specification wants it (config.md).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from darse.build.dockerfile.convert.image import HistoryLine, ImageDocument, timestamp
from darse.build.errors import BuildError
from darse.build.solver.executor import Snapshot
from darse.core.errors import InvalidParameter
from darse.core.times import rfc3339
from darse.image_spec.digests import chain_above
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_LAYER
from darse.images import ImageService, references
from darse.images.gc.collector import Lease
from darse.images.layers.pipe_source import PipeSource
from darse.images.model import Layer
from darse.images.references import Reference

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor


async def export_image(
    executor: EngineExecutor,
    snapshot: Snapshot | None,
    image: ImageDocument,
    *,
    names: Sequence[str] = (),
    epoch: int | None = None,
) -> str:
    """Record an image of a tree (None: an empty one) under these names; return its id.

    epoch: seconds, the time of the image and of the lines of its history that have none; None is now. Raises
    BuildError for names that are none, InvalidParameter for a tree that no layer can hold, and SystemFault.
    """
    tags = [_tag(name) for name in names]
    images = executor.images
    stack = executor.layers_of(snapshot) if snapshot is not None else ()
    async with images.lease() as lease:
        layers: list[Layer] = []
        for layer in stack:
            parent = layers[-1].chain_id if layers else None
            # Another build may export the same layer.
            async with executor.exporting.hold(layer):
                layers.append(await _layer(executor, executor.snapshotter.current(layer), parent, lease))
        document = _document(image, layers, epoch)
        blobs = [layer.blob for layer in layers]
        async with images.create_image(msgspec.json.encode(document), blobs, names=tags) as made:
            return made.id


def _tag(name: str) -> Reference:
    try:
        return references.parse_tag(name)
    except InvalidParameter as error:
        raise BuildError(f"invalid tag {name!r}: {error}") from error


async def _layer(executor: EngineExecutor, layer: str, parent: str | None, lease: Lease) -> Layer:
    """A layer of a tree as one of the image store, above another one."""
    images, snapshotter = executor.images, executor.snapshotter
    layers = images.stores.layers
    of_image = layer.startswith("sha256:")
    diff_id = layers.diff_id(layer) if of_image else snapshotter.diff_id(layer)
    if diff_id:
        chain_id = chain_above(parent, diff_id)
        lease.hold(chain_id)
        if not layers.exists(chain_id) and of_image:
            source = PipeSource(layers.archive_size(layer))
            await source.fed_by(layers.archive(layer), layers.ensure(chain_id, diff_id, source))
        if layers.exists(chain_id):
            return Layer(_blob(images, diff_id, chain_id), diff_id, chain_id)
    exported = await snapshotter.export(layer, parent)
    lease.hold(exported.chain_id)
    return exported


def _blob(images: ImageService, diff_id: str, chain_id: str) -> Descriptor:
    """The blob that a layer is known as: of an image that has it, or its uncompressed archive."""
    for image in images.stores.images:
        for layer in image.layers:
            if layer.diff_id == diff_id:
                return layer.blob
    return Descriptor(OCI_LAYER, diff_id, images.stores.layers.archive_size(chain_id))


def _document(image: ImageDocument, layers: Sequence[Layer], epoch: int | None) -> dict[str, Any]:
    created = rfc3339(time.time_ns()) if epoch is None else timestamp(epoch)
    document = image.document()
    history = [
        msgspec.structs.replace(line, created=line.created or created) for line in _matching(image.history, len(layers))
    ]
    return {
        "created": created,
        **document,
        "history": [line.document() for line in history],
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }


def _matching(history: Sequence[HistoryLine], layers: int) -> list[HistoryLine]:
    """The history with as many lines with a layer as there are layers: other front ends' may not match."""
    matched = []
    for line in history:
        if not line.empty_layer and not layers:
            matched.append(msgspec.structs.replace(line, empty_layer=True))
            continue
        layers -= not line.empty_layer
        matched.append(line)
    return [*matched, *(HistoryLine("created by darse", empty_layer=False) for _ in range(layers))]
