"""The stores that images are made of, as the operations of `darse.images` share them. Others use the service."""

from __future__ import annotations

import msgspec

from darse.images.content.store import ContentStore
from darse.images.gc.collector import GarbageCollector
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.remapped import RemappedLayers
from darse.images.layers.store import LayerStore
from darse.images.store import ImageStore
from darse.images.writer import ImageWriter


class ImageStores(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's stores of images, their content and their layers, and what writes and collects in them."""

    images: ImageStore
    content: ContentStore
    layers: LayerStore
    remapped: RemappedLayers
    compressed: CompressedDigests
    writer: ImageWriter
    gc: GarbageCollector
    #: Whether archives of layers that came compressed are kept as they came.
    keep_layer_blobs: bool = False
