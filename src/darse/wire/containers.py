"""Container requests and responses (Docker Engine API v1.51, definitions of the same names).

Field names are the API's. `None` is the API's `null`; what the API calls optional has Go's zero value as its
default, because clients leave fields out and send `null` for them interchangeably.

Unknown members are refused at the door (`darse.api.body`), not here: a stored document may have been written by
another version.
"""

from __future__ import annotations

from typing import Any

import msgspec

from darse.wire.networks import EndpointSettings

NullableStrings = list[str] | None


class Wire(msgspec.Struct):
    """Base of the API's objects."""


class HealthConfig(Wire, omit_defaults=True):
    """`HEALTHCHECK`; durations in nanoseconds, 0 means inherit."""

    Test: NullableStrings = None
    Interval: int = 0
    Timeout: int = 0
    Retries: int = 0
    StartPeriod: int = 0
    StartInterval: int = 0


class ContainerConfig(Wire):
    """What of a container does not depend on the host it runs on."""

    Hostname: str = ""
    Domainname: str = ""
    User: str = ""
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ExposedPorts: dict[str, dict[str, Any]] | None = None
    Tty: bool = False
    OpenStdin: bool = False
    StdinOnce: bool = False
    Env: NullableStrings = None
    Cmd: NullableStrings = None
    Healthcheck: HealthConfig | None = None
    ArgsEscaped: bool = False
    Image: str = ""
    Volumes: dict[str, dict[str, Any]] | None = None
    WorkingDir: str = ""
    Entrypoint: NullableStrings = None
    NetworkDisabled: bool = False
    MacAddress: str = ""
    OnBuild: NullableStrings = None
    Labels: dict[str, str] | None = None
    StopSignal: str = ""
    StopTimeout: int | None = None
    Shell: NullableStrings = None


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


class NetworkingConfig(Wire):
    """The networks to connect a container to when it is created."""

    EndpointsConfig: dict[str, EndpointSettings] | None = None


class CreateRequest(ContainerConfig):
    """Body of `POST /containers/create`: a ContainerConfig with two more members."""

    HostConfig: HostConfig = msgspec.field(default_factory=HostConfig)
    NetworkingConfig: NetworkingConfig = msgspec.field(default_factory=NetworkingConfig)

    def container_config(self) -> ContainerConfig:
        """The part of the request that is the container's own configuration."""
        return ContainerConfig(**{name: getattr(self, name) for name in ContainerConfig.__struct_fields__})


class CreateResponse(Wire):
    """Answer to a create."""

    Id: str
    Warnings: list[str]


class ContainersPruned(Wire):
    """Answer to a prune."""

    ContainersDeleted: list[str] | None
    SpaceReclaimed: int


class WaitError(Wire):
    """Why a wait failed."""

    Message: str


class WaitResponse(Wire, omit_defaults=True):
    """Answer to a wait."""

    StatusCode: int
    Error: WaitError | None = None


class HealthResult(Wire):
    """What one probe of a health check found."""

    Start: str
    End: str
    ExitCode: int
    Output: str


class Health(Wire):
    """State of a health check."""

    Status: str = "none"
    FailingStreak: int = 0
    Log: list[HealthResult] | None = None


class ContainerState(Wire, kw_only=True):
    """`State` of an inspect."""

    Status: str
    Running: bool
    Paused: bool
    Restarting: bool
    OOMKilled: bool
    Dead: bool
    Pid: int
    ExitCode: int
    Error: str
    StartedAt: str
    FinishedAt: str
    Health: Health | msgspec.UnsetType = msgspec.UNSET


class MountPoint(Wire, kw_only=True):
    """A mount as inspect and list show it."""

    Type: str
    Name: str | msgspec.UnsetType = msgspec.UNSET
    Source: str
    Destination: str
    Driver: str | msgspec.UnsetType = msgspec.UNSET
    Mode: str = ""
    RW: bool = True
    Propagation: str = ""


class NetworkSettings(Wire, kw_only=True):
    """`NetworkSettings` of an inspect; the top-level address members repeat those of the default bridge."""

    Bridge: str = ""
    SandboxID: str = ""
    SandboxKey: str = ""
    Ports: PortMap = msgspec.field(default_factory=dict)
    HairpinMode: bool = False
    LinkLocalIPv6Address: str = ""
    LinkLocalIPv6PrefixLen: int = 0
    SecondaryIPAddresses: list[dict[str, Any]] | None = None
    SecondaryIPv6Addresses: list[dict[str, Any]] | None = None
    EndpointID: str = ""
    Gateway: str = ""
    GlobalIPv6Address: str = ""
    GlobalIPv6PrefixLen: int = 0
    IPAddress: str = ""
    IPPrefixLen: int = 0
    IPv6Gateway: str = ""
    MacAddress: str = ""
    Networks: dict[str, EndpointSettings] = msgspec.field(default_factory=dict)


class GraphDriver(Wire):
    """Where a root file system is stored."""

    Name: str
    Data: dict[str, str] | None


class ContainerInspect(Wire, kw_only=True):
    """Answer to an inspect."""

    Id: str
    Created: str
    Path: str
    Args: list[str]
    State: ContainerState
    Image: str
    ResolvConfPath: str
    HostnamePath: str
    HostsPath: str
    LogPath: str
    Name: str
    RestartCount: int
    Driver: str
    Platform: str
    MountLabel: str = ""
    ProcessLabel: str = ""
    AppArmorProfile: str = ""
    ExecIDs: list[str] | None = None
    HostConfig: HostConfig
    GraphDriver: GraphDriver
    SizeRw: int | msgspec.UnsetType = msgspec.UNSET
    SizeRootFs: int | msgspec.UnsetType = msgspec.UNSET
    Mounts: list[MountPoint]
    Config: ContainerConfig
    NetworkSettings: NetworkSettings


class Port(Wire, omit_defaults=True, kw_only=True):
    """A port in a list entry."""

    IP: str = ""
    PrivatePort: int
    PublicPort: int = 0
    Type: str


class SummaryHostConfig(Wire, omit_defaults=True):
    """The part of the host configuration that a list shows."""

    NetworkMode: str = ""
    Annotations: dict[str, str] | None = None


class SummaryNetworkSettings(Wire):
    """The part of the network settings that a list shows."""

    Networks: dict[str, EndpointSettings]


class ContainerSummary(Wire, kw_only=True):
    """One entry of a list."""

    Id: str
    Names: list[str]
    Image: str
    ImageID: str
    Command: str
    Created: int
    Ports: list[Port]
    SizeRw: int | msgspec.UnsetType = msgspec.UNSET
    SizeRootFs: int | msgspec.UnsetType = msgspec.UNSET
    Labels: dict[str, str]
    State: str
    Status: str
    HostConfig: SummaryHostConfig
    NetworkSettings: SummaryNetworkSettings
    Mounts: list[MountPoint]


class ExecConfig(Wire):
    """Body of `POST /containers/{id}/exec`."""

    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ConsoleSize: list[int] | None = None
    DetachKeys: str = ""
    Tty: bool = False
    Env: NullableStrings = None
    Cmd: NullableStrings = None
    Privileged: bool = False
    User: str = ""
    WorkingDir: str = ""
    Detach: bool = False


class ExecStartRequest(Wire):
    """Body of `POST /exec/{id}/start`."""

    Detach: bool = False
    Tty: bool = False
    ConsoleSize: list[int] | None = None


class ExecProcess(Wire):
    """The process of an exec inspect."""

    tty: bool
    entrypoint: str
    arguments: list[str]
    privileged: bool | None = None
    user: str = ""


class ExecInspect(Wire, kw_only=True):
    """Answer to an exec inspect."""

    ID: str
    Running: bool
    ExitCode: int | None
    ProcessConfig: ExecProcess
    OpenStdin: bool
    OpenStderr: bool
    OpenStdout: bool
    CanRemove: bool = False
    ContainerID: str
    DetachKeys: str = ""
    Pid: int
