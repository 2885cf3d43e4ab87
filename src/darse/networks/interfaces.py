"""The interface of an endpoint inside its namespace: names, addresses, kernel parameters, routes."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Sequence

from darse.core import trace
from darse.core.errors import SystemFault
from darse.linux.net.links import set_mac, set_up
from darse.linux.net.netns import Netns, NetnsThread
from darse.linux.net.routes import add_address, add_route, set_default_link, set_default_route
from darse.linux.net.rtnetlink import Link, Request
from darse.networks.endpoint_settings import interface_name, link_local, sysctls
from darse.networks.model import Endpoint

VERSIONS = (4, 6)


def gateway_endpoint(endpoints: Sequence[Endpoint], version: int) -> Endpoint | None:
    """The endpoint of the default route of a family: of the highest priority, the first."""
    leading = (one for one in endpoints if gateway_of(one, version) or leads_by_link(one, version))
    return max(leading, key=lambda one: one.priority, default=None)


def leading_ids(endpoints: Sequence[Endpoint]) -> set[str]:
    """The ids of the endpoints that lead out, for either family."""
    found = (gateway_endpoint(endpoints, version) for version in VERSIONS)
    return {endpoint.endpoint_id for endpoint in found if endpoint is not None}


def gateway_of(endpoint: Endpoint, version: int) -> str:
    """The gateway of a family; empty without one."""
    return endpoint.gateway6 if version == 6 else endpoint.gateway


def leads_by_link(endpoint: Endpoint, version: int) -> bool:
    """Whether the endpoint leads out without a gateway, for a family."""
    return endpoint.routed_by_link and bool(endpoint.address6 if version == 6 else endpoint.address)


def free_name(requested: str, taken: Collection[str]) -> str:
    """The name for an interface: the requested one, or the first `ethN` that is free."""
    if requested and requested not in taken:
        return requested
    return next(name for name in (f"eth{number}" for number in range(len(taken) + 1)) if name not in taken)


def name_interfaces(endpoints: list[Endpoint]) -> None:
    """Name the interfaces of a new sandbox: as asked for, the others `eth0` and so on."""
    taken = {"lo", *(interface_name(endpoint.options) for endpoint in endpoints)}
    for endpoint in endpoints:
        endpoint.interface = interface_name(endpoint.options) or free_name("", taken)
        taken.add(endpoint.interface)


async def configure(
    thread: NetnsThread,
    netns: Netns,
    endpoint: Endpoint,
    leads: Collection[int],
    first: Callable[[], object] | None = None,
) -> None:
    """Give an interface its addresses and routes, and bring it up; `leads`: the families whose default route it has.

    `first` is called before that in the same turn of a thread: on a busy host each turn costs milliseconds.
    Raises SystemFault when the interface has vanished, and OSError.
    """
    parameters = sysctls(endpoint.options)
    if endpoint.address6 or any(":" in one for one in endpoint.link_local):
        # Its own link-local address can be used at once, too.
        there = {"net/ipv6/conf/IFNAME/accept_dad": "0", "net/ipv6/conf/IFNAME/disable_ipv6": "0"}
        parameters = {**there, **parameters}
    if parameters:
        # The thread that goes into namespaces also makes them ahead of their use: only those wait for it who must.
        await thread.run(lambda: thread.inside(netns, lambda: _write_sysctls(thread, endpoint.interface, parameters)))
    await netns.work(_configure, netns, endpoint, leads, first)


def _configure(netns: Netns, endpoint: Endpoint, leads: Collection[int], first: Callable[[], object] | None) -> None:
    if first is not None:
        first()
    link = netns.netlink.link(endpoint.interface)
    if link is None:
        raise SystemFault(f"the interface {endpoint.interface} of the container has vanished")
    interface = endpoint.interface
    addresses = [*endpoint.addresses(), *map(link_local, endpoint.link_local)]
    requests = [
        *((set_mac(interface, endpoint.mac),) if endpoint.mac else ()),
        set_up(link.index, interface),
        *(add_address(link.index, interface, address) for address in addresses),
        *_routes(endpoint, link),
        *default_routes(endpoint, link, leads),
    ]
    summary = f"{interface} inside: up, {', '.join(map(str, addresses))}"
    if leads:
        summary += f", the way out by {' and '.join(gateway_of(endpoint, one) or interface for one in leads)}"
    netns.netlink.run(*requests, summary=summary)


def _write_sysctls(thread: NetnsThread, interface: str, parameters: dict[str, str]) -> None:
    for name, value in parameters.items():
        path = name.replace("IFNAME", interface)
        with trace.step("rule", f"{path} = {value} inside", "ip", "netns", "exec", trace.NETNS, "sysctl", "-w"):
            try:
                thread.set_parameter(path, value)
            except FileNotFoundError as error:
                if "/ipv6/" in path:
                    raise SystemFault(
                        "the host has no IPv6: give the network --ipv6=false, or boot without ipv6.disable=1"
                    ) from error
                raise


def _routes(endpoint: Endpoint, link: Link) -> Iterable[Request]:
    for route in endpoint.routes:
        next_hop = ipaddress.ip_address(route.next_hop) if route.next_hop else None
        yield add_route(ipaddress.ip_network(route.destination), link.index, link.name, next_hop)


def default_routes(endpoint: Endpoint, link: Link, leads: Collection[int]) -> Iterable[Request]:
    """What makes an endpoint the way out of its namespace, for these families."""
    for version in leads:
        gateway = gateway_of(endpoint, version)
        if gateway:
            yield set_default_route(ipaddress.ip_address(gateway))
        elif leads_by_link(endpoint, version):
            yield set_default_link(link.index, link.name, version)


def interface_names(netns: Netns) -> set[str]:
    """The names of a namespace's interfaces. Raises OSError."""
    return {link.name for link in netns.netlink.links()}


def lead_out(endpoints: Sequence[Endpoint], netns: Netns) -> OSError | None:
    """Send what is for elsewhere by those of these endpoints that lead out; return why that was not possible."""
    try:
        for version in VERSIONS:
            endpoint = gateway_endpoint(endpoints, version)
            link = netns.netlink.link(endpoint.interface) if endpoint is not None and endpoint.interface else None
            if endpoint is not None and link is not None:
                netns.netlink.run(*default_routes(endpoint, link, [version]))
    except OSError as error:
        return error
    return None
