"""The manifests of an image, as the API has them (`ImageManifestSummary`) and `docker image ls --tree` shows them."""

from __future__ import annotations

import msgspec

from darse.core.object_references import ObjectReferences
from darse.image_spec import platforms
from darse.image_spec.manifests import Descriptor
from darse.images.content.store import ContentStore
from darse.images.layers.store import LayerStore
from darse.images.model import Target, Variant
from darse.images.store import ImageStore
from darse.wire.images import AttestationData, ImageData, ManifestSize, ManifestSummary, UnpackedSize


def descriptor(one: Descriptor) -> Descriptor:
    """A descriptor as the API has it: its platform in normal form; one that has none (`unknown`) stays as it came."""
    return msgspec.structs.replace(one, platform=platforms.of_descriptor(one.platform) or one.platform)


def manifests(
    target: Target,
    store: ImageStore,
    layers: LayerStore,
    content: ContentStore,
    users: ObjectReferences,
) -> list[ManifestSummary]:
    """The manifests of a target, in its order."""
    return [_manifest(variant, store, layers, content, users) for variant in target.variants]


def _manifest(
    variant: Variant,
    store: ImageStore,
    layers: LayerStore,
    content: ContentStore,
    users: ObjectReferences,
) -> ManifestSummary:
    image = store.by_id(variant.image_id) if variant.image_id else None
    stored = given = content.size(variant.manifest.digest)
    platform = platforms.of_descriptor(variant.manifest.platform)
    summary = ManifestSummary(
        ID=variant.manifest.digest,
        Descriptor=descriptor(variant.manifest),
        Available=image is not None,
        Size=ManifestSize(stored, stored),
        Kind="unknown",
    )
    if variant.manifest.attests:
        summary.Kind = "attestation"
        summary.AttestationData = AttestationData(variant.manifest.attests)
        summary.Available = stored > 0
        return summary
    if image is None and platform is None:
        return summary
    unpacked, containers = 0, []
    if image is not None:
        stored += image.config_size + sum(content.size(layer.blob.digest) for layer in image.layers)
        # Archives can be reassembled from the unpacked layers: they count as content, though they are on no disk.
        given += image.config_size + sum(layer.blob.size for layer in image.layers)
        unpacked = sum(layers.size(chain) for chain in image.chain_ids)
        containers = [user.container_id for user in users.image_users(image.id)]
        platform = platform or image.platform
    assert platform is not None
    summary.Kind = "image"
    summary.Size = ManifestSize(given, stored + unpacked)
    summary.ImageData = ImageData(platform, containers, UnpackedSize(unpacked))
    return summary
