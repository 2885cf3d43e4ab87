"""What a client asks of a build."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from darse.build.errors import BuildError
from darse.build.executor.session import StepLimits
from darse.build.graph.operations import NetworkMode, UlimitSetting
from darse.build.remote_cache.cache_options import CacheOptions
from darse.image_spec.platforms import Platform
from darse.images.references import Reference

if TYPE_CHECKING:
    from darse.distribution import Credentials

V02 = "https://slsa.dev/provenance/v0.2"
V1 = "https://slsa.dev/provenance/v1"
_FIELDS = frozenset({"type", "mode", "version", "builder-id", "disabled", "reproducible", "inline-only"})
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
_TRUE, _FALSE = frozenset({"1", "true"}), frozenset({"0", "false"})


class ProvenanceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for."""

    complete: bool = False
    """The mode `max`: arguments of the build, its graph and its Dockerfile, too. Secrets never are."""
    version: str = "v1"
    """Of SLSA's predicate: `v1` or `v0.2`."""
    builder: str = ""
    """The builder's URL."""
    reproducible: bool = False
    """What the client says of the build."""
    inline_only: bool = False
    """The client asks on its own, and nobody has asked it: for images that leave the engine."""

    @property
    def predicate_type(self) -> str:
        """The type of the predicate."""
        return V1 if self.version == "v1" else V02

    @classmethod
    def parse(cls, text: str) -> ProvenanceRequest | None:
        """`true`, `false`, or fields `mode=min|max,version=v1|v0.2,builder-id=URL,…`. Raises BuildError."""
        if text in _TRUE:
            return cls()
        if text in _FALSE or not text:
            return None
        fields: dict[str, str] = {}
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if not equals or name not in _FIELDS:
                raise BuildError(f"invalid provenance field {part!r}: it is one of {', '.join(sorted(_FIELDS))}")
            fields[name] = value
        mode, version = fields.get("mode", "min"), fields.get("version", "v1")
        if mode not in ("min", "max"):
            raise BuildError(f"invalid provenance mode {mode!r}: it is min or max")
        if version not in ("v1", "v0.2"):
            raise BuildError(f"invalid provenance version {version!r}: it is v1 or v0.2")
        if fields.get("disabled", "false") in _TRUE:
            return None
        return cls(
            complete=mode == "max",
            version=version,
            builder=fields.get("builder-id", ""),
            reproducible=fields.get("reproducible", "false") in _TRUE,
            inline_only=fields.get("inline-only", "false") in _TRUE,
        )


class SbomRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which bill of materials is asked for."""

    generator: str = ""
    """The image whose scanner makes it; empty is the one that is built in."""
    parameters: tuple[tuple[str, str], ...] = ()
    """What that scanner gets besides, as BuildKit passes it on."""

    @classmethod
    def parse(cls, text: str) -> SbomRequest | None:
        """`true`, `false`, or fields `generator=IMAGE,NAME=VALUE,…`. Raises BuildError."""
        if text in _FALSE:
            return None
        if text in _TRUE or not text:
            return cls()
        fields: dict[str, str] = {}
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if not equals or not _PARAMETER.fullmatch(name):
                raise BuildError(f"invalid sbom field {part!r}: it is generator=IMAGE, or NAME=VALUE for its scanner")
            fields[name] = value
        fields.pop("type", None)
        if fields.pop("disabled", "false") in _TRUE:
            return None
        fields.pop("inline-only", None)
        generator = fields.pop("generator", "")
        if fields and not generator:
            raise BuildError(f"the sbom field {next(iter(fields))!r} is for a scanner in an image: name a generator")
        return cls(generator=generator, parameters=tuple(fields.items()))


class ContextClaim(msgspec.Struct, frozen=True):
    """What a client says of a context before it is asked for it."""

    key: str
    """See `darse.build.context.transfer`."""
    digest: str = ""
    """SHA-256 of its list, in hexadecimal characters."""


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
    platforms: tuple[Platform, ...] = ()
    """Of the result; none is this machine's, several make an index."""
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
    """One layer in the place of all that the build makes."""
    attributes: Mapping[str, str] = {}
    """Of the output, as BuildKit's exporters have them: see `ExportOptions.with_attributes`."""
    annotations: tuple[str, ...] = ()
    """`[KIND[PLATFORM]:]NAME=VALUE`."""
    cache_from: tuple[CacheOptions, ...] = ()
    """Caches of other builds."""
    cache_to: tuple[CacheOptions, ...] = ()
    """Where this build's results go."""
    provenance: ProvenanceRequest | None = None
    """Which provenance is attested; None is none."""
    sbom: SbomRequest | None = None
    """Which bill of materials is attested; None is none."""
    contexts: Mapping[str, str] = {}
    """Named contexts, as ConvertOptions has them."""
    check: str = ""
    """Options of the checks."""
    call: str = ""
    """`check`, `outline` or `targets`: what is asked about the Dockerfile, in the place of a build."""
    trees: Mapping[str, ContextClaim] = {}
    """Contexts that the client sends in part, by name."""
    dockerfile_content: bytes | None = None
    """The Dockerfile, where it does not come with the context; `dockerfile` is what it is called then."""
    secrets: Mapping[str, bytes] = {}
    agents: frozenset[str] = frozenset()
    """The SSH agents that the client forwards, by id."""
    entitlements: frozenset[str] = frozenset()
    """What the client allows steps beyond the usual: `network.host`, `security.insecure`."""
    security_options: tuple[str, ...] = ()
    """Of processes, as HostConfig has them."""
    credentials: Mapping[str, Credentials] = {}
    """By the registry's domain, `docker.io` or `HOST[:PORT]`."""
    source_date_epoch: int | None = None
    """Seconds: the time of everything that the build makes."""
