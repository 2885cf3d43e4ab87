"""Platforms: how they are written, and which run where."""

import pytest

from darse.core.errors import InvalidParameter
from darse.images.platforms import distance, host, of_document, parse, parse_json


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("Linux/AMD64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("armhf", "linux/arm/v7"),
        ("linux", f"linux/{host().architecture}"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platforms_are_written_in_many_ways(text, meant):
    assert str(parse(text)) == meant


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux/amd64/v1/x", "linux/am d64", "linux/../x", "*/*"])
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(InvalidParameter, match="platform specification"):
        parse(text)


def test_the_api_has_them_in_json():
    assert parse_json('{"os":"linux","architecture":"arm","variant":"v5"}') == parse("linux/arm/v5")
    assert parse_json("linux/arm64") == parse("linux/arm64")
    for text in ("{", "{}", '{"os":5}'):
        with pytest.raises(InvalidParameter, match="failed to parse platform"):
            parse_json(text)


@pytest.mark.parametrize(
    ("wanted", "found", "steps"),
    [
        ("linux/amd64", "linux/amd64", 0),
        ("linux/amd64/v3", "linux/amd64", 2),
        ("linux/amd64", "linux/amd64/v3", None),
        ("linux/arm/v7", "linux/arm/v5", 2),
        ("linux/arm/v5", "linux/arm/v7", None),
        ("linux/arm64", "linux/arm64/v8", 0),
        ("linux/arm64", "linux/arm/v7", None),
        ("linux/amd64", "windows/amd64", None),
    ],
)
def test_older_variants_run_on_newer_machines(wanted, found, steps):
    assert distance(parse(wanted), parse(found)) == steps


def test_attestations_are_of_no_platform():
    assert of_document(None) is None
    assert of_document({"os": "unknown", "architecture": "unknown"}) is None
    assert of_document({"os": "linux", "architecture": "arm64", "variant": "v8"}) == parse("linux/arm64")
