"""Image references, as people write them and in full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.core.errors import InvalidParameter
from darse.images import references


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("builtin/busybox", "docker.io/builtin/busybox:latest", "builtin/busybox:latest"),
        ("docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x/y:t", "localhost:5000/x/y:t", "localhost:5000/x/y:t"),
        ("ghcr.io/Own/x".lower(), "ghcr.io/own/x:latest", "ghcr.io/own/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        (
            "x@sha256:" + "a" * 64,
            "docker.io/library/x@sha256:" + "a" * 64,
            "x@sha256:" + "a" * 64,
        ),
    ],
)
def test_a_reference_is_completed_and_shortened(text, full, familiar):
    reference = references.parse(text)
    assert str(reference) == full
    assert reference.familiar == familiar


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UPPER",
        "a//b",
        "../etc/passwd",
        "a/../b",
        "-a",
        "a:",
        "a:tag with space",
        "a@sha256:short",
        "a@md5:" + "a" * 32,
        "x" * 256,
        "a\0b",
        "a\n",
        "a" * 64,
        "x:" + "t" * 129,
    ],
)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(InvalidParameter):
        references.parse("a" * 64 if text == "a" * 64 else text)


@given(st.text(max_size=80))
def test_reading_never_fails_in_another_way_and_is_stable(text):
    try:
        reference = references.parse(text)
    except InvalidParameter:
        return
    assert references.parse(str(reference)) == reference
    assert references.parse(reference.familiar) == reference
