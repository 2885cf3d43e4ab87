"""Networks and sandboxes as they are stored.

A network has a driver and, with one that gives addresses, pools: subnets of either family. A sandbox is a network
stack: a namespace and, for each network it is connected to, an endpoint with addresses. It belongs to one container,
its owner, and exists while that one runs; others may join it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import msgspec

from darse.core.documents import DocumentCodec
from darse.core.errors import Conflict
from darse.linux.net.netns import Owner
from darse.wire.host_config import PortMap
from darse.wire.networks import EndpointSettings

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class SubnetPool(msgspec.Struct, kw_only=True, frozen=True):
    """A subnet of a network: where its endpoints' addresses come from. Addresses are text, empty for none."""

    subnet: str
    gateway: str = ""
    #: The part of the subnet that addresses are chosen from; all of it when empty.
    ip_range: str = ""
    #: Addresses that no endpoint gets, by name (`--aux-address`).
    reserved: dict[str, str] = {}
    #: What the IPAM driver calls it.
    id: str = ""

    @property
    def network(self) -> IPNetwork:
        """The subnet."""
        return ipaddress.ip_network(self.subnet)

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.subnet else 4


class NetworkRecord(msgspec.Struct, kw_only=True):
    """What is stored of a network."""

    id: str
    name: str
    driver: str
    created_ns: int
    pools: list[SubnetPool] = []
    #: Where endpoints send what is for elsewhere, unless it is the gateway (`--default-gateway[-v6]`).
    default_gateway: str = msgspec.field(default="", name="way_out")
    default_gateway6: str = msgspec.field(default="", name="way_out6")
    ipam_driver: str = "default"
    ipam_options: dict[str, str] = {}
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    bridge: str = ""
    #: The administrator's bridge, which the engine uses and leaves alone (`--bridge`).
    foreign: bool = False
    #: A configuration network, see networks/configurations.py; its pools are nobody's lease.
    config_only: bool = False
    #: The name of the configuration network that this one was made from.
    config_from: str = ""

    def pools_of(self, version: int) -> list[SubnetPool]:
        """The pools of a family, 4 or 6."""
        return [pool for pool in self.pools if pool.version == version]

    def pool(self, version: int) -> SubnetPool | None:
        """The first pool of a family."""
        return next((pool for pool in self.pools if pool.version == version), None)

    @property
    def subnet(self) -> str:
        """The first IPv4 subnet, empty without one."""
        pool = self.pool(4)
        return pool.subnet if pool is not None else ""

    @property
    def gateway(self) -> str:
        """The gateway of the first IPv4 subnet, empty without one."""
        pool = self.pool(4)
        return pool.gateway if pool is not None else ""


class StaticRoute(msgspec.Struct, frozen=True):
    """A route of a sandbox; without a `next_hop` the destination is on the link."""

    destination: str
    next_hop: str = ""


class NameLookup(msgspec.Struct, frozen=True):
    """How a container with a name server has names looked up that are not of containers."""

    #: The servers that it asked for (`--dns`), asked from its namespace; none: the host's, from the host's.
    servers: list[str] = []
    #: Whether the option `ndots` is set: names without a dot are completed before they are asked outside.
    ndots: bool = False


class Endpoint(msgspec.Struct, kw_only=True):
    """A sandbox's connection to one network."""

    network_id: str
    network_name: str
    endpoint_id: str
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    link_local: list[str] = []
    mac: str = ""
    #: What the driver has on the host for it; empty when it has nothing there.
    link: str = ""
    #: Its interface inside; empty in records of older engines.
    interface: str = ""
    #: The highest gives the default route.
    priority: int = 0
    routes: list[StaticRoute] = []
    #: Whether it leads out without a gateway.
    routed_by_link: bool = False
    #: Options of the driver (`driver-opt`).
    options: dict[str, str] = {}
    #: Further names of the container on this network (`--network-alias`).
    aliases: list[str] = []
    #: Names of its own for others (`--link`), and what those are called.
    links: dict[str, str] = {}

    def addresses(self) -> Iterator[IPInterface]:
        """The addresses that an IPAM driver gave it, with their prefixes."""
        for address, prefix in ((self.address, self.prefix), (self.address6, self.prefix6)):
            if address:
                yield ipaddress.ip_interface(f"{address}/{prefix}")


class PublishedPort(msgspec.Struct, frozen=True):
    """A port of the host that leads to a container; `version` is the family there.

    Without translation (gateway mode `routed`) `host_port` is 0: the container's own port is reachable.
    """

    protocol: str
    host_ip: str
    host_port: int
    container_ip: str
    container_port: int
    #: Whether the container's own port is let in, too: for those who are routed to its address.
    direct: bool = False

    @property
    def version(self) -> int:
        """The family: 4 or 6."""
        return 6 if ":" in self.container_ip else 4

    @property
    def relayed(self) -> bool:
        """Whether the relay leads it, not the kernel: from an IPv6 address of the host to an IPv4 address."""
        return self.version == 4 and ":" in self.host_ip


class PortWishes(msgspec.Struct, frozen=True):
    """Which ports a container is to have on the host: `-p`, `EXPOSE` (such as `80/tcp`), and `-P`."""

    ports: PortMap = {}
    exposed: list[str] = []
    publish_all: bool = False


class SandboxRecord(msgspec.Struct, kw_only=True):
    """What is stored of a sandbox. The container is its owner: it ends with that one."""

    container_id: str
    container_name: str
    sandbox_id: str
    endpoints: list[Endpoint] = []
    published: list[PublishedPort] = []
    ports: PortMap = {}
    wishes: PortWishes = PortWishes()
    #: The other containers that have joined it.
    members: list[str] = []
    hostname: str = ""
    #: Those of `Endpoint`, on all networks.
    links: dict[str, str] = {}
    dns: NameLookup = NameLookup()


def _upgrade_network(_version: int, document: dict[str, Any]) -> None:
    """Before version 2 a network had one subnet. Rows were changed in the database, and copies beside it were not."""
    subnet = document.pop("subnet", "")
    of_pool = {key: document.pop(key) for key in ("gateway", "ip_range", "reserved") if key in document}
    if subnet and "pools" not in document:
        document["pools"] = [{"id": subnet, "subnet": subnet, **of_pool}]


NETWORK_DOCUMENTS = DocumentCodec(NetworkRecord, version=2, upgrade=_upgrade_network)
SANDBOX_DOCUMENTS = DocumentCodec(SandboxRecord)
ENDPOINT_DOCUMENTS = DocumentCodec(Endpoint)


class SandboxRequest(msgspec.Struct, kw_only=True):
    """What a container that starts asks for.

    `endpoints` are the networks by name, the first one giving the default route; none at all means a namespace with
    a loopback only. `owner` is whose the namespace is to be.
    """

    container_id: str
    container_name: str
    endpoints: dict[str, EndpointSettings]
    mac: str = ""
    wishes: PortWishes = PortWishes()
    owner: Owner | None = None
    hostname: str = ""
    links: dict[str, str] = {}
    dns: NameLookup = NameLookup()


class SandboxGone(Conflict):
    """The container's process has ended, and its network stack with it."""


class Holder(NamedTuple):
    """The process that holds a container's network stack, and its parent: these two distinguish it from a later one."""

    pid: int
    parent: int


class StackHolders(Protocol):
    """Knows the containers that run."""

    def holder_of(self, container_id: str) -> Holder | None:
        """Who holds the network stack of a container; None when it does not run."""
