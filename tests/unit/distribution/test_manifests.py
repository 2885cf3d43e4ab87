"""Manifests and indexes from untrusted registries: what is taken, and what is told apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from darse.distribution import manifests
from darse.distribution.errors import InvalidContent, RegistryError, UnsupportedContent
from darse.distribution.manifests import Document
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Index, Manifest
from darse.image_spec.media_types import DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST

SOME = digest_of(b"some")
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": SOME, "size": 4}
CONFIG = {"mediaType": OCI_CONFIG, "digest": SOME, "size": 4}
MANIFEST: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [{**LAYER, "mediaType": OCI_MANIFEST}],
}


def document(content: Any, media_type: str = OCI_MANIFEST) -> Document:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Document(raw, media_type, digest_of(raw))


def test_manifests_and_indexes_are_read() -> None:
    manifest = manifests.parse(document(MANIFEST))
    assert isinstance(manifest, Manifest)
    assert manifest.layers[0].size == 4
    manifests.check_is_image(manifest)
    index = manifests.parse(document(INDEX, OCI_INDEX))
    assert isinstance(index, Index)
    assert index.manifests[0].digest == SOME


def test_null_is_absent() -> None:
    manifest = manifests.parse(document({**MANIFEST, "annotations": None, "config": {**CONFIG, "urls": None}}))
    assert isinstance(manifest, Manifest)


def test_the_type_may_be_in_the_header_only() -> None:
    without = {key: value for key, value in MANIFEST.items() if key != "mediaType"}
    assert isinstance(manifests.parse(document(without)), Manifest)
    assert isinstance(manifests.parse(document(without, "text/plain")), Manifest)


@pytest.mark.parametrize(
    ("content", "media_type", "error", "text"),
    [
        ({**MANIFEST, "manifests": []}, OCI_MANIFEST, InvalidContent, "at once"),
        (MANIFEST, DOCKER_MANIFEST, InvalidContent, "calls itself"),
        (INDEX, OCI_MANIFEST, InvalidContent, "calls itself"),
        (b"<html>", OCI_MANIFEST, InvalidContent, "no JSON"),
        (b"[" * 100_000, OCI_MANIFEST, InvalidContent, "no JSON"),
        ([MANIFEST], OCI_MANIFEST, InvalidContent, "no JSON object"),
        ({**MANIFEST, "mediaType": 7}, OCI_MANIFEST, InvalidContent, "no media type"),
        ({**MANIFEST, "schemaVersion": 3}, OCI_MANIFEST, InvalidContent, "no known schema"),
        ({**MANIFEST, "layers": "many"}, OCI_MANIFEST, InvalidContent, "malformed"),
        ({**MANIFEST, "layers": [{**LAYER, "size": -1}]}, OCI_MANIFEST, InvalidContent, "impossible size"),
        ({**MANIFEST, "layers": [{**LAYER, "size": 1 << 62}]}, OCI_MANIFEST, InvalidContent, "impossible size"),
        ({**MANIFEST, "layers": [{**LAYER, "digest": "sha256:../../etc"}]}, OCI_MANIFEST, InvalidContent, "digest"),
        ({**MANIFEST, "layers": [LAYER] * 2001}, OCI_MANIFEST, InvalidContent, "more than"),
        ({"schemaVersion": 1, "name": "old", "fsLayers": []}, "", UnsupportedContent, "schema 1"),
        ({"schemaVersion": 2, "mediaType": "text/x"}, "text/x", UnsupportedContent, "no image"),
    ],
)
def test_what_is_refused(content: Any, media_type: str, error: type[RegistryError], text: str) -> None:
    with pytest.raises(error, match=text):
        manifests.parse(document(content, media_type))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"artifactType": "application/vnd.example.sbom"}, "example.sbom"),
        ({"config": {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "helm"),
        ({"layers": [{**LAYER, "mediaType": "application/vnd.in-toto+json"}]}, "in-toto"),
    ],
)
def test_artifacts_are_no_images(change: dict[str, Any], text: str) -> None:
    manifest = manifests.parse(document({**MANIFEST, **change}))
    assert isinstance(manifest, Manifest)
    with pytest.raises(UnsupportedContent, match=text):
        manifests.check_is_image(manifest)
