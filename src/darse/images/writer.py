"""Recording images: the documents of one image, checked against each other, and its rows in the database.

documents = ImageDocuments.of_target(…)
async with content.stored(documents.contents):      # durable before the rows that name them
    with images.changing():
        image, target = writer.record(documents, names=[…])
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from darse.core.errors import InvalidParameter
from darse.image_spec.digests import chain_ids, digest_of
from darse.image_spec.manifests import Descriptor, Manifest, encode_manifest
from darse.image_spec.media_types import OCI_CONFIG, OCI_MANIFEST
from darse.images.content.manifests import decode, target_with
from darse.images.layers.store import LayerStore
from darse.images.model import Image, Layer, Target, parse_config
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


class ImageWriter:
    """Records images whose layers are in the layer store, and whose documents are in the content store."""

    def __init__(self, images: ImageStore, layers: LayerStore) -> None:
        self._images = images
        self._layers = layers

    def record(
        self, documents: ImageDocuments, *, names: Iterable[Reference] = (), parent: str = ""
    ) -> tuple[Image, Target]:
        """Record an image, its target and its names in one transaction; return what the store has now.

        `parent` is the id of the image that it was committed from. Raises InvalidParameter when a layer is missing.
        """
        image = self._image(documents, parent)
        with self._images.changing():
            recorded = self._images.add(image)
            target = self._images.put(documents.target)
            for name in names:
                self._images.tag(name, target, anew=False)
        return recorded, target

    def _image(self, documents: ImageDocuments, parent: str) -> Image:
        parsed = parse_config(documents.config)
        diff_ids: Sequence[str] = parsed.rootfs.diff_ids
        if len(diff_ids) != len(documents.layers):
            raise InvalidParameter(
                f"invalid image: {len(documents.layers)} layers, and the config lists {len(diff_ids)}"
            )
        chain = chain_ids(diff_ids)
        for chain_id, diff_id in zip(chain, diff_ids, strict=True):
            if not self._layers.exists(chain_id):
                raise InvalidParameter(f"invalid image: layer {diff_id} is missing")
        return Image(
            id=digest_of(documents.config),
            parent=parent,
            manifest=documents.manifest,
            config_size=len(documents.config),
            config=parsed,
            layers=tuple(map(Layer, documents.layers, diff_ids, chain)),
            size=sum(self._layers.size(chain_id) for chain_id in chain),
            stored_ns=time.time_ns(),
        )
