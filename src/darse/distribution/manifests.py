"""Manifests and indexes (`darse.image_spec`) as a registry sends them: untrusted input.

A document is one thing only: what has the members of a manifest and of an index at once would be one to us and the
other to somebody else (CVE-2021-41190). A descriptor has a sha256 digest and a size that is not negative, and no
document lists more than `_ENTRIES` of them. Schema 1 and artifacts are recognised here, by name.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from darse.distribution.errors import InvalidContent, UnsupportedContent
from darse.image_spec.digests import digest_of, is_digest
from darse.image_spec.manifests import Descriptor, Index, InvalidDocument, Manifest, convert, decode_json
from darse.image_spec.media_types import INDEXES, MANIFESTS, SCHEMA_1

# The last ones only to be told what the registry has, rather than that it has nothing.
ACCEPTED = (*MANIFESTS, *INDEXES, f"{SCHEMA_1}+prettyjws;q=0.1", f"{SCHEMA_1}+json;q=0.1")

MANIFEST_LIMIT = 4 * 1024 * 1024
CONFIG_LIMIT = 8 * 1024 * 1024
_ENTRIES = 2000

T = TypeVar("T")


class Document(msgspec.Struct, frozen=True):
    """A document as the registry sent it, its digest computed from it."""

    content: bytes
    media_type: str
    digest: str

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Document:
        """A document of some bytes."""
        return cls(content, media_type, digest_of(content))

    @property
    def descriptor(self) -> Descriptor:
        """How other documents would name it."""
        return Descriptor(self.media_type, self.digest, len(self.content))


def parse(document: Document) -> Manifest | Index:
    """Read a manifest or an index.

    Raises UnsupportedContent for schema 1 and artifacts' own documents, InvalidContent for what is neither or both.
    """
    raw = _decode(document)
    declared = raw.get("mediaType") or document.media_type
    if raw.get("schemaVersion") == 1 or declared.startswith(SCHEMA_1):
        raise UnsupportedContent(
            "the image is in the format of schema 1, which registries and engines have given up: "
            "its author has to push it again with a client of this decade"
        )
    if raw.get("schemaVersion") != 2:
        raise InvalidContent(f"manifest {document.digest} is of no known schema: {raw.get('schemaVersion')!r:.40}")
    if document.media_type in (*MANIFESTS, *INDEXES) and declared != document.media_type:
        raise InvalidContent(
            f"manifest {document.digest} calls itself {declared!r:.100}, and came as {document.media_type!r}"
        )
    is_manifest, is_index = "config" in raw or "layers" in raw, "manifests" in raw
    if is_manifest and is_index:
        raise InvalidContent(f"manifest {document.digest} is a manifest and an index at once")
    if declared in INDEXES or (is_index and declared not in MANIFESTS):
        index = _convert(document, raw, Index)
        _check(document, index.manifests)
        return index
    if declared in MANIFESTS or is_manifest:
        manifest = _convert(document, raw, Manifest)
        _check(document, [manifest.config, *manifest.layers])
        return manifest
    raise UnsupportedContent(f"the registry has a document of type {declared!r:.100} there, which is no image")


def check_is_image(manifest: Manifest) -> None:
    """Raise UnsupportedContent when the manifest is an artifact's: a chart, a signature, an attestation."""
    if manifest.artifact:
        raise UnsupportedContent(
            f"it is an artifact of type {manifest.artifact!r:.100}, and no image that could be run"
        )


def _decode(document: Document) -> dict[str, Any]:
    try:
        raw = decode_json(document.content)
    except InvalidDocument as error:
        raise InvalidContent(f"manifest {document.digest} is no JSON document: {error}") from None
    if not isinstance(raw, dict):
        raise InvalidContent(f"manifest {document.digest} is no JSON object")
    if not isinstance(raw.get("mediaType", ""), str):
        raise InvalidContent(f"manifest {document.digest} has no media type")
    return raw


def _convert(document: Document, raw: dict[str, Any], type_: type[T]) -> T:
    try:
        return convert(raw, type_)
    except InvalidDocument as error:
        raise InvalidContent(f"manifest {document.digest} is malformed: {error}") from None


def _check(document: Document, descriptors: list[Descriptor]) -> None:
    if len(descriptors) > _ENTRIES:
        raise InvalidContent(f"manifest {document.digest} lists more than {_ENTRIES} things")
    for one in descriptors:
        if not is_digest(one.digest):
            raise InvalidContent(f"manifest {document.digest} has an unsupported digest: {one.digest!r:.100}")
        if not 0 <= one.size < 1 << 62:
            raise InvalidContent(f"manifest {document.digest} gives {one.digest} an impossible size: {one.size}")
