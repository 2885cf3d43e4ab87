"""Container requests and responses (Docker Engine API v1.55, definitions of the same names).

Field names are the API's. `None` is the API's `null`; what the API calls optional has Go's zero value as its
default, because clients leave fields out and send `null` for them interchangeably.
"""

from __future__ import annotations

from typing import Any

import msgspec

from darse.wire.base import NullableStrings, Wire
from darse.wire.host_config import HostConfig, PortMap
from darse.wire.networks import EndpointSettings


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
    """`NetworkSettings` of an inspect."""

    SandboxID: str = ""
    SandboxKey: str = ""
    Ports: PortMap = msgspec.field(default_factory=dict)
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


class HealthSummary(Wire):
    """The part of a health check's state that a list shows."""

    Status: str = "none"
    FailingStreak: int = 0


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
    Health: HealthSummary | msgspec.UnsetType = msgspec.UNSET
