"""Writing an image down: documents first, then its rows and names in one transaction."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence

from darse.core.errors import InvalidParameter
from darse.images.content.manifests import Manifest, decode, encode_manifest, target_with
from darse.images.content.store import ContentStore
from darse.images.layers.store import LayerStore
from darse.images.model import (
    CONFIG,
    MANIFEST,
    Descriptor,
    Image,
    Layer,
    Target,
    chain_ids,
    digest_of,
    parse_config,
)
from darse.images.references import Reference
from darse.images.store import ImageStore


class ImageWriter:
    """Records images whose layers are in the layer store."""

    def __init__(self, store: ImageStore, content: ContentStore, layers: LayerStore) -> None:
        self._store = store
        self._content = content
        self._layers = layers

    def record(
        self,
        target: bytes,
        media_type: str,
        *,
        config: bytes,
        manifests: Mapping[str, bytes] | None = None,
        names: Sequence[Reference] = (),
        parent: str = "",
    ) -> tuple[Image, Target]:
        """Record the image of `config`, part of `target`: its manifest, or an index that came with `manifests`.

        Raises InvalidParameter when the documents do not belong together, or a layer is missing.
        """
        manifests = manifests or {}
        image_id = digest_of(config)
        read, digest = target_with(target, media_type, manifests, image_id)
        document = target if digest == read.digest else manifests[digest]
        manifest = next(one.manifest for one in read.variants if one.manifest.digest == digest)
        image = self._image(config, manifest, decode(document, Manifest).layers, parent)
        unrecorded = [self._content.put_unrecorded(document) for document in (config, *manifests.values(), target)]
        with self._store.changing():
            for path in unrecorded:
                self._store.when_over(functools.partial(self._content.recorded, path))
            self._store.add(image)
            stored = self._store.put(read)
            for name in names:
                self._store.tag(name, stored, anew=False)
        return image, stored

    def record_made(
        self, config: bytes, layers: list[Descriptor], *, names: Sequence[Reference] = (), parent: str = ""
    ) -> tuple[Image, Target]:
        """Record an image that came without a manifest, or was made here: it gets one of its own."""
        described = Descriptor(CONFIG, digest_of(config), len(config))
        document = encode_manifest(described, layers, MANIFEST)
        return self.record(document, MANIFEST, config=config, names=names, parent=parent)

    def _image(self, config: bytes, manifest: Descriptor, blobs: list[Descriptor], parent: str) -> Image:
        parsed = parse_config(config)
        diff_ids = parsed.rootfs.diff_ids
        if len(diff_ids) != len(blobs):
            raise InvalidParameter(f"invalid image: {len(blobs)} layers, and the config lists {len(diff_ids)}")
        chain = chain_ids(diff_ids)
        for chain_id, diff_id in zip(chain, diff_ids, strict=True):
            if not self._layers.exists(chain_id):
                raise InvalidParameter(f"invalid image: layer {diff_id} is missing")
        return Image(
            id=digest_of(config),
            parent=parent,
            manifest=manifest,
            config_size=len(config),
            config=parsed,
            layers=tuple(map(Layer, blobs, diff_ids, chain)),
            size=sum(self._layers.size(chain_id) for chain_id in chain),
            stored_ns=time.time_ns(),
        )
