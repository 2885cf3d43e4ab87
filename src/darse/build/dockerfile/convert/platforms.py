"""Platforms of FROM lines and of images, in the engine's words."""

from __future__ import annotations

from darse.build.dockerfile.errors import DockerfileError
from darse.image_spec import platforms


def parse_platform(text: str) -> str:
    """Normalize `os[/architecture[/variant]]`. Raises DockerfileError."""
    try:
        return str(platforms.normalized(platforms.parse(text)))
    except platforms.InvalidPlatform as error:
        raise DockerfileError(str(error)) from None


def same_machine(one: str, other: str) -> bool:
    """Whether system and processor are the same; variants may differ."""
    return one.split("/")[:2] == other.split("/")[:2]
