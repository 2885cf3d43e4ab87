"""Documents of a container's host configuration."""

from __future__ import annotations

from typing import TypedDict


class WeightDeviceDocument(TypedDict, total=False):
    """A block device's relative weight."""

    Path: str
    Weight: int


class ThrottleDeviceDocument(TypedDict, total=False):
    """A block device's rate limit, in bytes or operations per second."""

    Path: str
    Rate: int


class DeviceMappingDocument(TypedDict, total=False):
    """A host device shown in the container."""

    PathOnHost: str
    PathInContainer: str
    CgroupPermissions: str


class DeviceRequestDocument(TypedDict, total=False):
    """A request to a device driver, such as `--gpus`."""

    Driver: str
    Count: int
    DeviceIDs: list[str] | None
    Capabilities: list[list[str]] | None
    Options: dict[str, str] | None


class UlimitDocument(TypedDict, total=False):
    """One `setrlimit` pair."""

    Name: str
    Soft: int
    Hard: int


class ResourcesDocument(TypedDict, total=False):
    """The limits of a container, which an update may change, too."""

    CpuShares: int
    Memory: int
    NanoCpus: int
    CgroupParent: str
    BlkioWeight: int
    BlkioWeightDevice: list[WeightDeviceDocument] | None
    BlkioDeviceReadBps: list[ThrottleDeviceDocument] | None
    BlkioDeviceWriteBps: list[ThrottleDeviceDocument] | None
    BlkioDeviceReadIOps: list[ThrottleDeviceDocument] | None
    BlkioDeviceWriteIOps: list[ThrottleDeviceDocument] | None
    CpuPeriod: int
    CpuQuota: int
    CpuRealtimePeriod: int
    CpuRealtimeRuntime: int
    CpusetCpus: str
    CpusetMems: str
    Devices: list[DeviceMappingDocument] | None
    DeviceCgroupRules: list[str] | None
    DeviceRequests: list[DeviceRequestDocument] | None
    MemoryReservation: int
    MemorySwap: int
    MemorySwappiness: int | None
    OomKillDisable: bool | None
    PidsLimit: int | None
    Ulimits: list[UlimitDocument] | None
    KernelMemory: int


class LogConfigDocument(TypedDict, total=False):
    """The logging driver and its options."""

    Type: str
    Config: dict[str, str] | None


class PortBindingDocument(TypedDict, total=False):
    """The host's side of a published port."""

    HostIp: str
    HostPort: str


class RestartPolicyDocument(TypedDict, total=False):
    """What to do when the container exits."""

    Name: str
    MaximumRetryCount: int


class BindOptionsDocument(TypedDict, total=False):
    """Options of a `bind` mount."""


class MountDocument(TypedDict, total=False):
    """One `--mount`."""

    Target: str
    Source: str
    Type: str
    BindOptions: BindOptionsDocument | None


class HostConfigDocument(ResourcesDocument, total=False):
    """What of a container depends on the host it runs on."""

    Binds: list[str] | None
    ContainerIDFile: str
    LogConfig: LogConfigDocument
    NetworkMode: str
    PortBindings: dict[str, list[PortBindingDocument] | None] | None
    RestartPolicy: RestartPolicyDocument
    AutoRemove: bool
    VolumeDriver: str
    VolumesFrom: list[str] | None
    Mounts: list[MountDocument] | None
    ConsoleSize: list[int] | None
    Annotations: dict[str, str] | None
    CapAdd: list[str] | None
    CapDrop: list[str] | None
    CgroupnsMode: str
    Dns: list[str] | None
    DnsOptions: list[str] | None
    DnsSearch: list[str] | None
    ExtraHosts: list[str] | None
    GroupAdd: list[str] | None
    IpcMode: str
    Links: list[str] | None
    OomScoreAdj: int
    PidMode: str
    Privileged: bool
    PublishAllPorts: bool
    ReadonlyRootfs: bool
    SecurityOpt: list[str] | None
    StorageOpt: dict[str, str] | None
    Tmpfs: dict[str, str] | None
    UTSMode: str
    UsernsMode: str
    ShmSize: int
    Sysctls: dict[str, str] | None
    Runtime: str
    Isolation: str
    Init: bool | None
    MaskedPaths: list[str] | None
    ReadonlyPaths: list[str] | None
