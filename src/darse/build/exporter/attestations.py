"""Attestations of what is built: in-toto statements about an image's manifest.

`darse.images.content.attestations` lays them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from darse.image_spec.manifests import Descriptor
from darse.images import references
from darse.images.content.attestations import Attestation, attestation_manifest

_STATEMENT = "https://in-toto.io/Statement/v0.1"


def attestation_of(
    manifest: Descriptor, predicate_type: str, predicate: Mapping[str, object], names: Sequence[str]
) -> Attestation:
    """The attestation of one predicate about an image with these names."""
    platform = str(manifest.platform) if manifest.platform is not None else ""
    digest = {"sha256": manifest.digest.removeprefix("sha256:")}
    subjects = [{"name": _package_url(name, platform), "digest": digest} for name in names] or [
        {"name": "_", "digest": digest}
    ]
    statement = msgspec.json.encode(
        {"_type": _STATEMENT, "predicateType": predicate_type, "subject": subjects, "predicate": predicate}
    )
    return attestation_manifest(manifest.digest, [(statement, predicate_type)])


def _package_url(name: str, platform: str) -> str:
    """`pkg:docker/NAME@TAG?platform=…` (package-url specification)."""
    reference = references.parse(name)
    query = f"?platform={quote(platform, safe='')}" if platform else ""
    return f"pkg:docker/{quote(reference.familiar_name, safe='/')}@{quote(reference.tag, safe='')}{query}"
