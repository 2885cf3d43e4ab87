"""Network drivers: how a network exists on the host, and how a sandbox is connected to it.

A driver is told of its networks when the engine starts (`restore`) and when they come and go. `connect` gives a
namespace a link on the network and returns the endpoint; addresses are the service's business, packets the kernel's.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

from darse.engine.config import EngineConfig
from darse.engine.errors import Conflict
from darse.linux import sysctl
from darse.linux.netlink import (
    Netlink,
    add_address,
    add_bridge,
    add_default_route,
    add_veth,
    delete_link,
    set_hairpin,
    set_mac,
    set_up,
)
from darse.linux.netns import Netns
from darse.networks.addresses import mac_for
from darse.networks.model import Endpoint, NetworkRecord
from darse.networks.pool import link_name

BRIDGE_NAME = "com.docker.network.bridge.name"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
MTU = "com.docker.network.driver.mtu"


class Driver(Protocol):
    """What the network service asks of a driver."""

    #: Whether the service gives its networks subnets and its endpoints addresses.
    addressed: bool

    def restore(self, record: NetworkRecord) -> None:
        """Have the network on the host, as it may be already. Raises OSError and Conflict."""

    def remove(self, record: NetworkRecord) -> None:
        """Take the network off the host; fine when it is gone."""

    def connect(self, record: NetworkRecord, netns: Netns, interface: str) -> str:
        """Make a link into the namespace; return the name of the host's end."""

    def disconnect(self, link: str) -> None:
        """Remove a link by the name of the host's end; fine when it is gone."""


class BridgeDriver:
    """A Linux bridge per network, a veth pair per endpoint."""

    addressed = True

    def __init__(self, netlink: Netlink, config: EngineConfig) -> None:
        self._netlink = netlink
        self._config = config

    def restore(self, record: NetworkRecord) -> None:
        """Make the bridge and give it the gateway's address, each unless it is there."""
        netlink, name = self._netlink, record.bridge
        gateway = ipaddress.IPv4Interface(f"{record.gateway}/{record.network.prefixlen}")
        link = netlink.link(name)
        if link is None:
            netlink.run(add_bridge(name, mac_for(gateway.ip), self.mtu(record)))
            link = netlink.link(name)
            if link is None:
                raise Conflict(f"bridge {name} vanished while it was set up")
            netlink.run(add_address(link.index, name, gateway))
        elif not link.up:
            netlink.run(set_up(link.index, name))
        # Connections to 127.0.0.1 of the host are led to containers; the firewall keeps the opposite way shut.
        sysctl.write(f"net/ipv4/conf/{name}/route_localnet", "1")

    def mtu(self, record: NetworkRecord) -> int:
        """Largest packet, in bytes."""
        return int(record.options.get(MTU, self._config.mtu))

    def index(self, record: NetworkRecord) -> int:
        """The bridge's interface index. Raises Conflict when somebody removed it."""
        link = self._netlink.link(record.bridge)
        if link is None:
            raise Conflict(f"bridge {record.bridge} of network {record.name} is gone: restart darsed to have it back")
        return link.index

    def remove(self, record: NetworkRecord) -> None:
        """Remove the bridge."""
        self.disconnect(record.bridge)

    def connect(self, record: NetworkRecord, netns: Netns, interface: str) -> str:
        """Make a veth pair."""
        name = link_name()
        veth = add_veth(name, self.index(record), interface, netns.descriptor, self.mtu(record))
        self._netlink.run(veth, set_hairpin(name))
        return name

    def disconnect(self, link: str) -> None:
        """Remove a veth pair; it goes by itself with the container's namespace."""
        if self._netlink.link(link) is not None:
            self._netlink.run(delete_link(link))


class NullDriver:
    """`none`: nothing but a loopback. Also stands for `host`, where there is no namespace at all."""

    addressed = False

    def restore(self, record: NetworkRecord) -> None:
        """There is nothing to have."""

    def remove(self, record: NetworkRecord) -> None:
        """There is nothing to remove."""

    def connect(self, record: NetworkRecord, netns: Netns, interface: str) -> str:
        """There is no link."""
        return ""

    def disconnect(self, link: str) -> None:
        """There is no link."""


def configure(netns: Netns, interface: str, endpoint: Endpoint, *, default_route: bool) -> None:
    """Give the namespace's end of a link its addresses and, with `default_route`, make it the way out."""
    link = netns.netlink.link(interface)
    assert link is not None
    address = ipaddress.IPv4Interface(f"{endpoint.address}/{endpoint.prefix}")
    requests = [
        set_mac(interface, endpoint.mac),
        set_up(link.index, interface),
        add_address(link.index, interface, address),
    ]
    if default_route and endpoint.gateway:
        requests.append(add_default_route(ipaddress.IPv4Address(endpoint.gateway)))
    netns.netlink.run(*requests)
