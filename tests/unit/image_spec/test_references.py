"""Image references, as people write them and in full."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.image_spec.references import InvalidReference, familiar, parse, parse_name, split

_DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "short"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("builtin/busybox", "docker.io/builtin/busybox:latest", "builtin/busybox:latest"),
        ("docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
        ("index.docker.io/a", "docker.io/library/a:latest", "a:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("localhost:5000/x/y:t", "localhost:5000/x/y:t", "localhost:5000/x/y:t"),
        ("GHCR/own/x", "GHCR/own/x:latest", "GHCR/own/x:latest"),
        ("ghcr.io/own/x", "ghcr.io/own/x:latest", "ghcr.io/own/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e:latest", "a__b/c--d.e:latest"),
        ("a_b.c/d", "a_b.c/d:latest", "a_b.c/d:latest"),
        ("x:T_a-g.1", "docker.io/library/x:T_a-g.1", "x:T_a-g.1"),
        (f"x@{_DIGEST}", f"docker.io/library/x@{_DIGEST}", f"x@{_DIGEST}"),
        (f"x:1@{_DIGEST}", f"docker.io/library/x:1@{_DIGEST}", f"x:1@{_DIGEST}"),
    ],
)
def test_a_reference_is_completed_and_shortened(text: str, full: str, short: str) -> None:
    reference = parse(text)
    assert str(reference) == full
    assert reference.familiar == short


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "invalid reference format"),
        ("UPPER", "repository name (library/UPPER) must be lowercase"),
        ("a//b", "invalid reference format"),
        ("../etc/passwd", "invalid reference format"),
        ("a/../b", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a@", "invalid reference format"),
        ("a:tag with space", "invalid reference format"),
        ("a@sha256:short", "invalid reference format"),
        ("a@md5:" + "a" * 32, "unsupported digest algorithm"),
        ("a@sha256:" + "a" * 40, "invalid checksum digest length"),
        ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
        ("x" * 256, "repository name must not be more than 255 characters"),
        ("a\0b", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a" * 64, "cannot specify 64-byte hexadecimal strings"),
        ("x:" + "t" * 129, "invalid reference format"),
    ],
)
def test_what_is_no_reference_is_refused_in_dockers_words(text: str, error: str) -> None:
    with pytest.raises(InvalidReference) as failure:
        parse_name(text)
    assert error in str(failure.value)


@given(st.one_of(st.text(max_size=80), st.from_regex(r"\A[a-zA-Z_.:/@0-9-]{1,40}\Z")))
def test_reading_never_fails_in_another_way_and_is_stable(text: str) -> None:
    try:
        reference = parse_name(text)
    except InvalidReference:
        return
    assert reference == split(text)
    assert parse_name(str(reference)) == reference
    assert parse(parse(text).familiar) == parse(text)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("docker.io/library/x", "x"),
        ("docker.io/a/x", "a/x"),
        ("docker.io/library/a/x", "library/a/x"),
        ("ghcr.io/library/x", "ghcr.io/library/x"),
        ("x", "x"),
    ],
)
def test_names_of_docker_hub_are_short(name: str, short: str) -> None:
    assert familiar(name) == short
