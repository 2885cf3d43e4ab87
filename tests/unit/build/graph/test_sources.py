"""Sources as structs, and as LLB writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.build.errors import InvalidGraph
from darse.build.graph import (
    GitSource,
    HTTPSource,
    ImageSource,
    LocalSource,
    OCILayoutSource,
    parse_source,
    source_attributes,
    source_identifier,
)

_WORDS = st.text("abc/.-_", min_size=1, max_size=8)
_TUPLES = st.lists(_WORDS, max_size=3).map(tuple)
_SOURCES = st.one_of(
    st.builds(
        ImageSource,
        reference=_WORDS,
        resolve_mode=st.sampled_from(["default", "pull", "local"]),
        record_type=st.sampled_from(["", "internal", "frontend"]),
        layer_limit=st.integers(0, 5),
        checksum=st.just("") | _WORDS,
    ),
    st.builds(
        LocalSource,
        name=_WORDS,
        session=_WORDS,
        include_patterns=_TUPLES,
        exclude_patterns=_TUPLES,
        follow_paths=_TUPLES,
        shared_key_hint=_WORDS,
        differ=st.sampled_from(["metadata", "none"]),
        metadata_only=st.booleans(),
        metadata_only_exceptions=_TUPLES,
    ),
    st.builds(
        GitSource,
        remote=_WORDS,
        reference=_WORDS,
        subdirectory=st.just("") | _WORDS,
        full_url=_WORDS,
        keep_git_dir=st.booleans(),
        skip_submodules=st.booleans(),
        checksum=_WORDS,
    ),
    st.builds(
        HTTPSource,
        url=_WORDS.map("https://x/{}".format),
        checksum=_WORDS,
        permissions=st.none() | st.integers(0, 0o7777),
        uid=st.integers(0, 99),
        headers=st.dictionaries(_WORDS, _WORDS, max_size=3).map(lambda given: tuple(sorted(given.items()))),
    ),
    st.builds(OCILayoutSource, reference=_WORDS, session=_WORDS, store=_WORDS, layer_limit=st.integers(0, 9)),
)


@given(_SOURCES)
def test_what_is_written_is_read_again(source: ImageSource) -> None:
    assert parse_source(source_identifier(source), source_attributes(source)) == source


@pytest.mark.parametrize(
    ("identifier", "attributes", "source"),
    [
        ("docker-image://docker.io/library/alpine:3", {}, ImageSource(reference="docker.io/library/alpine:3")),
        ("docker-image://a", {"image.resolvemode": "pull"}, ImageSource(reference="a", resolve_mode="pull")),
        (
            "local://context",
            {"local.excludepatterns": '["*.md"]', "local.followpaths": "null", "local.metadatatransfer": "true"},
            LocalSource(name="context", exclude_patterns=("*.md",), metadata_only=True),
        ),
        (
            "git://github.com/a/b.git#v1:sub",
            {"git.fullurl": "https://github.com/a/b.git", "git.keepgitdir": "true"},
            GitSource(
                remote="github.com/a/b.git",
                reference="v1",
                subdirectory="sub",
                full_url="https://github.com/a/b.git",
                keep_git_dir=True,
            ),
        ),
        ("https://x/y", {"http.perm": "0755"}, HTTPSource(url="https://x/y", permissions=0o755)),
        ("http://x/y", {"http.perm": "0o644"}, HTTPSource(url="http://x/y", permissions=0o644)),
        ("http://x/y", {"http.header.accept": "z"}, HTTPSource(url="http://x/y", headers=(("accept", "z"),))),
        ("oci-layout://n@sha256:0", {"oci.store": "s"}, OCILayoutSource(reference="n@sha256:0", store="s")),
    ],
)
def test_reads_what_buildkit_clients_send(identifier: str, attributes: dict[str, str], source: ImageSource) -> None:
    assert parse_source(identifier, attributes) == source


@pytest.mark.parametrize(
    ("identifier", "attributes", "error"),
    [
        ("alpine", {}, "must be scheme://name"),
        ("docker-image://", {}, "must be scheme://name"),
        ("ftp://x/y", {}, "unsupported scheme 'ftp'"),
        ("docker-image://a", {"image.unheard": "1"}, "unsupported attribute image.unheard"),
        ("docker-image://a", {"image.layerlimit": "0"}, "must be at least 1"),
        ("docker-image://a", {"image.layerlimit": "x"}, "invalid attribute image.layerlimit"),
        ("docker-image://a", {"image.resolvemode": "never"}, "none of default, pull, local"),
        ("local://a", {"local.followpaths": '{"a":1}'}, "not a list of strings"),
        ("local://a", {"local.followpaths": "["}, "invalid attribute local.followpaths"),
        ("local://a", {"local.followpaths": "[" * 100_000}, "invalid attribute local.followpaths"),
        ("git://a", {"git.keepgitdir": "perhaps"}, "'perhaps' is not a boolean"),
    ],
)
def test_refuses(identifier: str, attributes: dict[str, str], error: str) -> None:
    with pytest.raises(InvalidGraph, match=error):
        parse_source(identifier, attributes)
