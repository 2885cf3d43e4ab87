"""docker's records as they are on the disk (moby 20.10 to 28, `image/`, `layer/`, `container/`, `libnetwork/`).

Members that are not used here are left out; `null` is the same as nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from darse.core.errors import InvalidParameter
from darse.wire.containers import ContainerConfig
from darse.wire.networks import EndpointIPAMConfig

T = TypeVar("T")
# What Go's clients can read: it is shown to them.
_Number = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class DockerLayer(msgspec.Struct, frozen=True):
    """A layer: where its files are, and its archive's metadata."""

    files: Path
    tar_split: Path


class DockerImage(msgspec.Struct, frozen=True):
    """An image: the document that its id is the digest of, and the image that it was built on."""

    id: str
    config: bytes
    diff_ids: list[str]
    parent: str
    names: list[str]


class DockerVolume(msgspec.Struct, frozen=True):
    """A volume, and where its files are."""

    name: str
    driver: str
    labels: dict[str, str]
    options: dict[str, str]
    data: Path


class IPAMPool(msgspec.Struct, frozen=True):
    """A pool that was asked for; and one that was given (`IPAMData` is a document of its own)."""

    PreferredPool: str = ""
    SubPool: str = ""
    Gateway: str = ""
    AuxAddresses: dict[str, str] = {}
    IPAMData: str = ""


class IPAMData(msgspec.Struct, frozen=True):
    """What was given: addresses with the length of their prefix."""

    Pool: str = ""
    Gateway: str = ""


class DockerNetwork(msgspec.Struct, frozen=True):
    """A network in libnetwork's store. The pools are documents of their own, as text."""

    name: str = ""
    id: str = ""
    networkType: str = ""
    scope: str = "local"
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    configOnly: bool = False
    configFrom: str = ""
    enableIPv6: bool = False
    inDelete: bool = False
    dynamic: bool = False
    ipamType: str = "default"
    ipamOptions: dict[str, str] = {}
    ipamV4Config: str = ""
    ipamV6Config: str = ""
    ipamV4Info: str = ""
    ipamV6Info: str = ""
    labels: dict[str, str] = {}
    generic: dict[str, Any] = {}


class DockerState(msgspec.Struct, frozen=True):
    """What became of a container last."""

    Running: bool = False
    Pid: _Number = 0
    ExitCode: _Number = 0
    Error: str = ""
    OOMKilled: bool = False
    StartedAt: str = ""
    FinishedAt: str = ""


class DockerMountPoint(msgspec.Struct, frozen=True):
    """A mount of a container, as it was resolved."""

    Type: str = ""
    Source: str = ""
    Destination: str = ""
    Name: str = ""
    Driver: str = ""
    RW: bool = True
    Propagation: str = ""


class DockerEndpoint(msgspec.Struct, frozen=True):
    """A container's connection to a network: what was asked for."""

    IPAMConfig: EndpointIPAMConfig | None = None
    Links: list[str] = []
    Aliases: list[str] = []
    DriverOpts: dict[str, str] = {}
    GwPriority: _Number = 0


class DockerNetworkSettings(msgspec.Struct, frozen=True):
    """A container's connections."""

    Networks: dict[str, DockerEndpoint] = {}


class DockerContainer(msgspec.Struct, frozen=True):
    """`config.v2.json` of a container."""

    ID: str = ""
    Name: str = ""
    Created: str = ""
    Image: str = ""
    Driver: str = ""
    OS: str = "linux"
    RestartCount: _Number = 0
    HasBeenStartedBefore: bool = False
    HasBeenManuallyStopped: bool = False
    State: DockerState = DockerState()
    Config: ContainerConfig = msgspec.field(default_factory=ContainerConfig)
    MountPoints: dict[str, DockerMountPoint] = {}
    NetworkSettings: DockerNetworkSettings = DockerNetworkSettings()


def decoded(data: bytes | str, type_: type[T], what: str) -> T:
    """Read one of docker's documents. Raises InvalidParameter that begins with `what`."""
    try:
        return msgspec.convert(_without_nulls(msgspec.json.decode(data)), type_)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidParameter(f"{what} is damaged: {error}") from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value
