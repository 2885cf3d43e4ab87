"""Manifests and indexes of the content store and of archives (`darse.image_spec`), with the engine's error.

A name refers to a target, which is such a document; `target_with` finds an image in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from darse.core.errors import InvalidParameter
from darse.image_spec import manifests
from darse.image_spec.manifests import Descriptor, Index, InvalidDocument, Manifest
from darse.image_spec.media_types import INDEXES, MANIFESTS
from darse.images.model import Target, Variant

T = TypeVar("T")

_NESTING = 4


def decode(content: bytes, type_: type[T], what: str = "document") -> T:
    """Read a document from outside; errors call it `what`. Raises InvalidParameter."""
    try:
        return manifests.decode(content, type_)
    except InvalidDocument as error:
        raise InvalidParameter(f"invalid {what}: {error}") from error


def target_with(content: bytes, media_type: str, documents: Mapping[str, bytes], image_id: str) -> tuple[Target, str]:
    """Read a target's document, and find the manifest in it, or below it, whose config is `image_id`.

    `documents` are the manifests that came with an index, by digest. Returns the target with that image, and the
    manifest's digest. Raises InvalidParameter.
    """
    descriptor = Descriptor.of(content, media_type)
    if media_type in MANIFESTS:
        if decode(content, Manifest).config.digest != image_id:
            raise InvalidParameter(f"manifest {descriptor.digest} is not of the config {image_id}")
        return Target(descriptor, (Variant(descriptor, image_id),)), descriptor.digest
    if media_type not in INDEXES:
        raise InvalidParameter(f"unsupported media type {media_type}")
    suiting = {
        digest
        for digest, document in documents.items()
        if digest != descriptor.digest and _config_of(document) == image_id
    }
    variants = tuple(
        Variant(one, image_id if one.digest in suiting else "") for one in _flat(content, documents, _NESTING)
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
