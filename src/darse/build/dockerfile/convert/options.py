"""What a build is asked for, and what it asks of its caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from darse.build.graph.definition import Definition
from darse.build.graph.operations import DeviceRequirement, NetworkMode, UlimitSetting
from darse.build.graph.sources import SourceOperation


class ContextInput(msgspec.Struct, frozen=True):
    """The result of another front end, as a named context."""

    definition: Definition
    config: Mapping[str, Any] | None = None
    """Its image's configuration document, where it has one."""


class ConvertOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a build that change its graph or its image."""

    build_arguments: Mapping[str, str] = {}
    target: str = ""
    """The name of a stage; empty is the last."""
    platform: str = ""
    """Of the result; empty is the builder's."""
    build_platform: str
    """Of the builder."""
    show_platform: bool = False
    """Several platforms are built: names of steps have theirs."""
    labels: Mapping[str, str] = {}
    contexts: Mapping[str, str] = {}
    """Named contexts: `docker-image://…`, `oci-layout://…`, a URL, `local:NAME`, or `input:NAME`."""
    inputs: Mapping[str, ContextInput] = {}
    """What contexts `input:NAME` are."""
    context: SourceOperation | None = None
    """Where the build context is from; None is the client's directory `context`."""
    session: str = ""
    ignore_patterns: tuple[str, ...] = ()
    resolve_mode: str = "default"
    """Of images: `pull` for `--pull`."""
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()
    network: NetworkMode = NetworkMode.SANDBOX
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    """Bytes; 0 is the executor's."""
    ulimits: tuple[UlimitSetting, ...] = ()
    devices: tuple[DeviceRequirement, ...] = ()
    cgroup_parent: str = ""
    hostname: str = ""
    cache_namespace: str = ""
    source_date_epoch: int | None = None
    """Seconds: the time of everything that the build makes."""
    check: str = ""
    """Options of checks; before those of the Dockerfile."""
    scans: bool = False
    """A bill of materials is asked for: `Converted.scanned` is filled."""


class ResolvedImage(msgspec.Struct, frozen=True):
    """An image that a stage is from."""

    reference: str
    """In full, with the digest where the image was asked for at a registry."""
    config: Mapping[str, Any]
    """Its configuration document."""


class ImageResolver(Protocol):
    """Finds the configuration of images."""

    async def resolve(self, reference: str, platform: str) -> ResolvedImage:
        """An image by its full reference. Raises BuildError where there is none."""
        ...
