"""`HostConfig` of a container, and what it consists of: limits, mounts, ports, devices."""

from __future__ import annotations

import msgspec

from darse.wire.base import NullableStrings, Wire


class WeightDevice(Wire):
    """A block device's relative weight."""

    Path: str = ""
    Weight: int = 0


class ThrottleDevice(Wire):
    """A block device's rate limit, in bytes or operations per second."""

    Path: str = ""
    Rate: int = 0


class DeviceMapping(Wire):
    """A host device shown in the container."""

    PathOnHost: str = ""
    PathInContainer: str = ""
    CgroupPermissions: str = ""


class DeviceRequest(Wire):
    """A request to a device driver, such as `--gpus`."""

    Driver: str = ""
    Count: int = 0
    DeviceIDs: NullableStrings = None
    Capabilities: list[list[str]] | None = None
    Options: dict[str, str] | None = None


class Ulimit(Wire):
    """One `setrlimit` pair."""

    Name: str = ""
    Soft: int = 0
    Hard: int = 0


class LogConfig(Wire):
    """The logging driver and its options."""

    Type: str = ""
    Config: dict[str, str] | None = None


class PortBinding(Wire):
    """The host's side of a published port."""

    HostIp: str = ""
    HostPort: str = ""


PortMap = dict[str, list[PortBinding] | None]


class RestartPolicy(Wire):
    """What to do when the container exits."""

    Name: str = ""
    MaximumRetryCount: int = 0


class BindOptions(Wire, omit_defaults=True):
    """Options of a `bind` mount."""

    Propagation: str = ""
    NonRecursive: bool = False
    CreateMountpoint: bool = False
    ReadOnlyNonRecursive: bool = False
    ReadOnlyForceRecursive: bool = False


class DriverConfig(Wire, omit_defaults=True):
    """A volume driver and its options."""

    Name: str = ""
    Options: dict[str, str] | None = None


class VolumeOptions(Wire, omit_defaults=True):
    """Options of a `volume` mount."""

    NoCopy: bool = False
    Labels: dict[str, str] | None = None
    DriverConfig: DriverConfig | None = None
    Subpath: str = ""


class ImageOptions(Wire, omit_defaults=True):
    """Options of an `image` mount."""

    Subpath: str = ""


class TmpfsOptions(Wire, omit_defaults=True):
    """Options of a `tmpfs` mount; the size is in bytes, the mode a number."""

    SizeBytes: int = 0
    Mode: int = 0
    Options: list[list[str]] | None = None


class ClusterOptions(Wire, omit_defaults=True):
    """Options of a `cluster` mount (none are defined)."""


class Mount(Wire, omit_defaults=True):
    """One `--mount`."""

    Target: str = ""
    Source: str = ""
    Type: str = ""
    ReadOnly: bool = False
    Consistency: str = ""
    BindOptions: BindOptions | None = None
    VolumeOptions: VolumeOptions | None = None
    ImageOptions: ImageOptions | None = None
    TmpfsOptions: TmpfsOptions | None = None
    ClusterOptions: ClusterOptions | None = None


class Resources(Wire):
    """Limits of a container; also the body of `update`."""

    CpuShares: int = 0
    Memory: int = 0
    NanoCpus: int = 0
    CgroupParent: str = ""
    BlkioWeight: int = 0
    BlkioWeightDevice: list[WeightDevice] | None = None
    BlkioDeviceReadBps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteBps: list[ThrottleDevice] | None = None
    BlkioDeviceReadIOps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteIOps: list[ThrottleDevice] | None = None
    CpuPeriod: int = 0
    CpuQuota: int = 0
    CpuRealtimePeriod: int = 0
    CpuRealtimeRuntime: int = 0
    CpusetCpus: str = ""
    CpusetMems: str = ""
    Devices: list[DeviceMapping] | None = None
    DeviceCgroupRules: NullableStrings = None
    DeviceRequests: list[DeviceRequest] | None = None
    MemoryReservation: int = 0
    MemorySwap: int = 0
    MemorySwappiness: int | None = None
    OomKillDisable: bool | None = None
    PidsLimit: int | None = None
    Ulimits: list[Ulimit] | None = None
    CpuCount: int = 0
    CpuPercent: int = 0
    IOMaximumIOps: int = 0
    IOMaximumBandwidth: int = 0
    # No kernel of today has these limits: a request is warned, and nothing is stored.
    KernelMemory: int | msgspec.UnsetType = msgspec.UNSET
    KernelMemoryTCP: int | msgspec.UnsetType = msgspec.UNSET


class HostConfig(Resources):
    """What of a container depends on the host it runs on."""

    Binds: NullableStrings = None
    ContainerIDFile: str = ""
    LogConfig: LogConfig = msgspec.field(default_factory=LogConfig)
    NetworkMode: str = ""
    PortBindings: PortMap | None = None
    RestartPolicy: RestartPolicy = msgspec.field(default_factory=RestartPolicy)
    AutoRemove: bool = False
    VolumeDriver: str = ""
    VolumesFrom: NullableStrings = None
    Mounts: list[Mount] | None = None
    ConsoleSize: list[int] | None = None
    Annotations: dict[str, str] | None = None
    CapAdd: NullableStrings = None
    CapDrop: NullableStrings = None
    CgroupnsMode: str = ""
    Dns: NullableStrings = None
    DnsOptions: NullableStrings = None
    DnsSearch: NullableStrings = None
    ExtraHosts: NullableStrings = None
    GroupAdd: NullableStrings = None
    IpcMode: str = ""
    Cgroup: str = ""
    Links: NullableStrings = None
    OomScoreAdj: int = 0
    PidMode: str = ""
    Privileged: bool = False
    PublishAllPorts: bool = False
    ReadonlyRootfs: bool = False
    SecurityOpt: NullableStrings = None
    StorageOpt: dict[str, str] | None = None
    Tmpfs: dict[str, str] | None = None
    UTSMode: str = ""
    UsernsMode: str = ""
    ShmSize: int = 0
    Sysctls: dict[str, str] | None = None
    Runtime: str = ""
    Isolation: str = ""
    Init: bool | None = None
    MaskedPaths: NullableStrings = None
    ReadonlyPaths: NullableStrings = None
