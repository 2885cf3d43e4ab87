"""Platforms: how they are written, and which run where."""

import pytest

from darse.image_spec.platforms import InvalidPlatform, Platform, distance, host, normalized, of_descriptor, parse


@pytest.mark.parametrize(
    ("text", "parsed", "normal"),
    [
        ("linux/amd64", "linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386", "linux/386"),
        ("linux/aarch64", "linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/v7", "linux/arm/v7", "linux/arm/v7"),
        ("Linux/AMD64", "linux/amd64", "linux/amd64"),
        ("macOS/arm64", "darwin/arm64", "darwin/arm64"),
        ("arm64", "linux/arm64", "linux/arm64"),
        ("armhf", "linux/arm", "linux/arm/v7"),
        ("armel", "linux/arm/v6", "linux/arm/v6"),
        ("linux", f"linux/{host().architecture}", f"linux/{host().architecture}"),
        ("windows/amd64", "windows/amd64", "windows/amd64"),
        ("freebsd", f"freebsd/{host().architecture}", f"freebsd/{host().architecture}"),
    ],
)
def test_platforms_are_written_in_many_ways(text: str, parsed: str, normal: str) -> None:
    assert str(parse(text)) == parsed
    assert str(normalized(parse(text))) == normal


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "component must match"),
        ("/", "component must match"),
        ("linux/", "component must match"),
        ("linux/am d64", '"am d64" is an invalid component of "linux/am d64"'),
        ("linux/amd64/v1/x", "cannot parse platform specifier"),
        ("*/*", "wildcards not yet supported"),
        ("vax", '"vax": unknown operating system or architecture'),
    ],
)
def test_what_is_no_platform_is_refused(text: str, error: str) -> None:
    with pytest.raises(InvalidPlatform, match=error):
        parse(text)


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
def test_older_variants_run_on_newer_machines(wanted: str, found: str, steps: int | None) -> None:
    assert distance(normalized(parse(wanted)), normalized(parse(found))) == steps


def test_attestations_are_of_no_platform() -> None:
    assert of_descriptor(None) is None
    assert of_descriptor(Platform("unknown", "unknown")) is None
    assert of_descriptor(Platform("arm64", "linux", variant="v8")) == parse("linux/arm64")
    assert of_descriptor(Platform("arm64")) == parse("linux/arm64")
