"""Conversions with images that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from darse.build.dockerfile.convert import Converted, ConvertOptions, ResolvedImage, convert
from darse.build.errors import BuildError
from darse.build.graph import ExecOperation, FileOperation, Vertex
from darse.build.graph.operations import Operation

DIGEST = "sha256:" + "0" * 64


def document(**config: object) -> dict[str, Any]:
    """An image's configuration with one layer."""
    return {
        "os": "linux",
        "architecture": "amd64",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
        "history": [{"created_by": "base", "created": "2020-01-01T00:00:00Z"}],
    }


class FakeImages:
    """Resolves the images that it has, and notes what is asked for."""

    def __init__(self, images: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self._images = images or {}

    async def resolve(self, reference: str, platform: str) -> ResolvedImage:
        self.asked.append((reference, platform))
        await asyncio.sleep(0)
        if "missing" in reference:
            raise BuildError(f"{reference}: not found")
        found = next((config for name, config in self._images.items() if f"/{name}:" in reference), document())
        return ResolvedImage(f"{reference}@{DIGEST}", found)


async def converted(text: str, images: FakeImages | None = None, **options: Any) -> Converted:
    """Convert a Dockerfile for linux/amd64."""
    given = {"build_platform": "linux/amd64", **options}
    return await convert(text, ConvertOptions(**given), images or FakeImages())


def vertices(found: Converted) -> list[Vertex]:
    """In the graph's order."""
    return list(found.definition.vertices.values())


def operations(found: Converted) -> list[Operation]:
    """In the graph's order."""
    return [vertex.operation for vertex in vertices(found)]


def process(found: Converted) -> ExecOperation:
    """The only process."""
    (operation,) = (one for one in operations(found) if isinstance(one, ExecOperation))
    return operation


def changes(found: Converted) -> list[Any]:
    """What all file operations do."""
    return [action.change for one in operations(found) if isinstance(one, FileOperation) for action in one.actions]


def names(found: Converted) -> list[str]:
    """Of steps, as progress shows them."""
    return [found.definition.metadata[digest].name for digest in found.definition.vertices]


def history(found: Converted) -> list[str]:
    """What instructions added."""
    return [line.created_by for line in found.image.history if line.comment]
