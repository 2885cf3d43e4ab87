"""`bridge`: a Linux bridge per network, a veth pair per endpoint (veth(4), bridge(8)).

The bridge has the gateway's address, so containers are routed by the host, through the firewall's table. Frames
between ports of one bridge are the bridge's own business; a network without inter-container communication therefore
isolates its ports at that level too, where the firewall may not look.
"""

from __future__ import annotations

import errno
import ipaddress
import re
from collections.abc import Container

from darse.core.config import EngineConfig
from darse.core.errors import Conflict, InvalidParameter
from darse.linux import sysctl
from darse.linux.net.netns import Netns
from darse.linux.net.rtnetlink import (
    Link,
    Netlink,
    add_address,
    add_bridge,
    add_veth,
    delete_address,
    delete_link,
    set_master,
    set_port,
    set_up,
)
from darse.networks import options
from darse.networks.addresses import mac_for
from darse.networks.drivers.bridge_programs import BridgePrograms
from darse.networks.model import NetworkRecord
from darse.networks.pool import LINK_NAME, link_name

_LINK_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}\Z")
_SYSCTL_WORDS = ("all", "default")  # Directories of /proc/sys/net/ipv4/conf that are no links.
_BRIDGED_PACKETS_ARE_FILTERED = "net/bridge/bridge-nf-call-iptables"


class BridgeDriver:
    """Bridges of this engine; and, for `--bridge`, one of the administrator's, which is used and left alone."""

    name = "bridge"
    addressed = True
    creatable = True

    def __init__(self, config: EngineConfig) -> None:
        self._netlink = Netlink()
        self._config = config
        self.programs = BridgePrograms(self._netlink)

    def check(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        if _LINK_NAME.match(record.bridge) is None or record.bridge in _SYSCTL_WORDS:
            raise InvalidParameter(f"invalid bridge name: {record.bridge!r}: up to 15 letters, digits, or '_.-'")
        for option in (options.ICC, options.MASQUERADE):
            options.flag(record, option)
        self.mtu(record)
        options.host_address(record)
        if self._netlink.link(record.bridge) is not None:
            raise Conflict(f"a link named {record.bridge} exists on this host already")

    def restore(self, record: NetworkRecord) -> None:
        """See `Driver`: the bridge is up and has the gateway's address, and of IPv4 only that."""
        netlink, name = self._netlink, record.bridge
        link = netlink.link(name)
        if link is None:
            if record.foreign:
                raise Conflict(f"there is no bridge {name} on this host: --bridge wants an existing one")
            netlink.run(add_bridge(name, mac_for(ipaddress.IPv4Address(record.gateway)), self.mtu(record)))
        link = self.link(record)
        if not record.foreign:
            self._address(record, link)
        # Connections to 127.0.0.1 of the host are led to containers; the firewall keeps the opposite way shut.
        sysctl.write(f"net/ipv4/conf/{name}/route_localnet", "1")
        if record.internal:
            # The firewall says so, too; this holds without its table.
            sysctl.write(f"net/ipv4/conf/{name}/forwarding", "0")
        if self._config.iptables and not record.foreign:
            self.programs.attach(link, own=options.flag(record, options.ICC))

    def _address(self, record: NetworkRecord, link: Link) -> None:
        wanted = ipaddress.IPv4Interface(f"{record.gateway}/{record.network.prefixlen}")
        present = self._netlink.addresses(link.index)
        changes = [delete_address(link.index, link.name, old) for old in present if old != wanted]
        if wanted not in present:
            changes.append(add_address(link.index, link.name, wanted))
        if not link.up:
            changes.append(set_up(link.index, link.name))
        self._netlink.run(*changes)

    def existing_address(self, name: str) -> ipaddress.IPv4Interface:
        """The first IPv4 address of the administrator's bridge. Raises Conflict."""
        link = self._netlink.link(name)
        if link is None:
            raise Conflict(f"there is no bridge {name} on this host: --bridge wants an existing one")
        addresses = self._netlink.addresses(link.index)
        if not addresses:
            raise Conflict(
                f"{name} is no bridge with an IPv4 address: give it one (ip address add ADDRESS/BITS dev {name})"
            )
        return addresses[0]

    def mtu(self, record: NetworkRecord) -> int:
        """Largest packet, in bytes. Raises InvalidParameter."""
        return options.mtu(record) or self._config.mtu

    def link(self, record: NetworkRecord) -> Link:
        """The bridge. Raises Conflict when somebody removed it."""
        link = self._netlink.link(record.bridge)
        if link is None:
            raise Conflict(f"bridge {record.bridge} of network {record.name} was deleted: it is made anew, try again")
        if link.kind != "bridge":
            raise Conflict(f"the link {record.bridge} is no bridge: network {record.name} needs the name")
        return link

    def routes(self) -> list[ipaddress.IPv4Network]:
        """Where the host has routes to."""
        return self._netlink.routes()

    def routed(self, subnet: ipaddress.IPv4Network) -> bool:
        """Whether the host has a route to a part of the subnet."""
        return any(subnet.overlaps(route) for route in self.routes())

    def exists(self, record: NetworkRecord) -> bool:
        """Whether the bridge is on the host."""
        return self._netlink.link(record.bridge) is not None

    def what_is_wrong(self, record: NetworkRecord) -> str:
        """What others have done to the bridge, in a word; empty when it is as it should be."""
        link = self._netlink.link(record.bridge)
        if link is None:
            return "removed"
        if record.foreign:
            return ""
        if not link.up:
            return "down"
        if not any(str(address.ip) == record.gateway for address in self._netlink.addresses(link.index)):
            return f"without its address {record.gateway}"
        if record.internal and sysctl.enabled(f"net/ipv4/conf/{record.bridge}/forwarding"):
            return "forwarding, though it is internal"
        return ""

    def is_plugged(self, link: str) -> bool:
        """Whether a link is up and a port of some bridge."""
        found = self._netlink.link(link)
        return found is not None and _is_plugged(found)

    def isolated(self, record: NetworkRecord) -> bool:
        """Whether the bridge itself has to keep its ports apart.

        Where bridged packets pass the firewall (br_netfilter), that does it better: it still lets through what is
        translated, a neighbour's published port.
        """
        return not options.flag(record, options.ICC) and not sysctl.enabled(_BRIDGED_PACKETS_ARE_FILTERED)

    def remove(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        link = self._netlink.link(record.bridge)
        if link is not None and link.kind == "bridge" and not record.foreign:
            self._netlink.run(delete_link(record.bridge))

    def connect(self, record: NetworkRecord, netns: Netns, interface: str) -> str:
        """See `Driver`: a veth pair, its outer end a port of the bridge."""
        name = link_name()
        veth = add_veth(name, self.link(record), interface, netns.descriptor, self.mtu(record))
        said = f"veth pair {name}, {interface}, on {record.bridge}"
        self._netlink.run(veth, set_port(name, isolated=self.isolated(record)), summary=said)
        return name

    def reconnect(self, record: NetworkRecord, link: str) -> bool:
        """See `Driver`: a bridge that was deleted has lost its ports."""
        port = self._netlink.link(link)
        if port is None:
            return False
        if _is_plugged(port):
            return True
        bridge = self.link(record)
        changes = (set_master(link, bridge.index, bridge.name), set_port(link, isolated=self.isolated(record)))
        self._netlink.run(*changes)
        return True

    def disconnect(self, link: str) -> None:
        """See `Driver`."""
        if link and self._netlink.link(link) is not None:
            try:
                self._netlink.run(delete_link(link))
            except OSError as error:
                if error.errno != errno.ENODEV:  # the kernel drops it just now, with the container's namespace
                    raise

    def unplug_orphans(self, record: NetworkRecord, owned: Container[str]) -> None:
        """Remove links that an engine made and did not live to record. `owned`: the links of endpoints."""
        if record.foreign:  # others have links of that form there, too
            return
        bridge = self._netlink.link(record.bridge)
        for port in self._netlink.ports_of(bridge) if bridge is not None else ():
            if LINK_NAME.match(port.name) and port.name not in owned:
                self.disconnect(port.name)

    def close(self) -> None:
        """Let go of the kernel."""
        self.programs.close()
        self._netlink.close()


def _is_plugged(link: Link) -> bool:
    return link.up and link.master != 0
