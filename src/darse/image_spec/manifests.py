"""Descriptors, manifests and indexes (image-spec: descriptor.md, manifest.md, image-index.md), and docker's schema 2.

There may be thousands of these structs, and none is part of a cycle: Python's garbage collector need not look at them.
The order of the members is that in which they are encoded: a manifest that the engine made can be made again, byte for
byte, so it stays.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from darse.image_spec import media_types
from darse.image_spec.digests import digest_of
from darse.image_spec.platforms import Platform

T = TypeVar("T")


class InvalidDocument(ValueError):
    """Content that is no JSON, or not of the shape that was expected."""


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """What a document says of another, or of a blob; `size` in bytes."""

    media_type: str
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    artifact_type: str = ""

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Descriptor:
        """The descriptor of a document."""
        return cls(media_type, digest_of(content), len(content))

    @property
    def attests(self) -> str:
        """The digest of the manifest that this manifest is an attestation of, or "" (BuildKit's annotations)."""
        annotations = self.annotations or {}
        if annotations.get("vnd.docker.reference.type") != "attestation-manifest":
            return ""
        return annotations.get("vnd.docker.reference.digest", "")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """An image, or an artifact."""

    schema_version: int = 0
    config: Descriptor
    layers: list[Descriptor]
    media_type: str = ""
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None

    @property
    def artifact(self) -> str:
        """The type of what this is if no image: a chart, a signature, an attestation; "" for an image."""
        layers = [layer.media_type for layer in self.layers if not media_types.is_layer(layer.media_type)]
        if self.artifact_type or self.config.media_type not in media_types.CONFIGS:
            return self.artifact_type or self.config.media_type
        return layers[0] if layers else ""


class Index(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """Manifests of several platforms: an index, or docker's manifest list."""

    schema_version: int = 0
    manifests: list[Descriptor]
    media_type: str = ""
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


def decode(content: bytes, type_: type[T], *, strict: bool = True) -> T:
    """Read a document, without its null members: Go's encoders write them for what is absent. Raises InvalidDocument.

    strict: whether members must have their types; otherwise texts of numbers are numbers, too.
    """
    return convert(decode_json(content), type_, strict=strict)


def decode_json(content: bytes) -> Any:
    """Read JSON of any shape, without null members. Raises InvalidDocument."""
    try:
        return _without_nulls(msgspec.json.decode(content))
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InvalidDocument(str(error)) from None


def convert(value: Any, type_: type[T], *, strict: bool = True) -> T:
    """Make a document of what JSON has. Raises InvalidDocument."""
    try:
        return msgspec.convert(value, type_, strict=strict)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidDocument(str(error)) from None


def encode_manifest(
    config: Descriptor,
    layers: list[Descriptor],
    media_type: str = media_types.OCI_MANIFEST,
    *,
    annotations: dict[str, str] | None = None,
) -> bytes:
    """An image's manifest."""
    return msgspec.json.encode(
        Manifest(schema_version=2, config=config, layers=layers, media_type=media_type, annotations=annotations)
    )


def encode_index(
    manifests: list[Descriptor],
    media_type: str = media_types.OCI_INDEX,
    *,
    annotations: dict[str, str] | None = None,
) -> bytes:
    """An index."""
    return msgspec.json.encode(
        Index(schema_version=2, manifests=manifests, media_type=media_type, annotations=annotations)
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(member) for member in value]
    return value
