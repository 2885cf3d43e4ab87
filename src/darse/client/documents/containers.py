"""Documents of `/containers`, `/exec` and checkpoints."""

from __future__ import annotations

from typing import Any, TypedDict

from darse.client.documents.host_config import HostConfigDocument, PortBindingDocument
from darse.client.documents.networks import EndpointSettingsDocument


class HealthResultDocument(TypedDict, total=False):
    """What one probe of a health check found."""

    ExitCode: int


class HealthDocument(TypedDict, total=False):
    """State of a health check."""

    Status: str
    Log: list[HealthResultDocument] | None


class ContainerStateDocument(TypedDict, total=False):
    """`State` of an inspect."""

    Status: str
    Running: bool
    Paused: bool
    ExitCode: int
    Error: str
    StartedAt: str
    Health: HealthDocument


class MountPointDocument(TypedDict, total=False):
    """A mount as inspect and list show it."""

    Type: str
    Name: str
    Source: str
    Destination: str
    Driver: str
    RW: bool


class HealthConfigDocument(TypedDict, total=False):
    """`HEALTHCHECK`; durations in nanoseconds, 0 means inherit."""

    Test: list[str] | None
    Interval: int
    Timeout: int
    Retries: int
    StartPeriod: int
    StartInterval: int


class ContainerConfigDocument(TypedDict, total=False):
    """What of a container does not depend on the host it runs on."""

    Hostname: str
    Domainname: str
    User: str
    AttachStdin: bool
    AttachStdout: bool
    AttachStderr: bool
    ExposedPorts: dict[str, dict[str, Any]] | None
    Tty: bool
    OpenStdin: bool
    StdinOnce: bool
    Env: list[str] | None
    Cmd: list[str] | None
    Healthcheck: HealthConfigDocument | None
    Image: str
    Volumes: dict[str, dict[str, Any]] | None
    WorkingDir: str
    Entrypoint: list[str] | None
    MacAddress: str
    Labels: dict[str, str] | None
    StopSignal: str
    StopTimeout: int | None


class NetworkSettingsDocument(TypedDict, total=False):
    """`NetworkSettings` of an inspect."""

    Ports: dict[str, list[PortBindingDocument] | None]
    Networks: dict[str, EndpointSettingsDocument]


class ContainerInspectDocument(TypedDict, total=False):
    """Answer to an inspect."""

    Id: str
    Created: str
    Path: str
    State: ContainerStateDocument
    Image: str
    Name: str
    Driver: str
    Platform: str
    HostConfig: HostConfigDocument
    SizeRw: int
    SizeRootFs: int
    Mounts: list[MountPointDocument]
    Config: ContainerConfigDocument
    NetworkSettings: NetworkSettingsDocument


class PortDocument(TypedDict, total=False):
    """A port in a list entry."""

    IP: str
    PrivatePort: int
    PublicPort: int
    Type: str


class SummaryHostConfigDocument(TypedDict, total=False):
    """The part of the host configuration that a list shows."""

    NetworkMode: str
    Annotations: dict[str, str] | None


class SummaryNetworkSettingsDocument(TypedDict, total=False):
    """The part of the network settings that a list shows."""

    Networks: dict[str, EndpointSettingsDocument]


class HealthSummaryDocument(TypedDict, total=False):
    """The part of a health check's state that a list shows."""

    Status: str


class ContainerSummaryDocument(TypedDict, total=False):
    """One entry of a list."""

    Id: str
    Names: list[str]
    Image: str
    ImageID: str
    Command: str
    Created: int
    Ports: list[PortDocument]
    SizeRw: int
    SizeRootFs: int
    Labels: dict[str, str]
    State: str
    Status: str
    HostConfig: SummaryHostConfigDocument
    NetworkSettings: SummaryNetworkSettingsDocument
    Mounts: list[MountPointDocument]
    Health: HealthSummaryDocument


class CreateResponseDocument(TypedDict, total=False):
    """Answer to a create."""

    Id: str
    Warnings: list[str]


class ContainersPrunedDocument(TypedDict, total=False):
    """Answer to a prune."""

    ContainersDeleted: list[str] | None
    SpaceReclaimed: int


class WaitErrorDocument(TypedDict, total=False):
    """Why a wait failed."""

    Message: str


class WaitResponseDocument(TypedDict, total=False):
    """Answer to a wait."""

    StatusCode: int
    Error: WaitErrorDocument | None


class NetworkingConfigDocument(TypedDict, total=False):
    """The networks to connect a container to when it is created."""

    EndpointsConfig: dict[str, EndpointSettingsDocument] | None


class CreateRequestDocument(ContainerConfigDocument, total=False):
    """Body of `POST /containers/create`: a ContainerConfig with two more members."""

    HostConfig: HostConfigDocument
    NetworkingConfig: NetworkingConfigDocument


class ExecConfigDocument(TypedDict, total=False):
    """Body of `POST /containers/{id}/exec`."""

    AttachStdin: bool
    AttachStdout: bool
    AttachStderr: bool
    ConsoleSize: list[int] | None
    DetachKeys: str
    Tty: bool
    Env: list[str] | None
    Cmd: list[str] | None
    Privileged: bool
    User: str
    WorkingDir: str
    Detach: bool


class ExecStartRequestDocument(TypedDict, total=False):
    """Body of `POST /exec/{id}/start`."""

    Detach: bool
    Tty: bool
    ConsoleSize: list[int] | None


class ExecInspectDocument(TypedDict, total=False):
    """Answer to an exec inspect."""

    ID: str
    Running: bool
    ExitCode: int | None
    OpenStdin: bool
    DetachKeys: str


class CheckpointSummaryDocument(TypedDict, total=False):
    """A checkpoint in a list."""

    Name: str


class ContainerPathStatDocument(TypedDict, total=False):
    """The document in `X-Docker-Container-Path-Stat`. `mode` has the bits of Go's os.FileMode."""

    name: str
    size: int
    mode: int
    linkTarget: str
