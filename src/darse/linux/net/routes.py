"""Requests that change addresses and routes (ip-address(8), ip-route(8)), for `rtnetlink.Netlink.run`."""

from __future__ import annotations

import ipaddress
import socket

from darse.linux.net.rtnetlink import (
    FAMILIES,
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_F_NODAD,
    IFA_LOCAL,
    IFADDR,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    ROUTE,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_LOCAL,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PRIORITY,
    RTM_DELADDR,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    RTN_LOCAL,
    RTN_UNICAST,
    RTPROT_BOOT,
    Address,
    Interface,
    Network,
    Request,
    attribute,
    number_attribute,
)

_LOOPBACK_METRIC = 2048


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
        IFADDR.pack(FAMILIES[address.version], address.network.prefixlen, flags, 0, index)
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
    payload = _route(version, 0, RT_SCOPE_LINK) + number_attribute(RTA_OIF, index)
    family = ("-6",) if version == 6 else ()
    command = ("ip", *family, "route", "replace", "default", "dev", name)
    return Request("route", NLM_F_CREATE | NLM_F_REPLACE, RTM_NEWROUTE, payload, command)


def add_route(destination: Network, index: int, name: str, gateway: Address | None = None) -> Request:
    """Send what is for `destination` out of a link: to `gateway`, or to neighbours there."""
    scope = RT_SCOPE_UNIVERSE if gateway is not None or destination.version == 6 else RT_SCOPE_LINK
    payload = (
        _route(destination.version, destination.prefixlen, scope)
        + attribute(RTA_DST, destination.network_address.packed)
        + number_attribute(RTA_OIF, index)
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
        ROUTE.pack(socket.AF_INET6, 128, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_LOCAL, 0)
        + attribute(RTA_DST, ipaddress.IPv6Address("::1").packed)
        + number_attribute(RTA_OIF, index)
        + number_attribute(RTA_PRIORITY, _LOOPBACK_METRIC)
    )
    route = ("local", "::1", "dev", name, "table", "local", "metric", str(_LOOPBACK_METRIC))
    return Request("route", NLM_F_CREATE | NLM_F_APPEND, RTM_NEWROUTE, payload, ("ip", "-6", "route", "append", *route))


def _route(version: int, prefix: int, scope: int = RT_SCOPE_UNIVERSE) -> bytes:
    return ROUTE.pack(FAMILIES[version], prefix, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
