"""Attestations as clients ask for them."""

from __future__ import annotations

import pytest

from darse.build.errors import BuildError
from darse.build.request import SbomRequest
from darse.buildkit.frontend.options import build_request


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", SbomRequest()),
        ("1", SbomRequest()),
        ("", SbomRequest()),
        ("type=sbom", SbomRequest()),
        ("false", None),
        ("disabled=true", None),
        ("type=sbom,disabled=1", None),
        ("generator=scan/it:1", SbomRequest(generator="scan/it:1")),
        ("generator=a,WORD=up,x=", SbomRequest(generator="a", parameters=(("WORD", "up"), ("x", "")))),
    ],
)
def test_bills_of_materials(text: str, expected: SbomRequest | None) -> None:
    assert SbomRequest.parse(text) == expected
    assert build_request({"attest:sbom": text}).sbom == expected


@pytest.mark.parametrize("text", ["yes", "generator", "WORD=up", "generator=a,=b", "generator=a,A B=c"])
def test_bills_that_nobody_makes(text: str) -> None:
    with pytest.raises(BuildError):
        SbomRequest.parse(text)


def test_nothing_is_attested_without_a_word() -> None:
    assert build_request({}).sbom is None
