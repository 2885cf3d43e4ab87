"""Attestations as BuildKit lays them out: in-toto statements about an image, beside its manifests in an index.

descriptor   in the index; platform unknown/unknown; annotations: which manifest it is about
config       an image configuration without a platform, whose diff IDs are the statements
layers       in-toto statements, each with its predicate's type as an annotation
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from darse.core.errors import InvalidParameter
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor, Manifest, encode_manifest
from darse.image_spec.media_types import OCI_CONFIG, OCI_MANIFEST
from darse.image_spec.platforms import Platform
from darse.images.content.manifests import decode
from darse.images.content.store import ContentStore
from darse.images.model import Target

IN_TOTO = "application/vnd.in-toto+json"
PREDICATE_TYPE = "in-toto.io/predicate-type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
REFERENCE_TYPE = "vnd.docker.reference.type"
_UNKNOWN = Platform("unknown", "unknown")


class Attestation(msgspec.Struct, frozen=True):
    """The documents of an attestation; `descriptor` is its entry in the index."""

    descriptor: Descriptor
    contents: tuple[bytes, ...]


def attestation_manifest(subject: str, statements: Sequence[tuple[bytes, str]]) -> Attestation:
    """The attestation manifest of statements, each with the type of its predicate, about the manifest `subject`."""
    layers = [
        msgspec.structs.replace(Descriptor.of(text, IN_TOTO), annotations={PREDICATE_TYPE: predicate})
        for text, predicate in statements
    ]
    diff_ids = [digest_of(text) for text, _ in statements]
    config = msgspec.json.encode(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    )
    document = encode_manifest(Descriptor.of(config, OCI_CONFIG), layers)
    descriptor = msgspec.structs.replace(
        Descriptor.of(document, OCI_MANIFEST),
        platform=_UNKNOWN,
        annotations={REFERENCE_DIGEST: subject, REFERENCE_TYPE: "attestation-manifest"},
    )
    return Attestation(descriptor, (document, config, *(text for text, _ in statements)))


def moved(content: ContentStore, attestation: Descriptor, subject: str) -> Attestation | None:
    """An attestation about another manifest than so far: the same image, whose layers are compressed otherwise.

    None where not all of it is here. Blocks.
    """
    former = attestation.attests
    if not content.has(attestation.digest):
        return None
    document = content.read(attestation.digest)
    manifest = decode(document, Manifest)
    if not all(content.has(one.digest) for one in (manifest.config, *manifest.layers)):
        return None
    texts = [content.read(one.digest) for one in manifest.layers]
    if subject == former:
        return Attestation(attestation, (document, content.read(manifest.config.digest), *texts))
    statements = [
        (_about(text, former, subject), (one.annotations or {}).get(PREDICATE_TYPE, ""))
        for text, one in zip(texts, manifest.layers, strict=True)
    ]
    return attestation_manifest(subject, statements)


def _about(text: bytes, former: str, subject: str) -> bytes:
    """A statement with another digest of its subject. Raises InvalidParameter."""
    old, new = former.removeprefix("sha256:"), subject.removeprefix("sha256:")
    try:
        statement = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidParameter(f"invalid attestation statement: {error}") from None
    for one in statement.get("subject") or ():
        if isinstance(one, dict) and isinstance(one.get("digest"), dict) and one["digest"].get("sha256") == old:
            one["digest"]["sha256"] = new
    return msgspec.json.encode(statement)


class AttestationParts:
    """What attestations are made of beside their manifests: read once, for documents never change."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        # By the digests of the manifests; nothing for those that are not here.
        self._parts: dict[str, tuple[str, ...]] = {}

    def read(self, targets: Iterable[Target]) -> None:
        """Read those of all targets, whose parts are known then. Blocks."""
        manifests = {digest for target in targets for digest in _manifests(target)}
        self._parts = {digest: self._parts.get(digest) or self._read(digest) for digest in manifests}

    def known_of(self, target: Target) -> Iterator[str]:
        """Yield the digests of a target's parts, as they were at the last `read`."""
        for digest in _manifests(target):
            yield from self._parts.get(digest, ())

    def of(self, target: Target) -> Iterator[str]:
        """Yield the digests of a target's parts, and read what is not known. Blocks for that."""
        for digest in _manifests(target):
            yield from self._parts.get(digest) or self._read(digest)

    def _read(self, digest: str) -> tuple[str, ...]:
        if not self._content.has(digest):
            return ()
        try:
            manifest = decode(self._content.read(digest), Manifest)
        except InvalidParameter:  # of a foreign one
            return ()
        return (manifest.config.digest, *(layer.digest for layer in manifest.layers))


def _manifests(target: Target) -> Iterator[str]:
    """The digests of the attestation manifests of a target, here or not."""
    for variant in target.variants:
        if variant.manifest.attests and not variant.image_id:
            yield variant.manifest.digest
