"""Failures of registries as the engine's errors."""

from __future__ import annotations

import pytest

from darse.distribution.errors import Unreachable
from darse.images.references import parse
from darse.images.transfer.registry_errors import of_pull


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("debian", "builtin/busybox needs no registry"),
        ("registry.example.com/moby/buildkit", "builtin/busybox needs no registry"),
        (
            "moby/buildkit:buildx-stable-1",
            "`DOCKER_BUILDKIT=0 docker build` and `darse build` build without this image",
        ),
    ],
)
def test_where_no_registry_answers_there_is_another_way(name: str, hint: str) -> None:
    assert str(of_pull(Unreachable("no such host"), parse(name))) == f"no such host; {hint}"
