"""The manifests of an image, as the API has them (`ImageManifestSummary`) and `docker image ls --tree` shows them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from darse.images import model, platforms
from darse.images.content.store import ContentStore
from darse.images.gc.delete_policy import ImageUser
from darse.images.layers.store import LayerStore
from darse.images.model import Target, Variant
from darse.images.platforms import Platform
from darse.images.store import ImageStore
from darse.wire import images as wire
from darse.wire.images import AttestationData, ImageData, ManifestSize, ManifestSummary, UnpackedSize


def descriptor(one: model.Descriptor) -> wire.Descriptor:
    """A descriptor as the API has it."""
    return wire.Descriptor(
        mediaType=one.media_type,
        digest=one.digest,
        size=one.size,
        urls=one.urls,
        annotations=one.annotations,
        platform=_wire_platform(platforms.of_document(one.platform), one.platform),
        artifactType=one.artifact_type,
    )


def manifests(
    target: Target,
    store: ImageStore,
    layers: LayerStore,
    content: ContentStore,
    users_of: Callable[[str], list[ImageUser]],
) -> list[ManifestSummary]:
    """The manifests of a target, in its order."""
    return [_manifest(variant, store, layers, content, users_of) for variant in target.variants]


def _manifest(
    variant: Variant,
    store: ImageStore,
    layers: LayerStore,
    content: ContentStore,
    users_of: Callable[[str], list[ImageUser]],
) -> ManifestSummary:
    image = store.by_id(variant.image_id) if variant.image_id else None
    stored = given = content.size(variant.manifest.digest)
    platform = platforms.of_document(variant.manifest.platform)
    summary = ManifestSummary(
        ID=variant.manifest.digest,
        Descriptor=descriptor(variant.manifest),
        Available=image is not None,
        Size=ManifestSize(stored, stored),
        Kind="unknown",
    )
    if variant.attests:
        summary.Kind = "attestation"
        summary.AttestationData = AttestationData(variant.attests)
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
        containers = [user.container_id for user in users_of(image.id)]
        platform = platform or image.platform
    assert platform is not None
    summary.Kind = "image"
    summary.Size = ManifestSize(given, stored + unpacked)
    summary.ImageData = ImageData(_wire(platform), containers, UnpackedSize(unpacked))
    return summary


def _wire_platform(platform: Platform | None, given: dict[str, object] | None) -> wire.Platform | None:
    """A descriptor's platform; one that cannot be normalized (`unknown`) stays as it came."""
    if platform is not None:
        return _wire(platform)
    return wire.Platform(str(given.get("architecture", "")), str(given.get("os", ""))) if given else None


def _wire(platform: Platform) -> wire.Platform:
    return msgspec.convert(msgspec.to_builtins(platform), wire.Platform)
