"""`bridge`: a Linux bridge per network, a veth pair per endpoint (veth(4), bridge(8)).

The bridge has the gateway's address, so containers are routed by the host, through the firewall's table. Frames
between ports of one bridge are the bridge's own business; a network without inter-container communication therefore
isolates its ports at that level too, where the firewall may not look.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import re
from collections.abc import Container
from functools import partial

from darse.core import executors
from darse.core.config import EngineConfig
from darse.core.errors import Conflict, InvalidParameter
from darse.linux import sysctl
from darse.linux.net.links import (
    add_bridge,
    add_veth,
    delete_link,
    set_master,
    set_no_own_address,
    set_port,
    set_up,
)
from darse.linux.net.netns import Netns
from darse.linux.net.routes import add_address, add_loopback_route, delete_address
from darse.linux.net.rtnetlink import Link, Netlink, Request
from darse.networks import options
from darse.networks.drivers.base import EndpointResult, JoinResult, KernelDriver
from darse.networks.drivers.bridge_programs import BridgePrograms
from darse.networks.ipam.allocator import mac_for
from darse.networks.model import Endpoint, IPNetwork, NetworkRecord
from darse.networks.pool import LINK_NAME, link_name

_log = logging.getLogger(__name__)
_LINK_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}\Z")
_SYSCTL_WORDS = ("all", "default")  # Directories of /proc/sys/net/ipv4/conf that are no links.
_LEAST_MTU_OF_IPV6 = 1280  # RFC 8200, section 5
_BRIDGED_PACKETS_ARE_FILTERED = "net/bridge/bridge-nf-call-iptables"


class BridgeDriver(KernelDriver):
    """Bridges of this engine; and, for `--bridge`, one of the administrator's, which is used and left alone."""

    name = "bridge"
    publishes = True

    def __init__(self, config: EngineConfig) -> None:
        self._netlink = Netlink()
        self._config = config
        self._has_ipv6 = sysctl.present("net/ipv6")
        self.programs = BridgePrograms(self._netlink)
        # Links that are being removed, and what ends when nobody sees them any more.
        self._going: dict[str, asyncio.Future[None]] = {}

    def check(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        if _LINK_NAME.match(record.bridge) is None or record.bridge in _SYSCTL_WORDS:
            raise InvalidParameter(f"invalid bridge name: {record.bridge!r}: up to 15 letters, digits, or '_.-'")
        options.check(record)
        for version in (4, 6):
            if len(record.pools_of(version)) > 1:
                raise InvalidParameter("bridge driver does not support several subnets on one network")
        if self._netlink.link(record.bridge) is not None:
            raise Conflict(f"a link named {record.bridge} exists on this host already")

    async def create_network(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        await executors.kernel.run(self.restore, record)

    async def delete_network(self, record: NetworkRecord) -> None:
        """See `Driver`."""
        await self._removed(record.bridge, asyncio.ensure_future(executors.kernel.run(self.remove, record)))

    async def create_endpoint(self, record: NetworkRecord, endpoint: Endpoint) -> EndpointResult:
        """See `Driver`: its link gets its name, so that `leave` can remove it whatever becomes of `join`."""
        return EndpointResult(link=link_name())

    async def join(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> JoinResult:
        """See `Driver`."""
        await netns.work(self.plug, record, netns, endpoint.interface, endpoint.link)
        return JoinResult()

    async def leave(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns | None) -> None:
        """See `Driver`."""
        await self._removed(endpoint.link, asyncio.ensure_future(executors.kernel.run(self.unplug, endpoint.link)))

    async def _removed(self, link: str, removal: asyncio.Future[None]) -> None:
        """Return when a link is removed, or the kernel has reported so (`is_gone`).

        From there to the end of its system call the kernel waits some ten milliseconds for all processors to have
        forgotten the link (RCU, Documentation/RCU/whatisRCU.rst), which nobody else has to.
        """
        gone = self._going[link] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait((removal, gone), return_when=asyncio.FIRST_COMPLETED)
            if removal.done():
                removal.result()
        finally:
            if not removal.done():
                removal.add_done_callback(partial(_report, link))
            if self._going.get(link) is gone:
                del self._going[link]

    def is_gone(self, link: str) -> None:
        """Nobody sees a link any more."""
        going = self._going.get(link)
        if going is not None and not going.done():
            going.set_result(None)

    async def reconnect(self, record: NetworkRecord, endpoint: Endpoint) -> bool:
        """See `Driver`."""
        return await executors.kernel.run(self.plug_again, record, endpoint.link)

    # What these come down to: each blocks for as long as the kernel's lock of links is held by others.

    def restore(self, record: NetworkRecord) -> None:
        """Have the bridge up, with the gateways' addresses and of IPv4 only that. Raises OSError and Conflict."""
        netlink, name = self._netlink, record.bridge
        link = netlink.link(name)
        if link is None:
            if record.foreign:
                raise Conflict(f"there is no bridge {name} on this host: --bridge wants an existing one")
            netlink.run(add_bridge(name, _hardware_address(record), self.mtu(record)))
        link = self.link(record)
        if not record.foreign:
            if record.pool(6) is not None:
                self._allow_ipv6(record)
            self._give_addresses(record, link)
        if record.pool(4) is not None:
            # Connections to 127.0.0.1 of the host are led to containers; the firewall keeps the opposite way shut.
            sysctl.write(f"net/ipv4/conf/{name}/route_localnet", "1")
        if record.internal:
            # The firewall says so, too; this holds without its table.
            sysctl.write(f"net/ipv4/conf/{name}/forwarding", "0")
            if record.pool(6) is not None:
                sysctl.write(f"net/ipv6/conf/{name}/forwarding", "0")
        if self._config.iptables and not record.foreign:
            self.programs.attach(link, own=options.flag(record, options.ICC))

    def _allow_ipv6(self, record: NetworkRecord) -> None:
        """Have IPv6 on a bridge. Raises Conflict when the host has none."""
        if not sysctl.present("net/ipv6/conf"):
            raise Conflict(f"network {record.name} has IPv6, and this host has none: it was booted with ipv6.disable=1")
        if self._config.ip_forward and not record.internal:
            _forward_ipv6()
        # No container tells the host its routes (CVE-2020-13401). And the host can ask for containers' hardware
        # addresses at once: it does so from the bridge's link-local address, which must not be tentative any more.
        for name, value in (("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", "0")):
            sysctl.write(f"net/ipv6/conf/{record.bridge}/{name}", value)

    def _give_addresses(self, record: NetworkRecord, link: Link) -> None:
        changes = self._address_changes(link, record, 4)
        if sysctl.present("net/ipv6/conf"):
            changes += self._address_changes(link, record, 6)
        if not link.up:
            changes.append(set_up(link.index, link.name))
        self._netlink.run(*changes)
        if options.bridge_gateway(record, 6) and self._config.iptables and not record.internal:
            # Connections to ::1 of the host are led to containers: their answers may come in by the bridge.
            with contextlib.suppress(FileExistsError):
                self._netlink.run(add_loopback_route(link.index, link.name))

    def _address_changes(self, link: Link, record: NetworkRecord, version: int) -> list[Request]:
        """Give the bridge the gateway's address of a family, and no other that is not of its own making."""
        pool, gateway = record.pool(version), options.bridge_gateway(record, version)
        required = {ipaddress.ip_interface(f"{gateway}/{pool.network.prefixlen}")} if pool and gateway else set()
        present = {one for one in self._netlink.addresses(link.index, version) if not one.is_link_local}
        return [
            *(delete_address(link.index, link.name, old) for old in present - required),
            *(add_address(link.index, link.name, new) for new in required - present),
        ]

    def existing_address(self, name: str) -> ipaddress.IPv4Interface:
        """The first IPv4 address of the administrator's bridge. Raises Conflict."""
        link = self._netlink.link(name)
        if link is None:
            raise Conflict(f"there is no bridge {name} on this host: --bridge wants an existing one")
        for address in self._netlink.addresses(link.index):
            if isinstance(address, ipaddress.IPv4Interface):
                return address
        raise Conflict(
            f"{name} is no bridge with an IPv4 address: give it one (ip address add ADDRESS/BITS dev {name})"
        )

    def mtu(self, record: NetworkRecord) -> int:
        """Largest packet, in bytes. Raises InvalidParameter."""
        return options.mtu(record) or self._config.mtu

    def link(self, record: NetworkRecord) -> Link:
        """The bridge. Raises Conflict when somebody removed it."""
        link = self._netlink.link(record.bridge)
        if link is None:
            raise Conflict(f"bridge {record.bridge} of network {record.name} was deleted: it is recreated, try again")
        if link.kind != "bridge":
            raise Conflict(f"the link {record.bridge} is no bridge: network {record.name} needs the name")
        return link

    def routes(self, version: int = 4) -> list[IPNetwork]:
        """Where the host has routes to, of a family."""
        return self._netlink.routes(version)

    def routed(self, subnet: IPNetwork) -> bool:
        """Whether the host has a route to a part of the subnet."""
        return any(subnet.overlaps(route) for route in self.routes(subnet.version))

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
        for version in (4, 6):
            gateway = options.bridge_gateway(record, version)
            if gateway and not any(str(one.ip) == gateway for one in self._netlink.addresses(link.index, version)):
                return f"without its address {gateway}"
        families = ("ipv4", "ipv6") if record.pool(6) is not None else ("ipv4",)
        if record.internal and any(sysctl.enabled(f"net/{one}/conf/{record.bridge}/forwarding") for one in families):
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
        """Remove the bridge; fine when it is gone. Raises OSError."""
        link = self._netlink.link(record.bridge)
        if link is not None and link.kind == "bridge" and not record.foreign:
            self._netlink.run(delete_link(record.bridge))
            self.programs.detached(link)

    def plug(self, record: NetworkRecord, netns: Netns, interface: str, name: str) -> None:
        """Make a veth pair: `name` a port of the bridge, `interface` in the namespace. Raises OSError and Conflict."""
        mtu = self.mtu(record)
        veth = add_veth(name, self.link(record), interface, netns.descriptor, mtu)
        summary = f"veth pair {name}, {interface}, on {record.bridge}"
        port = set_port(name, isolated=self.isolated(record))
        own = (set_no_own_address(name),) if mtu >= _LEAST_MTU_OF_IPV6 and self._has_ipv6 else ()
        self._netlink.run(veth, port, *own, set_up(0, name), summary=summary)
        self._lead_to_host(record, name)

    def _lead_to_host(self, record: NetworkRecord, name: str) -> None:
        """Have a port lead to the bridge's IPv6 address in a way that serves ::1, see drivers/bridge_programs.py."""
        gateway = options.bridge_gateway(record, 6)
        if gateway and self._config.iptables and not record.foreign and not record.internal:
            port = self._netlink.link(name)
            if port is not None:
                self.programs.attach_port(port, self.link(record), gateway)

    def plug_again(self, record: NetworkRecord, link: str) -> bool:
        """Have a link on the bridge: one that was deleted has lost its ports. False when the link is gone."""
        port = self._netlink.link(link)
        if port is None:
            return False
        if _is_plugged(port):
            return True
        bridge = self.link(record)
        changes = (set_master(link, bridge.index, bridge.name), set_port(link, isolated=self.isolated(record)))
        self._netlink.run(*changes)
        self._lead_to_host(record, link)
        return True

    def unplug(self, link: str) -> None:
        """Remove a veth pair; fine when it is gone. Raises OSError."""
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
                self.unplug(port.name)

    def close(self) -> None:
        """Let go of the kernel."""
        self.programs.close()
        self._netlink.close()


def _report(link: str, removal: asyncio.Future[None]) -> None:
    if not removal.cancelled() and (error := removal.exception()) is not None:
        _log.error("cannot remove the link %s: %s", link, error)


def _forward_ipv6() -> None:
    """Have the host forward packets of IPv6, which is off by default. Raises OSError.

    A host that forwards takes no router's advertisements any more, and with them loses its own routes, except where it
    is asked to take them all the same (accept_ra=2, Documentation/networking/ip-sysctl.rst).
    """
    if sysctl.enabled("net/ipv6/conf/all/forwarding"):
        return
    for name in sysctl.children("net/ipv6/conf"):
        if name not in _SYSCTL_WORDS and sysctl.enabled(f"net/ipv6/conf/{name}/accept_ra"):
            sysctl.write(f"net/ipv6/conf/{name}/accept_ra", "2")
    sysctl.write("net/ipv6/conf/all/forwarding", "1")


def _hardware_address(record: NetworkRecord) -> str:
    """Of the bridge: fixed, and unique where its addresses are."""
    pool = record.pool(4) or record.pool(6)
    if pool is None or not pool.gateway:
        return f"02:42:{':'.join(record.id[start : start + 2] for start in range(0, 8, 2))}"
    return mac_for(ipaddress.ip_address(pool.gateway))


def _is_plugged(link: Link) -> bool:
    return link.up and link.master != 0
