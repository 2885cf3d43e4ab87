"""Network requests and responses (Docker Engine API v1.55)."""

from __future__ import annotations

from typing import Any

import msgspec


class EndpointIPAMConfig(msgspec.Struct, omit_defaults=True):
    """Addresses asked for."""

    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: list[str] | None = None


class EndpointSettings(msgspec.Struct):
    """A container's connection to a network: what was asked for, and what it got."""

    IPAMConfig: EndpointIPAMConfig | None = None
    Links: list[str] | None = None
    Aliases: list[str] | None = None
    MacAddress: str = ""
    DriverOpts: dict[str, str] | None = None
    GwPriority: int = 0
    NetworkID: str = ""
    EndpointID: str = ""
    Gateway: str = ""
    IPAddress: str = ""
    IPPrefixLen: int = 0
    IPv6Gateway: str = ""
    GlobalIPv6Address: str = ""
    GlobalIPv6PrefixLen: int = 0
    DNSNames: list[str] | None = None


class IPAMConfig(msgspec.Struct, omit_defaults=True):
    """One address range of a network."""

    Subnet: str = ""
    IPRange: str = ""
    Gateway: str = ""
    AuxiliaryAddresses: dict[str, str] | None = None


class IPAM(msgspec.Struct):
    """Address management of a network."""

    Driver: str = "default"
    Options: dict[str, str] | None = None
    Config: list[IPAMConfig] | None = None


class ConfigReference(msgspec.Struct):
    """A network whose configuration is used."""

    Network: str = ""


class NetworkCreate(msgspec.Struct):
    """Body of `POST /networks/create`."""

    Name: str = ""
    Driver: str = ""
    Scope: str = ""
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigOnly: bool = False
    ConfigFrom: ConfigReference | None = None
    IPAM: IPAM | None = None
    EnableIPv4: bool | None = None
    EnableIPv6: bool | None = None
    Options: dict[str, str] | None = None
    Labels: dict[str, str] | None = None
    CheckDuplicate: bool = False


class NetworkCreated(msgspec.Struct):
    """Answer to a create."""

    Id: str
    Warning: str


class NetworkConnect(msgspec.Struct):
    """Body of a connect."""

    Container: str = ""
    EndpointConfig: EndpointSettings | None = None


class NetworkDisconnect(msgspec.Struct):
    """Body of a disconnect."""

    Container: str = ""
    Force: bool = False


class NetworkContainer(msgspec.Struct):
    """A container in a network's inspect."""

    Name: str
    EndpointID: str
    MacAddress: str
    IPv4Address: str
    IPv6Address: str


class SubnetStatus(msgspec.Struct):
    """Addresses of a subnet: those in use or reserved, and those of its range that are still to be had."""

    IPsInUse: int
    DynamicIPsAvailable: int


class IPAMStatus(msgspec.Struct):
    """What is in use of a network's subnets."""

    Subnets: dict[str, SubnetStatus]


class NetworkStatus(msgspec.Struct):
    """What a network is doing."""

    IPAM: IPAMStatus


class Network(msgspec.Struct, kw_only=True):
    """A network as the API shows it."""

    Name: str
    Id: str
    Created: str
    Scope: str = "local"
    Driver: str
    EnableIPv4: bool = True
    EnableIPv6: bool = False
    IPAM: IPAM
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigFrom: ConfigReference = msgspec.field(default_factory=ConfigReference)
    ConfigOnly: bool = False
    Containers: dict[str, NetworkContainer] | msgspec.UnsetType = msgspec.field(default_factory=dict)
    Status: NetworkStatus | msgspec.UnsetType = msgspec.UNSET
    Options: dict[str, str]
    Labels: dict[str, str]
    Peers: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class NetworksPruned(msgspec.Struct):
    """Answer to a prune."""

    NetworksDeleted: list[str] | None
