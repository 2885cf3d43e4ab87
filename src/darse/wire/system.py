"""Answers about the engine as a whole (Docker Engine API v1.55)."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from darse.wire.containers import ContainerSummary
from darse.wire.images import ImageSummary
from darse.wire.volumes import Volume

T = TypeVar("T")


class EnginePlatform(msgspec.Struct):
    """The product."""

    Name: str


class Component(msgspec.Struct):
    """A part of the engine with its version."""

    Name: str
    Version: str
    Details: dict[str, str]


class Version(msgspec.Struct, kw_only=True):
    """Answer to `version`."""

    Platform: EnginePlatform
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


class Plugins(msgspec.Struct):
    """Drivers by kind."""

    Volume: list[str]
    Network: list[str]
    Authorization: list[str] | None
    Log: list[str]


class Commit(msgspec.Struct):
    """A program's version, where docker has the commit it was built from."""

    ID: str


class Runtime(msgspec.Struct, omit_defaults=True):
    """An OCI runtime."""

    path: str
    runtimeArgs: list[str] = []


class IndexConfig(msgspec.Struct):
    """How a registry is used."""

    Name: str
    Mirrors: list[str]
    Secure: bool
    Official: bool


class RegistryConfig(msgspec.Struct):
    """How registries are used."""

    InsecureRegistryCIDRs: list[str]
    IndexConfigs: dict[str, IndexConfig]
    Mirrors: list[str]


class SwarmInfo(msgspec.Struct):
    """Membership of a cluster."""

    NodeID: str = ""
    NodeAddr: str = ""
    LocalNodeState: str = "inactive"
    ControlAvailable: bool = False
    Error: str = ""
    RemoteManagers: list[dict[str, str]] | None = None


class Pool(msgspec.Struct):
    """A range that networks are cut from."""

    Base: str
    Size: int


class FirewallBackend(msgspec.Struct):
    """Who manages the firewall."""

    Driver: str


class DeviceInfo(msgspec.Struct):
    """A device that can be asked for by name, and who serves it."""

    Source: str
    ID: str


class Info(msgspec.Struct, kw_only=True):
    """Answer to `info`; sizes in bytes."""

    ID: str
    Containers: int
    ContainersRunning: int
    ContainersPaused: int
    ContainersStopped: int
    Images: int
    Driver: str
    DriverStatus: list[list[str]]
    DockerRootDir: str
    Plugins: Plugins
    MemoryLimit: bool
    SwapLimit: bool
    CpuCfsPeriod: bool
    CpuCfsQuota: bool
    CPUShares: bool
    CPUSet: bool
    PidsLimit: bool
    OomKillDisable: bool
    IPv4Forwarding: bool
    Debug: bool
    NFd: int
    NGoroutines: int
    SystemTime: str
    LoggingDriver: str
    CgroupDriver: str
    CgroupVersion: str
    NEventsListener: int
    KernelVersion: str
    OperatingSystem: str
    OSVersion: str
    OSType: str = "linux"
    Architecture: str
    NCPU: int
    MemTotal: int
    IndexServerAddress: str = "https://index.docker.io/v1/"
    RegistryConfig: RegistryConfig
    GenericResources: list[dict[str, Any]] | None = None
    HttpProxy: str
    HttpsProxy: str
    NoProxy: str
    Name: str
    Labels: list[str]
    ExperimentalBuild: bool
    ServerVersion: str
    Runtimes: dict[str, Runtime]
    DefaultRuntime: str
    Swarm: SwarmInfo
    LiveRestoreEnabled: bool
    Isolation: str = ""
    InitBinary: str
    ContainerdCommit: Commit
    RuncCommit: Commit
    InitCommit: Commit
    SecurityOptions: list[str]
    DefaultAddressPools: list[Pool]
    FirewallBackend: FirewallBackend | msgspec.UnsetType = msgspec.UNSET
    CDISpecDirs: list[str]
    DiscoveredDevices: list[DeviceInfo] | msgspec.UnsetType = msgspec.UNSET
    Warnings: list[str] | None


class ObjectUsage(msgspec.Struct, Generic[T]):
    """How many objects of a kind there are, how many in use, and bytes: of all, and of what a prune would free."""

    ActiveCount: int
    TotalCount: int
    Reclaimable: int
    TotalSize: int
    Items: list[T]


class BuildCacheRecord(msgspec.Struct, kw_only=True):
    """A result of a build that is kept for later ones."""

    ID: str
    Parents: list[str] | None = None
    Type: str
    Description: str
    InUse: bool
    Shared: bool
    Size: int
    CreatedAt: str
    LastUsedAt: str | None = None
    UsageCount: int


class CachesPruned(msgspec.Struct):
    """Answer to `POST /build/prune`."""

    CachesDeleted: list[str] | None
    SpaceReclaimed: int


class DiskUsage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Answer to `system df`."""

    ImageUsage: ObjectUsage[ImageSummary] | None = None
    ContainerUsage: ObjectUsage[ContainerSummary] | None = None
    VolumeUsage: ObjectUsage[Volume] | None = None
    BuildCacheUsage: ObjectUsage[BuildCacheRecord] | None = None


class Finding(msgspec.Struct):
    """One result of `doctor`: how bad (`ok`, `note`, `problem`), what, and what to do."""

    level: str
    check: str
    found: str
    advice: str = ""


class DockerImportRequest(msgspec.Struct):
    """Body of an import of what another engine has."""

    DataRoot: str = "/var/lib/docker"
    DryRun: bool = False


class ImportMessage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A line of such an import: how far it is (`doing`, `done` of `total`), or what became of one object.

    `outcome` is `imported` (in a dry run: it would be), `present` (it was there already), `left` (for a reason that
    lies in what it is) or `failed`. The last line has the counts, and which containers the other engine
    would have started with itself (`starts`).
    """

    doing: str = ""
    done: int = 0
    total: int = 0
    kind: str = ""
    id: str = ""
    name: str = ""
    outcome: str = ""
    reason: str = ""
    advice: str = ""
    counts: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    starts: list[str] = []
