"""Documents of `/networks`, and the connections of containers to them."""

from __future__ import annotations

from typing import TypedDict


class EndpointIPAMConfigDocument(TypedDict, total=False):
    """Addresses asked for."""

    IPv4Address: str
    IPv6Address: str
    LinkLocalIPs: list[str] | None


class EndpointSettingsDocument(TypedDict, total=False):
    """A container's connection to a network: what was asked for, and what it got."""

    IPAMConfig: EndpointIPAMConfigDocument | None
    Links: list[str] | None
    Aliases: list[str] | None
    MacAddress: str
    DriverOpts: dict[str, str] | None
    GwPriority: int
    NetworkID: str
    Gateway: str
    GlobalIPv6Address: str


class ConfigReferenceDocument(TypedDict, total=False):
    """A network whose configuration is used."""

    Network: str


class IPAMConfigDocument(TypedDict, total=False):
    """One address range of a network."""

    Subnet: str
    IPRange: str
    Gateway: str
    AuxiliaryAddresses: dict[str, str] | None


class IPAMDocument(TypedDict, total=False):
    """Address management of a network."""

    Driver: str
    Options: dict[str, str] | None
    Config: list[IPAMConfigDocument] | None


class NetworkCreateDocument(TypedDict, total=False):
    """Body of `POST /networks/create`."""

    Name: str
    Driver: str
    Scope: str
    Internal: bool
    Attachable: bool
    Ingress: bool
    ConfigOnly: bool
    ConfigFrom: ConfigReferenceDocument | None
    IPAM: IPAMDocument | None
    EnableIPv4: bool | None
    EnableIPv6: bool | None
    Options: dict[str, str] | None
    Labels: dict[str, str] | None


class NetworkConnectDocument(TypedDict, total=False):
    """Body of a connect."""

    Container: str
    EndpointConfig: EndpointSettingsDocument | None


class NetworkDisconnectDocument(TypedDict, total=False):
    """Body of a disconnect."""

    Container: str
    Force: bool


class NetworkContainerDocument(TypedDict, total=False):
    """A container in a network's inspect."""

    Name: str
    MacAddress: str
    IPv4Address: str
    IPv6Address: str


class IPAMStatusDocument(TypedDict, total=False):
    """What is in use of a network's subnets."""


class NetworkStatusDocument(TypedDict, total=False):
    """What a network is doing."""

    IPAM: IPAMStatusDocument


class NetworkDocument(TypedDict, total=False):
    """A network as the API shows it."""

    Name: str
    Id: str
    Created: str
    Scope: str
    Driver: str
    EnableIPv4: bool
    EnableIPv6: bool
    IPAM: IPAMDocument
    Internal: bool
    Attachable: bool
    Ingress: bool
    ConfigFrom: ConfigReferenceDocument
    ConfigOnly: bool
    Containers: dict[str, NetworkContainerDocument]
    Status: NetworkStatusDocument
    Options: dict[str, str]
    Labels: dict[str, str]


class NetworkCreatedDocument(TypedDict, total=False):
    """Answer to a create."""

    Id: str
    Warning: str


class NetworksPrunedDocument(TypedDict, total=False):
    """Answer to a prune."""

    NetworksDeleted: list[str] | None
