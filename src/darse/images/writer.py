"""Recording images: the documents of one image, checked against each other, and its rows in the database.

prepared = await writer.prepare(ImageDocuments.of_target(…))
async with content.stored(prepared.documents.contents):      # durable before the rows that name them
    with images.changing():
        image, target = writer.record(prepared, names=[…])

A config may have a history of a hundred thousand lines: it is read, and its row is written, in threads.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.image_spec.digests import chain_ids, digest_of
from darse.image_spec.manifests import Descriptor, Manifest, encode_manifest
from darse.image_spec.media_types import OCI_CONFIG, OCI_MANIFEST
from darse.images.content.manifests import decode, target_with
from darse.images.layers.store import LayerStore
from darse.images.model import IMAGE_DOCUMENTS, Image, ImageConfig, Layer, Target, parse_config
from darse.images.references import Reference
from darse.images.store import ImageStore


class ImageDocuments(msgspec.Struct, frozen=True):
    """The documents of an image: `target` with the image in it, and the image's manifest, layers and config."""

    target: Target
    manifest: Descriptor
    layers: list[Descriptor]
    config: bytes
    contents: tuple[bytes, ...]

    @classmethod
    def of_target(
        cls, target: bytes, media_type: str, *, config: bytes, manifests: Mapping[str, bytes] | None = None
    ) -> ImageDocuments:
        """The image of `config` in a target: its manifest, or an index that came with `manifests`, by digest.

        Raises InvalidParameter when the documents do not belong together.
        """
        manifests = manifests or {}
        read, digest = target_with(target, media_type, manifests, digest_of(config))
        document = target if digest == read.digest else manifests[digest]
        manifest = next(one.manifest for one in read.variants if one.manifest.digest == digest)
        layers = decode(document, Manifest).layers
        return cls(read, manifest, layers, config, (config, *manifests.values(), target))

    @classmethod
    def of_layers(cls, config: bytes, layers: list[Descriptor]) -> ImageDocuments:
        """An image that came without a manifest, or is made here: it gets a manifest of its own."""
        described = Descriptor(OCI_CONFIG, digest_of(config), len(config))
        return cls.of_target(encode_manifest(described, layers, OCI_MANIFEST), OCI_MANIFEST, config=config)


class PreparedImage(msgspec.Struct, frozen=True):
    """An image that can be recorded: with its documents, and the document of its row."""

    image: Image
    documents: ImageDocuments
    row: bytes


class ImageWriter:
    """Records images whose layers are in the layer store, and whose documents are in the content store."""

    def __init__(self, images: ImageStore, layers: LayerStore) -> None:
        self._images = images
        self._layers = layers

    async def prepare(self, documents: ImageDocuments, *, parent: str = "") -> PreparedImage:
        """Make the image of documents, whose layers a lease holds.

        `parent` is the id of the image that it was committed from. Raises InvalidParameter when a layer is missing.
        """
        parsed = await executors.storage.run(parse_config, documents.config)
        image = self._image(documents, parsed, parent)
        return PreparedImage(image, documents, await executors.storage.run(IMAGE_DOCUMENTS.encode, image))

    def record(self, prepared: PreparedImage, *, names: Iterable[Reference] = ()) -> tuple[Image, Target]:
        """Record an image, its target and its names in one transaction; return what the store has now.

        Raises InvalidParameter when a layer has gone missing.
        """
        self._require_layers(prepared.image.layers)
        with self._images.changing():
            recorded = self._images.add(prepared.image, prepared.row)
            target = self._images.put(prepared.documents.target)
            for name in names:
                self._images.tag(name, target, anew=False)
        return recorded, target

    def _image(self, documents: ImageDocuments, parsed: ImageConfig, parent: str) -> Image:
        diff_ids: Sequence[str] = parsed.rootfs.diff_ids
        if len(diff_ids) != len(documents.layers):
            raise InvalidParameter(
                f"invalid image: {len(documents.layers)} layers, and the config lists {len(diff_ids)}"
            )
        layers = tuple(map(Layer, documents.layers, diff_ids, chain_ids(diff_ids)))
        self._require_layers(layers)
        return Image(
            id=digest_of(documents.config),
            parent=parent,
            manifest=documents.manifest,
            config_size=len(documents.config),
            config=parsed,
            layers=layers,
            size=sum(self._layers.size(layer.chain_id) for layer in layers),
            stored_ns=time.time_ns(),
        )

    def _require_layers(self, layers: Iterable[Layer]) -> None:
        for layer in layers:
            if not self._layers.exists(layer.chain_id):
                raise InvalidParameter(f"invalid image: layer {layer.diff_id} is missing")
