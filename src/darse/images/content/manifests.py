"""The documents of images, as far as they are read.

OCI manifests and indexes (image-spec, manifest.md and image-index.md), docker's of the same shape, and the table of
contents of docker's archives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec

from darse.core.errors import InvalidParameter
from darse.images.model import INDEXES, MANIFESTS, Descriptor, Target, Variant, digest_of, without_nulls

T = TypeVar("T")

_NESTING = 4


class ArchiveManifestEntry(msgspec.Struct):
    """An entry of an archive's `manifest.json`."""

    Config: str
    RepoTags: list[str] = []
    Layers: list[str] = []
    # The id of an image in the same archive.
    Parent: str | msgspec.UnsetType = msgspec.UNSET


class Manifest(msgspec.Struct, omit_defaults=True, rename={"media_type": "mediaType", "schema": "schemaVersion"}):
    """An image manifest."""

    schema: int
    config: Descriptor
    layers: list[Descriptor]
    media_type: str = ""


class Index(msgspec.Struct, omit_defaults=True, rename={"media_type": "mediaType", "schema": "schemaVersion"}):
    """An image index, or a manifest list."""

    manifests: list[Descriptor]
    schema: int = 2
    media_type: str = ""


def decode(content: bytes, type_: type[T], what: str = "document") -> T:
    """Read a document from outside; errors call it `what`. Raises InvalidParameter."""
    try:
        return msgspec.convert(without_nulls(msgspec.json.decode(content)), type_)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidParameter(f"invalid {what}: {error}") from error


def encode_manifest(config: Descriptor, layers: list[Descriptor], media_type: str) -> bytes:
    """A manifest's document."""
    return msgspec.json.encode(Manifest(2, config, layers, media_type=media_type))


def target_with(content: bytes, media_type: str, manifests: Mapping[str, bytes], image_id: str) -> tuple[Target, str]:
    """Read a target's document, and find the manifest in it, or below it, whose config is `image_id`.

    `manifests` are the documents that came with an index, by digest. Returns the target with that image, and the
    manifest's digest. Raises InvalidParameter.
    """
    descriptor = Descriptor(media_type, digest_of(content), len(content))
    if media_type in MANIFESTS:
        if decode(content, Manifest).config.digest != image_id:
            raise InvalidParameter(f"manifest {descriptor.digest} is not of the config {image_id}")
        return Target(descriptor, (Variant(descriptor, image_id),)), descriptor.digest
    if media_type not in INDEXES:
        raise InvalidParameter(f"unsupported media type {media_type}")
    suiting = {
        digest
        for digest, document in manifests.items()
        if digest != descriptor.digest and _config_of(document) == image_id
    }
    variants = tuple(
        Variant(one, image_id if one.digest in suiting else "") for one in _flat(content, manifests, _NESTING)
    )
    chosen = [one.manifest.digest for one in variants if one.image_id]
    if not chosen:
        raise InvalidParameter(f"index {descriptor.digest} has no manifest of the config {image_id}")
    return Target(descriptor, variants), chosen[0]


def _flat(content: bytes, documents: Mapping[str, bytes], depth: int) -> Iterator[Descriptor]:
    """Yield the manifests of an index, and of the indexes in it that came with it."""
    for one in decode(content, Index).manifests:
        if one.media_type in INDEXES and one.digest in documents and depth:
            yield from _flat(documents[one.digest], documents, depth - 1)
        else:
            yield one


def _config_of(document: bytes) -> str:
    """The config's digest in a manifest; "" of what is none: an index has other things beside images."""
    try:
        return decode(document, Manifest).config.digest
    except InvalidParameter:
        return ""
