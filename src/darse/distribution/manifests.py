"""Manifests and indexes: the OCI image specification's and docker's schema 2, read as what a stranger wrote.

A document is one thing only: what has the members of a manifest and of an index at once would be one to us and the
other to somebody else (CVE-2021-41190). A descriptor has a sha256 digest and a size that is not negative, and no
document lists more than `_ENTRIES` of them. Schema 1 and artifacts are told apart here, by name.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, TypeVar

import msgspec

from darse.distribution.errors import UnsupportedContent, Untrustworthy
from darse.distribution.references import is_digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_INDEX)
# The last ones only to be told what the registry has, rather than that it has nothing.
ACCEPTED = (*MANIFESTS, *INDEXES, f"{SCHEMA_1}+prettyjws;q=0.1", f"{SCHEMA_1}+json;q=0.1")

MANIFEST_LIMIT = 4 * 1024 * 1024
CONFIG_LIMIT = 8 * 1024 * 1024
_ENTRIES = 2000
_LAYER_TYPES = re.compile(
    r"application/vnd\.(?:oci\.image\.layer(?:\.nondistributable)?\.v1\.tar(?:\+gzip|\+zstd)?"
    r"|docker\.image\.rootfs(?:\.foreign)?\.diff\.tar(?:\.gzip|\.zstd)?)\Z"
)

T = TypeVar("T")


class Platform(msgspec.Struct, omit_defaults=True, frozen=True):
    """What an image runs on."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = msgspec.field(name="os.version", default="")
    os_features: list[str] = msgspec.field(name="os.features", default=[])


class Descriptor(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True, rename="camel"):
    """What a document says of another; `size` in bytes."""

    media_type: str
    digest: str
    size: int
    urls: list[str] = []
    annotations: dict[str, str] = {}
    platform: Platform | None = None
    artifact_type: str = ""


class Manifest(msgspec.Struct, omit_defaults=True, kw_only=True, rename="camel"):
    """An image's manifest."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class Index(msgspec.Struct, omit_defaults=True, kw_only=True, rename="camel"):
    """An index, or docker's manifest list."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    manifests: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}


class Document(msgspec.Struct, frozen=True):
    """A document as the registry sent it, its digest computed from it."""

    content: bytes
    media_type: str
    digest: str

    @property
    def descriptor(self) -> Descriptor:
        """How other documents would name it."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.content))


def digest_of(content: bytes) -> str:
    """The sha256 digest of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse(document: Document) -> Manifest | Index:
    """Read a manifest or an index.

    Raises UnsupportedContent for schema 1 and artifacts' own documents, Untrustworthy for what is neither or both.
    """
    raw = _decode(document)
    declared = raw.get("mediaType") or document.media_type
    if raw.get("schemaVersion") == 1 or declared.startswith(SCHEMA_1):
        raise UnsupportedContent(
            "the image is in the format of schema 1, which registries and engines have given up: "
            "its author has to push it again with a client of this decade"
        )
    if raw.get("schemaVersion") != 2:
        raise Untrustworthy(f"manifest {document.digest} is of no known schema: {raw.get('schemaVersion')!r:.40}")
    if document.media_type in (*MANIFESTS, *INDEXES) and declared != document.media_type:
        raise Untrustworthy(
            f"manifest {document.digest} calls itself {declared!r:.100}, and came as {document.media_type!r}"
        )
    is_manifest, is_index = "config" in raw or "layers" in raw, "manifests" in raw
    if is_manifest and is_index:
        raise Untrustworthy(f"manifest {document.digest} is a manifest and an index at once")
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
    kind = manifest.artifact_type or manifest.config.media_type
    layers = [layer.media_type for layer in manifest.layers if _LAYER_TYPES.match(layer.media_type) is None]
    if manifest.artifact_type or manifest.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG) or layers:
        shown = layers[0] if layers and kind in (OCI_CONFIG, DOCKER_CONFIG) else kind
        raise UnsupportedContent(f"it is an artifact of type {shown!r:.100}, and no image that could be run")


def _decode(document: Document) -> dict[str, Any]:
    try:
        raw = msgspec.json.decode(document.content)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Untrustworthy(f"manifest {document.digest} is no JSON document: {error}") from None
    if not isinstance(raw, dict):
        raise Untrustworthy(f"manifest {document.digest} is no JSON object")
    if not isinstance(raw.get("mediaType", ""), str):
        raise Untrustworthy(f"manifest {document.digest} has no media type")
    return {key: value for key, value in raw.items() if value is not None}


def _convert(document: Document, raw: dict[str, Any], type_: type[T]) -> T:
    try:
        return msgspec.convert(_without_nulls(raw), type_)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Untrustworthy(f"manifest {document.digest} is malformed: {error}") from None


def _without_nulls(value: Any) -> Any:
    """Go's encoders write null for what is absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(member) for member in value]
    return value


def _check(document: Document, descriptors: list[Descriptor]) -> None:
    if len(descriptors) > _ENTRIES:
        raise Untrustworthy(f"manifest {document.digest} lists more than {_ENTRIES} things")
    for one in descriptors:
        if not is_digest(one.digest):
            raise Untrustworthy(f"manifest {document.digest} has an unsupported digest: {one.digest!r:.100}")
        if not 0 <= one.size < 1 << 62:
            raise Untrustworthy(f"manifest {document.digest} gives {one.digest} an impossible size: {one.size}")
