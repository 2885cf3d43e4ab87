"""Answers about the engine as a whole (Docker Engine API v1.51)."""

from __future__ import annotations

from typing import Any

import msgspec

from darse.wire.containers import ContainerSummary
from darse.wire.images import ImageSummary
from darse.wire.volumes import Volume


class Platform(msgspec.Struct):
    """The product."""

    Name: str


class Component(msgspec.Struct):
    """A part of the engine with its version."""

    Name: str
    Version: str
    Details: dict[str, str]


class Version(msgspec.Struct, kw_only=True):
    """Answer to `version`."""

    Platform: Platform
    Components: list[Component]
    Version: str
    ApiVersion: str
    MinAPIVersion: str
    GitCommit: str
    GoVersion: str
    Os: str
    Arch: str
    KernelVersion: str
    BuildTime: str
    Experimental: bool = False


class DiskUsage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Answer to `system df`; sizes in bytes."""

    LayersSize: int = 0
    Images: list[ImageSummary] | None = None
    Containers: list[ContainerSummary] | None = None
    Volumes: list[Volume] | None = None
    BuildCache: list[dict[str, Any]] | None = None


class Finding(msgspec.Struct):
    """One result of `doctor`: how bad (`ok`, `note`, `problem`), what, and what to do."""

    level: str
    check: str
    found: str
    advice: str = ""
