"""Descriptors, manifests and indexes: read, encoded, told apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from darse.image_spec.digests import chain_ids, digest_of, is_digest
from darse.image_spec.manifests import (
    Descriptor,
    Index,
    InvalidDocument,
    Manifest,
    decode,
    encode_index,
    encode_manifest,
)
from darse.image_spec.media_types import DOCKER_CONFIG, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, is_layer
from darse.image_spec.platforms import Platform

CONFIG = Descriptor(OCI_CONFIG, digest_of(b"config"), 6)
LAYER = Descriptor(OCI_LAYER, digest_of(b"layer"), 5)


def test_a_manifest_that_is_made_again_is_the_same() -> None:
    """The check of a store makes lost manifests again: their digests are recorded, so no member may change places."""
    assert encode_manifest(CONFIG, [LAYER]) == json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": OCI_CONFIG, "digest": CONFIG.digest, "size": 6},
            "layers": [{"mediaType": OCI_LAYER, "digest": LAYER.digest, "size": 5}],
            "mediaType": OCI_MANIFEST,
        },
        separators=(",", ":"),
    ).encode("ascii")


def test_documents_are_read_as_they_were_written() -> None:
    manifest = decode(encode_manifest(CONFIG, [LAYER]), Manifest)
    assert (manifest.config, manifest.layers, manifest.schema_version) == (CONFIG, [LAYER], 2)
    listed = Descriptor(OCI_MANIFEST, digest_of(b"m"), 1, platform=Platform("arm", "linux", variant="v7"))
    index = decode(encode_index([listed]), Index)
    assert (index.manifests, index.media_type) == ([listed], OCI_INDEX)


def test_null_is_absent_and_unknown_members_are_left_out() -> None:
    document = {"manifests": [{"mediaType": "x", "digest": "y", "size": 1, "urls": None, "data": "eA=="}], "x": 1}
    assert decode(json.dumps(document).encode(), Index).manifests == [Descriptor("x", "y", 1)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"manifests": [1]}', b"[" * 100_000, b'{"manifests": 1e999}'])
def test_what_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidDocument):
        decode(content, Index)


@pytest.mark.parametrize(
    ("changes", "artifact"),
    [
        ({}, ""),
        ({"config": Descriptor(DOCKER_CONFIG, "d", 1)}, ""),
        (
            {"config": Descriptor("application/vnd.cncf.helm.config.v1+json", "d", 1)},
            "application/vnd.cncf.helm.config.v1+json",
        ),
        ({"artifact_type": "application/x"}, "application/x"),
        ({"layers": [LAYER, Descriptor("application/vnd.in-toto+json", "d", 1)]}, "application/vnd.in-toto+json"),
    ],
)
def test_artifacts_are_told_from_images(changes: dict[str, Any], artifact: str) -> None:
    assert Manifest(**{"config": CONFIG, "layers": [LAYER], **changes}).artifact == artifact


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        (OCI_LAYER, True),
        (f"{OCI_LAYER}+gzip", True),
        (f"{OCI_LAYER}+zstd", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", True),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", True),
        (f"{OCI_LAYER}+gzip+encrypted", False),
        ("application/vnd.in-toto+json", False),
        ("", False),
    ],
)
def test_layers_by_their_media_type(media_type: str, expected: bool) -> None:
    assert is_layer(media_type) is expected


def test_attestations_name_the_manifest_that_they_are_about() -> None:
    annotations = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": "sha256:x"}
    assert Descriptor(OCI_MANIFEST, "d", 1, annotations=annotations).attests == "sha256:x"
    assert Descriptor(OCI_MANIFEST, "d", 1, annotations={"vnd.docker.reference.digest": "sha256:x"}).attests == ""
    assert CONFIG.attests == ""


def test_digests() -> None:
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_of(b"") == empty
    assert is_digest(empty)
    assert not any(map(is_digest, (empty[7:], empty.upper(), empty + "\n", empty + "0", "sha512:" + empty[7:], "")))


def test_chain_ids() -> None:
    assert chain_ids([]) == []
    assert chain_ids(["sha256:a", "sha256:b"]) == ["sha256:a", digest_of(b"sha256:a sha256:b")]
