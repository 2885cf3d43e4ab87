"""rtnetlink(7): links, addresses and routes, as messages written by hand.

The design named pyroute2 for this. Importing it costs 117 ms and 20 MB of the engine's memory here, more than the
engine's own start and half of its size, for the eight messages below; so they are packed directly. Several requests
go to the kernel in one system call, and each is acknowledged.

Structures are those of linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Final

import msgspec

from darse.core import trace

NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x300
NLM_F_APPEND = 0x800
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 16, 17, 18, 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 5, 10, 18, 28
IFLA_IFALIAS, IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS, IFLA_VLAN_ID = 20, 1, 1, 2, 1
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
VETH_INFO_PEER, IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 1, 4, 33
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
IFF_UP = 1
IFA_F_NODAD = 0x02
RT_TABLE_MAIN, RT_TABLE_LOCAL, RTPROT_BOOT, RTN_UNICAST, RTN_LOCAL = 254, 255, 3, 1, 2
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_BUFFER: Final = 1 << 18
_LOOPBACK_METRIC = 2048

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class Request(msgspec.Struct, frozen=True):
    """One message, and the shell command that would do the same."""

    kind: str
    flags: int
    type: int
    payload: bytes
    command: tuple[str, ...]


class Link(msgspec.Struct, frozen=True):
    """A network interface as the kernel lists it."""

    index: int
    name: str
    up: bool
    #: "bridge", "veth", …; empty for hardware.
    kind: str = ""
    #: Index of what it is a port of, a bridge or another; 0: of nothing.
    master: int = 0
    #: What somebody has written on it.
    alias: str = ""


def attribute(type_: int, data: bytes) -> bytes:
    """One attribute (`struct nlattr`), padded."""
    length = len(data) + 4
    return struct.pack("=HH", length, type_) + data + b"\0" * (-length % 4)


def _text(type_: int, text: str) -> bytes:
    return attribute(type_, text.encode() + b"\0")


def _number(type_: int, number: int) -> bytes:
    return attribute(type_, struct.pack("=I", number))


def mac_bytes(mac: str) -> bytes:
    """The six bytes of `02:42:…`."""
    return bytes.fromhex(mac.replace(":", ""))


def add_bridge(name: str, mac: str, mtu: int) -> Request:
    """A bridge that is up, with a fixed address (otherwise it takes the lowest of its ports', which come and go)."""
    info = _text(IFLA_INFO_KIND, "bridge")
    payload = (
        _IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
        + _text(IFLA_IFNAME, name)
        + attribute(IFLA_ADDRESS, mac_bytes(mac))
        + _number(IFLA_MTU, mtu)
        + attribute(IFLA_LINKINFO | NESTED, info)
    )
    command = ("ip", "link", "add", name, "address", mac, "mtu", str(mtu), "up", "type", "bridge")
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def add_veth(name: str, master: Link, peer: str, namespace_fd: int, mtu: int) -> Request:
    """A veth pair: one end here, on the bridge `master` and up; the other in a namespace, and down.

    (The kernel configures the peer before the two are connected, when it cannot be brought up.)
    """
    peer_payload = (
        _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + _text(IFLA_IFNAME, peer)
        + _number(IFLA_MTU, mtu)
        + _number(IFLA_NET_NS_FD, namespace_fd)
    )
    info = _text(IFLA_INFO_KIND, "veth") + attribute(
        IFLA_INFO_DATA | NESTED, attribute(VETH_INFO_PEER | NESTED, peer_payload)
    )
    payload = (
        _IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
        + _text(IFLA_IFNAME, name)
        + _number(IFLA_MTU, mtu)
        + _number(IFLA_MASTER, master.index)
        + attribute(IFLA_LINKINFO | NESTED, info)
    )
    outer = ("ip", "link", "add", name, "mtu", str(mtu), "master", master.name, "up", "type", "veth")
    command = (*outer, "peer", "name", peer, "mtu", str(mtu), "netns", trace.NETNS)
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def add_link(name: str, kind: str) -> Request:
    """A link of a kind that needs nothing else (`dummy`, `bridge`); it is up."""
    payload = (
        _IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
        + _text(IFLA_IFNAME, name)
        + attribute(IFLA_LINKINFO | NESTED, _text(IFLA_INFO_KIND, kind))
    )
    command = ("ip", "link", "add", name, "up", "type", kind)
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def set_alias(name: str, alias: str) -> Request:
    """Write something on a link. (With the request that makes one the kernel passes over it.)"""
    payload = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(IFLA_IFNAME, name)
    command = ("ip", "link", "set", name, "alias", alias)
    return Request("link", 0, RTM_NEWLINK, payload + attribute(IFLA_IFALIAS, alias.encode()), command)


def add_vlan(name: str, parent: Link, number: int) -> Request:
    """The part of a link that has a VLAN's number (802.1q); it is up."""
    data = attribute(IFLA_INFO_DATA | NESTED, attribute(IFLA_VLAN_ID, struct.pack("=H", number)))
    payload = (
        _IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
        + _text(IFLA_IFNAME, name)
        + _number(IFLA_LINK, parent.index)
        + attribute(IFLA_LINKINFO | NESTED, _text(IFLA_INFO_KIND, "vlan") + data)
    )
    command = ("ip", "link", "add", name, "link", parent.name, "up", "type", "vlan", "id", str(number))
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def add_macvlan(name: str, parent: Link, namespace_fd: int, mode: int, mtu: int, words: tuple[str, ...]) -> Request:
    """A macvlan on a link, in a namespace, down. `words`: the end of the command that does the same."""
    data = attribute(IFLA_INFO_DATA | NESTED, _number(IFLA_MACVLAN_MODE, mode))
    return _add_sublink(name, parent, namespace_fd, mtu, _text(IFLA_INFO_KIND, "macvlan") + data, words)


def add_ipvlan(
    name: str, parent: Link, namespace_fd: int, mode: int, flags: int, mtu: int, words: tuple[str, ...]
) -> Request:
    """An ipvlan on a link, in a namespace, down. `words` as of `add_macvlan`."""
    data = attribute(
        IFLA_INFO_DATA | NESTED,
        attribute(IFLA_IPVLAN_MODE, struct.pack("=H", mode)) + attribute(IFLA_IPVLAN_FLAGS, struct.pack("=H", flags)),
    )
    return _add_sublink(name, parent, namespace_fd, mtu, _text(IFLA_INFO_KIND, "ipvlan") + data, words)


def _add_sublink(name: str, parent: Link, namespace_fd: int, mtu: int, info: bytes, words: tuple[str, ...]) -> Request:
    payload = (
        _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + _text(IFLA_IFNAME, name)
        + _number(IFLA_LINK, parent.index)
        + _number(IFLA_NET_NS_FD, namespace_fd)
        + (_number(IFLA_MTU, mtu) if mtu else b"")
        + attribute(IFLA_LINKINFO | NESTED, info)
    )
    command = ("ip", "link", "add", name, "link", parent.name, "netns", trace.NETNS, "type", *words)
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def move_link(index: int, name: str, namespace_fd: int, new_name: str) -> Request:
    """Give a link to a namespace, under a new name; it is down there."""
    payload = (
        _IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, IFF_UP)
        + _number(IFLA_NET_NS_FD, namespace_fd)
        + _text(IFLA_IFNAME, new_name)
    )
    command = ("ip", "link", "set", name, "down", "netns", trace.NETNS, "name", new_name)
    return Request("link", 0, RTM_NEWLINK, payload, command)


def set_port(name: str, *, isolated: bool = False) -> Request:
    """Let a bridge port send frames back to where they came from (hairpin); `isolated`: none to other such ports.

    With br_netfilter the bridge itself translates addresses: a container that reaches its own published port through
    the host's address would not get its own packets otherwise.
    """
    data = attribute(IFLA_BRPORT_MODE, b"\1")
    if isolated:
        data += attribute(IFLA_BRPORT_ISOLATED, b"\1")
    info = _text(IFLA_INFO_SLAVE_KIND, "bridge") + attribute(IFLA_INFO_SLAVE_DATA | NESTED, data)
    payload = (
        _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(IFLA_IFNAME, name) + attribute(IFLA_LINKINFO | NESTED, info)
    )
    command = ("bridge", "link", "set", "dev", name, "hairpin", "on", *(("isolated", "on") if isolated else ()))
    return Request("link", 0, RTM_NEWLINK, payload, command)


def set_master(name: str, master: int, master_name: str) -> Request:
    """Make a link a port of a bridge, and bring it up."""
    payload = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP) + _text(IFLA_IFNAME, name)
    command = ("ip", "link", "set", name, "master", master_name, "up")
    return Request("link", 0, RTM_NEWLINK, payload + _number(IFLA_MASTER, master), command)


def set_up(index: int, name: str) -> Request:
    """Bring a link up."""
    return Request(
        "link",
        0,
        RTM_NEWLINK,
        _IFINFO.pack(socket.AF_UNSPEC, 0, index, IFF_UP, IFF_UP),
        ("ip", "link", "set", name, "up"),
    )


def set_mac(name: str, mac: str) -> Request:
    """Give a link another hardware address."""
    payload = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(IFLA_IFNAME, name)
    return Request(
        "link",
        0,
        RTM_NEWLINK,
        payload + attribute(IFLA_ADDRESS, mac_bytes(mac)),
        ("ip", "link", "set", name, "address", mac),
    )


def delete_link(name: str) -> Request:
    """Remove a link."""
    payload = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(IFLA_IFNAME, name)
    return Request("link", 0, RTM_DELLINK, payload, ("ip", "link", "delete", name))


def add_address(index: int, name: str, address: Interface) -> Request:
    """Give a link an address.

    One of IPv6 can be used at once: nobody else has what this engine gives, so the kernel need not ask around for a
    second whether somebody has (IFA_F_NODAD).
    """
    payload = _address(index, address)
    if isinstance(address, ipaddress.IPv4Interface):
        payload += attribute(IFA_BROADCAST, address.network.broadcast_address.packed)
        more: tuple[str, ...] = ("broadcast", "+", "dev", name)
    else:
        more = ("dev", name, "nodad")
    command = ("ip", "address", "add", str(address), *more)
    return Request("address", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWADDR, payload, command)


def delete_address(index: int, name: str, address: Interface) -> Request:
    """Take an address from a link."""
    command = ("ip", "address", "delete", str(address), "dev", name)
    return Request("address", 0, RTM_DELADDR, _address(index, address), command)


def _address(index: int, address: Interface) -> bytes:
    flags = IFA_F_NODAD if address.version == 6 else 0
    return (
        _IFADDR.pack(_FAMILIES[address.version], address.network.prefixlen, flags, 0, index)
        + attribute(IFA_LOCAL, address.ip.packed)
        + attribute(IFA_ADDRESS, address.ip.packed)
    )


def set_default_route(gateway: Address) -> Request:
    """Send everything else of the family to `gateway` and no other."""
    payload = _route(gateway.version, 0) + attribute(RTA_GATEWAY, gateway.packed)
    family = ("-6",) if gateway.version == 6 else ()
    command = ("ip", *family, "route", "replace", "default", "via", str(gateway))
    return Request("route", NLM_F_CREATE | NLM_F_REPLACE, RTM_NEWROUTE, payload, command)


def set_default_link(index: int, name: str, version: int) -> Request:
    """Send everything else of a family out of a link, without a gateway."""
    payload = _route(version, 0, RT_SCOPE_LINK) + _number(RTA_OIF, index)
    family = ("-6",) if version == 6 else ()
    command = ("ip", *family, "route", "replace", "default", "dev", name)
    return Request("route", NLM_F_CREATE | NLM_F_REPLACE, RTM_NEWROUTE, payload, command)


def add_route(destination: Network, index: int, name: str, gateway: Address | None = None) -> Request:
    """Send what is for `destination` out of a link: to `gateway`, or to neighbours there."""
    scope = RT_SCOPE_UNIVERSE if gateway is not None or destination.version == 6 else RT_SCOPE_LINK
    payload = (
        _route(destination.version, destination.prefixlen, scope)
        + attribute(RTA_DST, destination.network_address.packed)
        + _number(RTA_OIF, index)
    )
    via: tuple[str, ...] = ()
    if gateway is not None:
        payload += attribute(RTA_GATEWAY, gateway.packed)
        via = ("via", str(gateway))
    command = ("ip", "route", "replace", str(destination), *via, "dev", name)
    return Request("route", NLM_F_CREATE | NLM_F_REPLACE, RTM_NEWROUTE, payload, command)


def add_loopback_route(index: int, name: str) -> Request:
    """Let packets to ::1 in by a link, too; fails with EEXIST when they are.

    The kernel looks ::1 up among the routes of the link that a packet came by (`rt6_need_strict` in net/ipv6/route.c),
    and has one for `lo` only. That one has the better metric: what the host sends to ::1 does not leave it.
    """
    payload = (
        _ROUTE.pack(socket.AF_INET6, 128, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_LOCAL, 0)
        + attribute(RTA_DST, ipaddress.IPv6Address("::1").packed)
        + _number(RTA_OIF, index)
        + _number(RTA_PRIORITY, _LOOPBACK_METRIC)
    )
    route = ("local", "::1", "dev", name, "table", "local", "metric", str(_LOOPBACK_METRIC))
    return Request("route", NLM_F_CREATE | NLM_F_APPEND, RTM_NEWROUTE, payload, ("ip", "-6", "route", "append", *route))


def _route(version: int, prefix: int, scope: int = RT_SCOPE_UNIVERSE) -> bytes:
    return _ROUTE.pack(_FAMILIES[version], prefix, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)


class Netlink:
    """A socket to the kernel's routing tables, of the network namespace that the calling thread is in.

    Threads may share it: a request and its answers are one turn.
    """

    def __init__(self, program: tuple[str, ...] = ("ip",)) -> None:
        """`program`: what stands in the commands of steps for ip(8), so that they go to this namespace."""
        self._program = program
        self._turn = threading.Lock()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 0

    def run(self, *requests: Request, summary: str = "") -> None:
        """Do the requests in order, in one system call. Raises OSError for the first that fails."""
        if not requests:
            return
        said = summary or " ".join(requests[0].command[1:4])
        with self._turn, trace.step(requests[0].kind, said, *_joined(requests, self._program)):
            self._run(requests)

    def _run(self, requests: tuple[Request, ...]) -> None:
        message = b""
        first = self._sequence + 1
        for request in requests:
            self._sequence += 1
            message += _HEADER.pack(
                _HEADER.size + len(request.payload),
                request.type,
                request.flags | NLM_F_REQUEST | NLM_F_ACK,
                self._sequence,
                0,
            )
            message += request.payload
        failure: OSError | None = None
        self._socket.send(message)
        left = len(requests)
        while left:
            for type_, sequence, body in messages(self._socket.recv(_BUFFER)):
                if type_ != NLMSG_ERROR or sequence < first:
                    continue
                left -= 1
                code = -struct.unpack_from("=i", body)[0]
                if code and failure is None:
                    said = " ".join(requests[sequence - first].command).replace(trace.NETNS, "CONTAINER")
                    failure = OSError(code, os.strerror(code), said)
        if failure is not None:
            raise failure

    def link(self, name: str) -> Link | None:
        """Return a link by name."""
        payload = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _text(IFLA_IFNAME, name)
        try:
            for body in self._get(RTM_GETLINK, payload, 0):
                return _link(body)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
        return None

    def has_kind(self, kind: str) -> bool:
        """Whether the kernel has links of a kind that needs a parent; it may load a module for it.

        Without the parent such a link is refused, but an unknown kind is refused before that.
        """
        payload = (
            _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            + _text(IFLA_IFNAME, "darse-probe")
            + attribute(IFLA_LINKINFO | NESTED, _text(IFLA_INFO_KIND, kind))
        )
        request = Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, ("ip", "link", "help", kind))
        try:
            with self._turn:
                self._run((request,))
        except OSError as error:
            return error.errno != errno.EOPNOTSUPP
        return True

    def links(self) -> list[Link]:
        """Every link of the namespace."""
        return [_link(body) for body in self._get(RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0), NLM_F_DUMP)]

    def ports_of(self, master: Link) -> list[Link]:
        """The ports of a bridge; the kernel tells of no other links."""
        payload = _IFINFO.pack(0, 0, 0, 0, 0) + _number(IFLA_MASTER, master.index)
        return [_link(body) for body in self._get(RTM_GETLINK, payload, NLM_F_DUMP)]

    def addresses(self, index: int, version: int = 4) -> list[Interface]:
        """The addresses of a link, of a family."""
        found: list[Interface] = []
        for body in self._get(RTM_GETADDR, _IFADDR.pack(_FAMILIES[version], 0, 0, 0, 0), NLM_F_DUMP):
            _, prefix, _, _, owner = _IFADDR.unpack_from(body)
            present = attributes(body[_IFADDR.size :])
            # IPv6 has no IFA_LOCAL, except for point-to-point links.
            local = present.get(IFA_LOCAL, present.get(IFA_ADDRESS) if version == 6 else None)
            if owner == index and local is not None:
                found.append(ipaddress.ip_interface((local, prefix)))
        return found

    def routes(self, version: int = 4) -> list[Network]:
        """The destinations of the routes of a family, without the default one and what a host has by itself."""
        found: list[Network] = []
        family = _FAMILIES[version]
        for body in self._get(RTM_GETROUTE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), NLM_F_DUMP):
            destination = attributes(body[_ROUTE.size :]).get(RTA_DST)
            if destination is not None and 0 < body[1] < len(destination) * 8:
                found.append(ipaddress.ip_network((destination, body[1]), strict=False))
        return found

    def _get(self, type_: int, payload: bytes, flags: int) -> list[bytes]:
        with self._turn:
            return list(self._answers(type_, payload, flags))

    def _answers(self, type_: int, payload: bytes, flags: int) -> Iterator[bytes]:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(payload), type_, flags | NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + payload)
        while True:
            for kind, sequence, body in messages(self._socket.recv(_BUFFER)):
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    raise OSError(code, os.strerror(code))
                yield body
                if not flags & NLM_F_DUMP:
                    return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _joined(requests: tuple[Request, ...], program: tuple[str, ...]) -> tuple[str, ...]:
    """The commands of one batch, with `;` between them."""
    words: list[str] = []
    for request in requests:
        first, *rest = request.command
        words += [*((";",) if words else ()), *(program if first == "ip" else (first,)), *rest]
    return tuple(words)


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence number and payload of each message of a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, type_, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield type_, sequence, data[offset + _HEADER.size : offset + length]
        offset += length + (-length % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a payload, by type without its flags; of several of one type the last."""
    found, offset = {}, 0
    while offset + 4 <= len(data):
        length, type_ = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[type_ & 0x3FFF] = data[offset + 4 : offset + length]
        offset += length + (-length % 4)
    return found


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    found = attributes(body[_IFINFO.size :])
    name = found[IFLA_IFNAME].rstrip(b"\0").decode()
    kind = attributes(found.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    master = int.from_bytes(found.get(IFLA_MASTER, b""), sys.byteorder)
    alias = found.get(IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace")
    return Link(index, name, bool(flags & IFF_UP), kind, master, alias)
