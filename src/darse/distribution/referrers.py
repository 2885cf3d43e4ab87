"""What refers to a manifest: signatures, attestations, bills of materials (OCI distribution specification 1.1).

A manifest names its `subject`. Registries that know of it list the manifests by subject and say so with the header
OCI-Subject when one is pushed; for others the clients themselves keep an index of them, under a tag made of the
subject's digest.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec

from darse.distribution import manifests
from darse.distribution.errors import InvalidContent, NotInRegistry, RegistryError
from darse.distribution.manifests import MANIFEST_LIMIT, Document
from darse.distribution.repository import Repository
from darse.image_spec.manifests import Descriptor, Index, Manifest
from darse.image_spec.media_types import OCI_INDEX


def fallback_tag(digest: str) -> str:
    """The tag of the index that clients keep: a digest with what tags cannot have replaced, 128 characters at most."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def subject_of(document: Document) -> Descriptor | None:
    """What a manifest or index refers to."""
    if b'"subject"' not in document.content:
        return None
    try:
        return manifests.parse(document).subject
    except RegistryError:
        return None  # the registry takes what this client cannot read, or refuses it


def referrers(repository: Repository, digest: str, artifact_type: str = "") -> list[Descriptor]:
    """What refers to a manifest, or only what is of a type. Raises RegistryError."""
    query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
    try:
        path = f"{repository.root}/referrers/{digest}{query}"
        with repository.session.request("GET", path, scopes=repository.pulling) as response:
            content = response.read(MANIFEST_LIMIT)
        document = Document.of(content, OCI_INDEX)
    except NotInRegistry:
        try:
            document = _kept_by_clients(repository, digest)
        except NotInRegistry:
            return []
    index = manifests.parse(document)
    if not isinstance(index, Index):
        raise InvalidContent(f"the registry's list of what refers to {digest} is no index")
    # A registry need not filter, and the clients' index is never filtered.
    return [one for one in index.manifests if artifact_type in ("", one.artifact_type)]


def _kept_by_clients(repository: Repository, digest: str) -> Document:
    """The index of what refers to `digest`, as clients keep it. Raises NotInRegistry, and RegistryError."""
    document = repository.manifest(fallback_tag(digest))
    if not isinstance(manifests.parse(document), Index):
        raise InvalidContent(f"the registry's list of what refers to {digest} is no index")
    return document


def with_referrer(repository: Repository, subject: Descriptor, document: Document) -> Document | None:
    """That index with another manifest, or None when it is in there already. Raises RegistryError."""
    try:
        raw: dict[str, Any] = msgspec.json.decode(_kept_by_clients(repository, subject.digest).content)
    except NotInRegistry:
        raw = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    if any(one["digest"] == document.digest for one in raw["manifests"]):
        return None
    raw["manifests"].append(msgspec.to_builtins(_described(document)))
    content = msgspec.json.encode(raw)
    return Document.of(content, OCI_INDEX)


def _described(document: Document) -> Descriptor:
    """A referring manifest as lists have it: with what it is, and its annotations."""
    parsed = manifests.parse(document)
    kind = parsed.artifact_type or (parsed.config.media_type if isinstance(parsed, Manifest) else "")
    return msgspec.structs.replace(document.descriptor, artifact_type=kind, annotations=parsed.annotations)
