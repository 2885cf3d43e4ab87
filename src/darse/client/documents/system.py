"""Documents of the engine as a whole and registries."""

from __future__ import annotations

from typing import TypedDict

from darse.client.documents.containers import ContainerSummaryDocument
from darse.client.documents.images import DescriptorDocument, ImageSummaryDocument
from darse.client.documents.volumes import VolumeDocument


class EnginePlatformDocument(TypedDict, total=False):
    """The product."""

    Name: str


class ComponentDocument(TypedDict, total=False):
    """A part of the engine with its version."""

    Name: str
    Version: str
    Details: dict[str, str]


class VersionDocument(TypedDict, total=False):
    """Answer to `version`."""

    Platform: EnginePlatformDocument
    Components: list[ComponentDocument]
    Version: str
    ApiVersion: str
    MinAPIVersion: str
    GitCommit: str
    GoVersion: str
    Os: str
    Arch: str
    KernelVersion: str
    BuildTime: str
    Experimental: bool


class PluginsDocument(TypedDict, total=False):
    """Drivers by kind."""

    Volume: list[str]
    Network: list[str]
    Authorization: list[str] | None
    Log: list[str]


class IndexConfigDocument(TypedDict, total=False):
    """How a registry is used."""

    Name: str
    Mirrors: list[str]
    Secure: bool


class RegistryConfigDocument(TypedDict, total=False):
    """How registries are used."""

    InsecureRegistryCIDRs: list[str]
    IndexConfigs: dict[str, IndexConfigDocument]
    Mirrors: list[str]


class RuntimeDocument(TypedDict, total=False):
    """An OCI runtime."""

    path: str


class SwarmInfoDocument(TypedDict, total=False):
    """Membership of a cluster."""

    LocalNodeState: str
    Error: str


class CommitDocument(TypedDict, total=False):
    """A program's version, where docker has the commit it was built from."""

    ID: str


class PoolDocument(TypedDict, total=False):
    """A range that networks are cut from."""

    Base: str
    Size: int


class InfoDocument(TypedDict, total=False):
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
    Plugins: PluginsDocument
    PidsLimit: bool
    OomKillDisable: bool
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
    OSType: str
    Architecture: str
    NCPU: int
    MemTotal: int
    RegistryConfig: RegistryConfigDocument
    HttpProxy: str
    HttpsProxy: str
    NoProxy: str
    Name: str
    Labels: list[str]
    ExperimentalBuild: bool
    ServerVersion: str
    Runtimes: dict[str, RuntimeDocument]
    DefaultRuntime: str
    Swarm: SwarmInfoDocument
    LiveRestoreEnabled: bool
    Isolation: str
    InitBinary: str
    ContainerdCommit: CommitDocument
    RuncCommit: CommitDocument
    InitCommit: CommitDocument
    SecurityOptions: list[str]
    DefaultAddressPools: list[PoolDocument]
    CDISpecDirs: list[str]
    Warnings: list[str] | None


class BuildCacheRecordDocument(TypedDict, total=False):
    """A record of the build cache."""

    ID: str
    Parents: list[str] | None
    Type: str
    Description: str
    InUse: bool
    Shared: bool
    Size: int
    CreatedAt: str
    LastUsedAt: str | None
    UsageCount: int


class DiskUsageDocument(TypedDict, total=False):
    """Answer to `GET /system/df`, as it is up to version 1.51 of the API."""

    LayersSize: int
    Images: list[ImageSummaryDocument] | None
    Containers: list[ContainerSummaryDocument] | None
    Volumes: list[VolumeDocument] | None
    BuildCache: list[BuildCacheRecordDocument] | None


class CachesPrunedDocument(TypedDict, total=False):
    """Answer to `POST /build/prune`."""

    CachesDeleted: list[str] | None
    SpaceReclaimed: int


class FindingDocument(TypedDict, total=False):
    """One result of `doctor`: how bad (`ok`, `note`, `problem`), what, and what to do."""

    level: str
    check: str
    found: str
    advice: str


class ImportMessageDocument(TypedDict, total=False):
    """A line of such an import: how far it is (`doing`, `done` of `total`), or what became of one object."""

    doing: str
    done: int
    total: int
    kind: str
    id: str
    name: str
    outcome: str
    reason: str
    advice: str
    counts: dict[str, int]
    starts: list[str]


class CheckMessageDocument(TypedDict, total=False):
    """A line of a check: how far it is (`doing`, `done` of `total`), or a finding (`level` problem or note)."""

    doing: str
    done: int
    total: int
    level: str
    subject: str
    finding: str
    advice: str
    repaired: bool
    pull: str
    problems: int
    images: int
    layers: int
    bytes: int


class AuthConfigDocument(TypedDict, total=False):
    """Credentials, as clients send them in the header X-Registry-Auth, and to `/auth`."""

    username: str
    password: str
    auth: str
    serveraddress: str
    identitytoken: str
    registrytoken: str


class AuthResponseDocument(TypedDict, total=False):
    """Answer to a login."""

    Status: str
    IdentityToken: str


class DistributionInspectDocument(TypedDict, total=False):
    """What a registry has under a name."""

    Descriptor: DescriptorDocument


class EventActorDocument(TypedDict, total=False):
    """The object of an event."""

    ID: str
    Attributes: dict[str, str] | None


class EventDocument(TypedDict, total=False):
    """An event."""

    Type: str
    Action: str
    Actor: EventActorDocument
    time: int
    timeNano: int


class OperationStepDocument(TypedDict, total=False):
    """A step of an operation; times in nanoseconds."""

    kind: str
    summary: str
    command: list[str]
    begin_ns: int
    duration_ns: int
    failed: str


class OperationDocument(TypedDict, total=False):
    """An operation of the engine, with what it did to the host."""

    name: str
    subject: str
    started_at_ns: int
    duration_ns: int
    steps: list[OperationStepDocument]
    outcome: str


class RecordedOperationDocument(TypedDict, total=False):
    """An operation in the list of those that are on record; `steps` is how many it had."""

    id: str
    container: str
    name: str
    started_at_ns: int
    duration_ns: int
    steps: int
    outcome: str


class NameQueryDocument(TypedDict, total=False):
    """A query of a look-up, the rule by which it is answered, and the answer."""

    name: str
    type: str
    rule: str
    network: str
    target: str
    servers: list[str]
    origin: str
    answers: list[str]
    code: int


class NameLookupDocument(TypedDict, total=False):
    """How a name is looked up from a container."""

    name: str
    container: str
    servers: list[str]
    ndots: int
    search: list[str]
    hosts: list[str]
    note: str
    queries: list[NameQueryDocument]
