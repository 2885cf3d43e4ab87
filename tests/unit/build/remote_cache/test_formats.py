"""Documents of caches: what is written is read again, and what contradicts itself is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from darse.build.errors import BuildError
from darse.build.remote_cache.cache_options import parse_cache_options
from darse.build.remote_cache.formats import (
    CacheDocument,
    CacheLayer,
    InvalidCache,
    read_config,
    read_inline,
    write_config,
    write_inline,
)
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor

_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(text: str) -> str:
    return digest_of(text.encode())


def layer(name: str) -> CacheLayer:
    return CacheLayer(Descriptor(_GZIP, digest(f"blob {name}"), len(name)), digest(f"diff {name}"))


A, B, C = map(layer, "abc")
DOCUMENT = CacheDocument(
    {digest("one"): (A, B), digest("two"): (A, C), digest("three"): (A, B, C)}, {digest("made so"): digest("two")}
)


def test_a_document_is_read_as_it_was_written() -> None:
    content, listed = write_config(DOCUMENT)
    assert {one.digest for one in listed} == {one.blob.digest for one in (A, B, C)}
    assert read_config(content, listed) == DOCUMENT


def test_the_form_is_buildkits() -> None:
    content, listed = write_config(DOCUMENT)
    document = json.loads(content)
    # A parent of 0 is left out, as Go's encoder does it.
    assert document["layers"][:2] == [{"blob": A.blob.digest, "parent": -1}, {"blob": B.blob.digest}]
    assert document["records"][0] == {"layers": [{"layer": 1}], "digest": digest("one")}
    assert document["records"][-1] == {"digest": digest("made so"), "inputs": [[{"link": 1}]]} or document["records"][
        -1
    ]["inputs"] == [[{"link": 1}]]
    assert listed[0].annotations == {"containerd.io/uncompressed": A.diff_id}


def test_an_image_has_the_records_of_its_own_layers() -> None:
    member = write_inline(DOCUMENT, [A.diff_id, B.diff_id])
    config = {"rootfs": {"diff_ids": [A.diff_id, B.diff_id]}, "moby.buildkit.cache.v0": member}
    found = read_inline(config, [A.blob, B.blob])
    assert found == CacheDocument({digest("one"): (A, B)})
    assert read_inline({"rootfs": {}}, []) is None
    with pytest.raises(InvalidCache):
        read_inline(config, [A.blob])
    with pytest.raises(InvalidCache):
        read_inline({**config, "moby.buildkit.cache.v0": "%"}, [A.blob, B.blob])


def test_a_document_of_buildkit_is_read() -> None:
    """Records with inputs and chains, as its solver writes them."""
    document = {
        "layers": [{"blob": A.blob.digest, "parent": -1}, {"blob": B.blob.digest}],
        "records": [
            {"digest": digest("source"), "layers": [{"layer": 0, "createdAt": "2024-01-01T00:00:00Z"}]},
            {"digest": "random:x", "inputs": [[{"link": 0}]]},
            {"digest": digest("run"), "layers": [{"layer": 1}], "inputs": [[{"selector": "s", "link": 0}]]},
            {"digest": digest("merge"), "chains": [{"layers": [1, 0], "createdAt": "2024-01-01T00:00:00Z"}]},
        ],
    }
    _, listed = write_config(DOCUMENT)
    assert read_config(json.dumps(document).encode(), listed) == CacheDocument(
        {digest("source"): (A,), digest("run"): (A, B), digest("merge"): (B, A)}
    )


@pytest.mark.parametrize(
    "document",
    [
        {"layers": [{"blob": "sha256:none", "parent": -1}]},
        {"layers": [{"blob": A.blob.digest, "parent": 0}], "records": [{"digest": digest("x"), "layers": [{}]}]},
        {"layers": [{"blob": A.blob.digest, "parent": 7}], "records": [{"digest": digest("x"), "layers": [{}]}]},
        {"layers": [], "records": [{"digest": digest("x"), "layers": [{"layer": 0}]}]},
        {"layers": [], "records": [{"digest": digest("x"), "layers": [{"layer": -2}]}]},
        {"layers": [], "records": [{"digest": digest("x"), "inputs": [[{"link": 5}]]}]},
        {"layers": 3},
        [],
        "{",
    ],
)
def test_a_document_that_lies_is_refused(document: Any) -> None:
    _, listed = write_config(DOCUMENT)
    content = document.encode() if isinstance(document, str) else json.dumps(document).encode()
    with pytest.raises(InvalidCache):
        read_config(content, listed)


def test_a_layer_without_its_diff_id_is_refused() -> None:
    content, listed = write_config(DOCUMENT)
    with pytest.raises(InvalidCache, match="not listed with its content"):
        read_config(content, [Descriptor(one.media_type, one.digest, one.size) for one in listed])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user/app:cache", "registry user/app:cache False"),
        ("type=registry,ref=user/app:cache,mode=max", "registry user/app:cache True"),
        ("type=inline", "inline inline False"),
        ("type=local,dest=/d,mode=max", "local local True"),
    ],
)
def test_places(text: str, shown: str) -> None:
    place = parse_cache_options(text)
    assert f"{place.kind} {place} {place.complete}" == shown


@pytest.mark.parametrize(
    "text", ["type=gha", "type=registry", "type=registry,ref=A B", "type=inline,ref=x", "type=local,mode=most", "a=b,c"]
)
def test_places_that_mean_nothing(text: str) -> None:
    with pytest.raises(BuildError):
        parse_cache_options(text)


def test_the_member_of_an_image_is_base64_of_an_array() -> None:
    assert isinstance(json.loads(base64.b64decode(write_inline(DOCUMENT, [A.diff_id]))), list)
