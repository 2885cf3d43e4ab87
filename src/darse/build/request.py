"""What a client asks of a build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from darse.build.executor.session import StepLimits
from darse.build.graph.operations import NetworkMode, UlimitSetting
from darse.image_spec.platforms import Platform
from darse.images.references import Reference

if TYPE_CHECKING:
    from darse.distribution import Credentials


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one build."""

    id: str = ""
    """What its client calls it, to cancel it; empty where it has no name."""
    names: tuple[Reference, ...] = ()
    dockerfile: str = ""
    """Its path in the context; empty is `Dockerfile`."""
    remote: str = ""
    """A URL of the context, in the place of an archive."""
    arguments: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    target: str = ""
    platform: Platform | None = None
    pull: bool = False
    """Ask the registry for the base images whatever is here."""
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()
    network: NetworkMode = NetworkMode.SANDBOX
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    """Bytes; 0 is the engine's default."""
    ulimits: tuple[UlimitSetting, ...] = ()
    cgroup_parent: str = ""
    sandbox_network: str = "bridge"
    """The network of processes in the mode `sandbox`, by name."""
    limits: StepLimits = StepLimits()
    squash: bool = False
    contexts: Mapping[str, str] = {}
    """Named contexts, as ConvertOptions has them."""
    check: str = ""
    """Options of the checks."""
    call: str = ""
    """`check`, `outline` or `targets`: what is asked about the Dockerfile, in the place of a build."""
    secrets: Mapping[str, bytes] = {}
    credentials: Mapping[str, Credentials] = {}
    """By the registry's domain, `docker.io` or `HOST[:PORT]`."""
    source_date_epoch: int | None = None
    """Seconds: the time of everything that the build makes."""
