"""Attestations of images, as the API shows them; `darse.images.content.attestations` says what they are made of.

Loading an archive keeps the manifests, but not the statements; those of a build stay with its image.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from darse.core.errors import NotFound, SystemFault
from darse.image_spec import platforms
from darse.image_spec.manifests import Descriptor, Manifest
from darse.image_spec.platforms import Platform
from darse.images import manifest_views
from darse.images.content.attestations import PREDICATE_TYPE
from darse.images.content.manifests import decode
from darse.images.content.store import ContentStore
from darse.images.store import ImageStore
from darse.wire.images import AttestationStatement


def of_image(
    store: ImageStore,
    content: ContentStore,
    reference: str,
    platform: Platform | None = None,
    *,
    types: Collection[str] = (),
    statements: bool = False,
) -> list[AttestationStatement]:
    """Return the statements about an image for `platform`, or for this machine; with `types`, only of these predicates.

    With `statements` they have their text. Raises NotFound: no such image, none for the platform, or the attestation
    did not come with the image; SystemFault for a statement that is no JSON.
    """
    target = store.find(reference).target
    if not target.is_index:
        return []
    image = store.find(reference, platform or platforms.host()).image
    digests = {one.manifest.digest for one in target.variants if one.image_id == image.id}
    found = []
    for variant in target.variants:
        if variant.manifest.attests not in digests:
            continue
        if not content.has(variant.manifest.digest):
            raise NotFound(f"attestation manifest {variant.manifest.digest} of {reference} did not come with the image")
        for layer in decode(content.read(variant.manifest.digest), Manifest).layers:
            kind = (layer.annotations or {}).get(PREDICATE_TYPE, "")
            if kind and (not types or kind in types):
                text = _statement(content, layer) if statements else msgspec.UNSET
                found.append(AttestationStatement(manifest_views.descriptor(layer), kind, text))
    return found


def _statement(content: ContentStore, layer: Descriptor) -> msgspec.Raw:
    """Return a statement unchanged. Raises NotFound and SystemFault."""
    if not content.has(layer.digest):
        raise NotFound(f"attestation statement {layer.digest} is not available locally")
    text = content.read(layer.digest)
    try:
        return msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SystemFault(f"attestation statement {layer.digest} is no JSON: {error}") from error
