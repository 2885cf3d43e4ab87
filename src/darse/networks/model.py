"""Networks and sandboxes as they are stored.

A network has a driver and, with one that gives addresses, a subnet. A sandbox is a container's network stack: a
namespace and, for each network it is connected to, an endpoint with an address. It exists while the container runs.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

import msgspec

from darse.core.errors import Conflict
from darse.linux.net.netns import Owner
from darse.wire.host_config import PortMap
from darse.wire.networks import EndpointSettings


class NetworkRecord(msgspec.Struct, kw_only=True):
    """What is stored of a network; the addresses are text, empty for drivers that give none."""

    id: str
    name: str
    driver: str
    created_ns: int
    subnet: str = ""
    gateway: str = ""
    #: Where endpoints send what is for elsewhere, unless it is the gateway (`--default-gateway`).
    way_out: str = ""
    ip_range: str = ""
    reserved: dict[str, str] = {}
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    bridge: str = ""
    #: The administrator's bridge, which the engine uses and leaves alone (`--bridge`).
    foreign: bool = False

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The subnet."""
        return ipaddress.IPv4Network(self.subnet)


class Endpoint(msgspec.Struct, kw_only=True):
    """A sandbox's connection to one network."""

    network_id: str
    network_name: str
    endpoint_id: str
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    link: str = ""
    #: The link's other end, inside; empty in records of older engines.
    interface: str = ""
    #: The highest gives the default route.
    priority: int = 0


class PublishedPort(msgspec.Struct, frozen=True):
    """A port of the host that leads to a container."""

    protocol: str
    host_ip: str
    host_port: int
    container_ip: str
    container_port: int


class PortWishes(msgspec.Struct, frozen=True):
    """Which ports a container is to have on the host: `-p`, `EXPOSE` (such as `80/tcp`), and `-P`."""

    ports: PortMap = {}
    exposed: list[str] = []
    publish_all: bool = False


class SandboxRecord(msgspec.Struct, kw_only=True):
    """What is stored of a sandbox."""

    container_id: str
    container_name: str
    sandbox_id: str
    endpoints: list[Endpoint] = []
    published: list[PublishedPort] = []
    ports: PortMap = {}
    wishes: PortWishes = PortWishes()


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


class SandboxGone(Conflict):
    """The container's process has ended, and its network stack with it."""


class Holder(NamedTuple):
    """The process that holds a container's network stack, and its parent: by these two it is told from a later one."""

    pid: int
    parent: int
