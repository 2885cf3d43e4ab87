"""Requests that make, change and remove links (ip-link(8)), for `rtnetlink.Netlink.run`."""

from __future__ import annotations

import socket
import struct

from darse.core import trace
from darse.linux.net.rtnetlink import (
    IFF_UP,
    IFINFO,
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_BRPORT_ISOLATED,
    IFLA_BRPORT_MODE,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_IPVLAN_FLAGS,
    IFLA_IPVLAN_MODE,
    IFLA_LINK,
    IFLA_LINKINFO,
    IFLA_MACVLAN_MODE,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    IFLA_VLAN_ID,
    IN6_ADDR_GEN_MODE_NONE,
    NESTED,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELLINK,
    RTM_NEWLINK,
    VETH_INFO_PEER,
    Link,
    Request,
    attribute,
    number_attribute,
    text_attribute,
)


def mac_bytes(mac: str) -> bytes:
    """The six bytes of `02:42:…`."""
    return bytes.fromhex(mac.replace(":", ""))


def add_bridge(name: str, mac: str, mtu: int) -> Request:
    """A bridge that is up, with a fixed address (otherwise it takes the lowest of its ports', which come and go)."""
    info = text_attribute(IFLA_INFO_KIND, "bridge")
    payload = (
        IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
        + text_attribute(IFLA_IFNAME, name)
        + attribute(IFLA_ADDRESS, mac_bytes(mac))
        + number_attribute(IFLA_MTU, mtu)
        + attribute(IFLA_LINKINFO | NESTED, info)
    )
    command = ("ip", "link", "add", name, "address", mac, "mtu", str(mtu), "up", "type", "bridge")
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def add_veth(name: str, master: Link, peer: str, namespace_fd: int, mtu: int) -> Request:
    """A veth pair: one end here, on the bridge `master`; the other in a namespace. Both are down.

    (The kernel configures the peer before the two are connected, when it cannot be brought up. This end is brought up
    last: each change to one that is up and not connected has the kernel walk all routes of IPv6 that the host has.)
    """
    peer_payload = (
        IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + text_attribute(IFLA_IFNAME, peer)
        + number_attribute(IFLA_MTU, mtu)
        + number_attribute(IFLA_NET_NS_FD, namespace_fd)
    )
    info = text_attribute(IFLA_INFO_KIND, "veth") + attribute(
        IFLA_INFO_DATA | NESTED, attribute(VETH_INFO_PEER | NESTED, peer_payload)
    )
    payload = (
        IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + text_attribute(IFLA_IFNAME, name)
        + number_attribute(IFLA_MTU, mtu)
        + number_attribute(IFLA_MASTER, master.index)
        + attribute(IFLA_LINKINFO | NESTED, info)
    )
    outer = ("ip", "link", "add", name, "mtu", str(mtu), "master", master.name, "type", "veth")
    command = (*outer, "peer", "name", peer, "mtu", str(mtu), "netns", trace.NETNS)
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def add_link(name: str, kind: str) -> Request:
    """A link of a kind that needs nothing else (`dummy`, `bridge`); it is up."""
    payload = (
        IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
        + text_attribute(IFLA_IFNAME, name)
        + attribute(IFLA_LINKINFO | NESTED, text_attribute(IFLA_INFO_KIND, kind))
    )
    command = ("ip", "link", "add", name, "up", "type", kind)
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def set_alias(name: str, alias: str) -> Request:
    """Write something on a link. (With the request that makes one the kernel passes over it.)"""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    command = ("ip", "link", "set", name, "alias", alias)
    return Request("link", 0, RTM_NEWLINK, payload + attribute(IFLA_IFALIAS, alias.encode()), command)


def add_vlan(name: str, parent: Link, number: int) -> Request:
    """The part of a link that has a VLAN's number (802.1q); it is up."""
    data = attribute(IFLA_INFO_DATA | NESTED, attribute(IFLA_VLAN_ID, struct.pack("=H", number)))
    payload = (
        IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
        + text_attribute(IFLA_IFNAME, name)
        + number_attribute(IFLA_LINK, parent.index)
        + attribute(IFLA_LINKINFO | NESTED, text_attribute(IFLA_INFO_KIND, "vlan") + data)
    )
    command = ("ip", "link", "add", name, "link", parent.name, "up", "type", "vlan", "id", str(number))
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def add_macvlan(name: str, parent: Link, namespace_fd: int, mode: int, mtu: int, words: tuple[str, ...]) -> Request:
    """A macvlan on a link, in a namespace, down. `words`: the end of the command that does the same."""
    data = attribute(IFLA_INFO_DATA | NESTED, number_attribute(IFLA_MACVLAN_MODE, mode))
    return _add_sublink(name, parent, namespace_fd, mtu, text_attribute(IFLA_INFO_KIND, "macvlan") + data, words)


def add_ipvlan(
    name: str, parent: Link, namespace_fd: int, mode: int, flags: int, mtu: int, words: tuple[str, ...]
) -> Request:
    """An ipvlan on a link, in a namespace, down. `words` as of `add_macvlan`."""
    data = attribute(
        IFLA_INFO_DATA | NESTED,
        attribute(IFLA_IPVLAN_MODE, struct.pack("=H", mode)) + attribute(IFLA_IPVLAN_FLAGS, struct.pack("=H", flags)),
    )
    return _add_sublink(name, parent, namespace_fd, mtu, text_attribute(IFLA_INFO_KIND, "ipvlan") + data, words)


def _add_sublink(name: str, parent: Link, namespace_fd: int, mtu: int, info: bytes, words: tuple[str, ...]) -> Request:
    payload = (
        IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + text_attribute(IFLA_IFNAME, name)
        + number_attribute(IFLA_LINK, parent.index)
        + number_attribute(IFLA_NET_NS_FD, namespace_fd)
        + (number_attribute(IFLA_MTU, mtu) if mtu else b"")
        + attribute(IFLA_LINKINFO | NESTED, info)
    )
    command = ("ip", "link", "add", name, "link", parent.name, "netns", trace.NETNS, "type", *words)
    return Request("link", NLM_F_CREATE | NLM_F_EXCL, RTM_NEWLINK, payload, command)


def move_link(index: int, name: str, namespace_fd: int, new_name: str) -> Request:
    """Give a link to a namespace, under a new name; it is down there."""
    payload = (
        IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, IFF_UP)
        + number_attribute(IFLA_NET_NS_FD, namespace_fd)
        + text_attribute(IFLA_IFNAME, new_name)
    )
    command = ("ip", "link", "set", name, "down", "netns", trace.NETNS, "name", new_name)
    return Request("link", 0, RTM_NEWLINK, payload, command)


def rename_link(index: int, name: str, new_name: str) -> Request:
    """Give a link another name; it is down."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, index, 0, 0) + text_attribute(IFLA_IFNAME, new_name)
    return Request("link", 0, RTM_NEWLINK, payload, ("ip", "link", "set", name, "name", new_name))


def set_port(name: str, *, isolated: bool = False) -> Request:
    """Let a bridge port send frames back to where they came from (hairpin); `isolated`: none to other such ports.

    With br_netfilter the bridge itself translates addresses: a container that reaches its own published port through
    the host's address would not get its own packets otherwise.
    """
    data = attribute(IFLA_BRPORT_MODE, b"\1")
    if isolated:
        data += attribute(IFLA_BRPORT_ISOLATED, b"\1")
    info = text_attribute(IFLA_INFO_SLAVE_KIND, "bridge") + attribute(IFLA_INFO_SLAVE_DATA | NESTED, data)
    payload = (
        IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + text_attribute(IFLA_IFNAME, name)
        + attribute(IFLA_LINKINFO | NESTED, info)
    )
    command = ("bridge", "link", "set", "dev", name, "hairpin", "on", *(("isolated", "on") if isolated else ()))
    return Request("link", 0, RTM_NEWLINK, payload, command)


def set_master(name: str, master: int, master_name: str) -> Request:
    """Make a link a port of a bridge, and bring it up."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, IFF_UP, IFF_UP) + text_attribute(IFLA_IFNAME, name)
    command = ("ip", "link", "set", name, "master", master_name, "up")
    return Request("link", 0, RTM_NEWLINK, payload + number_attribute(IFLA_MASTER, master), command)


def set_no_own_address(name: str) -> Request:
    """Have the kernel give a link no IPv6 address of its own when it comes up: a port of a bridge needs none.

    Of each address the kernel makes routes, and looks for another who has it; with a thousand ports it would have a
    thousand times that in the way of each change of a link. Fails without IPv6, and where the MTU is too small for it.
    """
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
    payload = (
        IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        + text_attribute(IFLA_IFNAME, name)
        + attribute(IFLA_AF_SPEC | NESTED, attribute(socket.AF_INET6 | NESTED, mode))
    )
    return Request("link", 0, RTM_NEWLINK, payload, ("ip", "link", "set", name, "addrgenmode", "none"))


def set_up(index: int, name: str) -> Request:
    """Bring a link up; it is found by its name when `index` is 0."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, index, IFF_UP, IFF_UP)
    if not index:
        payload += text_attribute(IFLA_IFNAME, name)
    return Request("link", 0, RTM_NEWLINK, payload, ("ip", "link", "set", name, "up"))


def set_mac(name: str, mac: str) -> Request:
    """Give a link another hardware address."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    return Request(
        "link",
        0,
        RTM_NEWLINK,
        payload + attribute(IFLA_ADDRESS, mac_bytes(mac)),
        ("ip", "link", "set", name, "address", mac),
    )


def delete_link(name: str) -> Request:
    """Remove a link."""
    payload = IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text_attribute(IFLA_IFNAME, name)
    return Request("link", 0, RTM_DELLINK, payload, ("ip", "link", "delete", name))
