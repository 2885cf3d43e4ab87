"""Network drivers that are plugins (`NetworkDriver`, libnetwork's docs/remote.md).

The plugin makes a link in the host's namespace and names it; the engine moves that into the sandbox, and gives it back
under its old name when the sandbox leaves.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import Any, Final, TypeVar

import msgspec

from darse.core.errors import NotFound
from darse.linux.net.links import move_link
from darse.linux.net.netns import Netns
from darse.linux.net.rtnetlink import Netlink
from darse.networks.drivers.base import EndpointResult, JoinResult, KernelDriver
from darse.networks.endpoint_settings import interface_name
from darse.networks.model import Endpoint, NetworkRecord, PortWishes, StaticRoute, SubnetPool
from darse.networks.ports import host_range, split_key
from darse.plugins import PluginClient, PluginError

T = TypeVar("T")
_log = logging.getLogger(__name__)
KIND = "NetworkDriver"
_GENERIC = "com.docker.network.generic"
_LINK_NAME = re.compile(r"(?!\.\.?\Z|lo\Z)[^\s/:\0]{1,15}\Z")
# A number follows.
_PREFIX = re.compile(r"[^\s/:%\0]{1,12}\Z")
_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}
# Of StaticRoutes: 0 by a gateway, 1 on the link.
_NEXT_HOP: Final = 0


class _Nothing(msgspec.Struct):
    pass


class _Interface(msgspec.Struct):
    Address: str = ""
    AddressIPv6: str = ""
    MacAddress: str = ""


class _Endpoint(msgspec.Struct):
    Interface: _Interface | None = None


class _InterfaceName(msgspec.Struct):
    SrcName: str = ""
    DstPrefix: str = ""


class _Route(msgspec.Struct):
    Destination: str = ""
    RouteType: int = 0
    NextHop: str = ""


class _Join(msgspec.Struct):
    InterfaceName: _InterfaceName | None = None
    Gateway: str = ""
    GatewayIPv6: str = ""
    StaticRoutes: list[_Route] | None = None


class RemoteNetworkDriver(KernelDriver):
    """A network driver of a plugin."""

    keeps_outside = True

    def __init__(self, name: str, plugins: PluginClient) -> None:
        self.name = name
        self._plugins = plugins
        self._netlink: Netlink | None = None

    async def _call(self, method: str, arguments: dict[str, Any], answer: type[T]) -> T:
        return await self._plugins.call(self.name, KIND, method, arguments, answer)

    async def create_network(self, record: NetworkRecord) -> None:
        """See `Driver`. The plugin remembers its networks: it is called once."""
        await self._call(
            "CreateNetwork",
            {
                "NetworkID": record.id,
                "Options": {
                    _GENERIC: record.options,
                    "com.docker.network.enable_ipv4": record.ipv4,
                    "com.docker.network.enable_ipv6": record.ipv6,
                    "com.docker.network.internal": record.internal,
                },
                "IPv4Data": [_pool_data(pool) for pool in record.pools_of(4)],
                "IPv6Data": [_pool_data(pool) for pool in record.pools_of(6)],
            },
            _Nothing,
        )

    async def delete_network(self, record: NetworkRecord) -> None:
        """See `Driver`. As with dockerd, the network goes whatever the plugin says: it may not know it."""
        try:
            await self._call("DeleteNetwork", {"NetworkID": record.id}, _Nothing)
        except NotFound:
            pass  # the plugin is gone, and its networks with it
        except PluginError as error:
            _log.warning("network %s is removed all the same: %s", record.name, error)

    async def create_endpoint(self, record: NetworkRecord, endpoint: Endpoint) -> EndpointResult:
        """See `Driver`. What the engine has given the plugin may not change."""
        given = _Interface(
            f"{endpoint.address}/{endpoint.prefix}" if endpoint.address else "",
            f"{endpoint.address6}/{endpoint.prefix6}" if endpoint.address6 else "",
            endpoint.mac,
        )
        arguments = {
            **_ids(record, endpoint),
            "Interface": msgspec.to_builtins(given),
            "Options": {_GENERIC: endpoint.options},
        }
        answered = (await self._call("CreateEndpoint", arguments, _Endpoint)).Interface or _Interface()
        for field in ("Address", "AddressIPv6", "MacAddress"):
            if getattr(answered, field) and getattr(given, field):
                raise PluginError(f"network plugin {self.name} changes the {field} that its endpoint has already")
        for text in filter(None, (answered.Address, answered.AddressIPv6)):
            if "/" not in text or _interface(text) is None:
                raise PluginError(f"network plugin {self.name} gives its endpoint no address: {text!r}")
        return EndpointResult(mac=answered.MacAddress, address=answered.Address, address6=answered.AddressIPv6)

    async def delete_endpoint(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """See `Driver`."""
        await self._call("DeleteEndpoint", _ids(record, endpoint), _Nothing)

    async def join(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> JoinResult:
        """See `Driver`."""
        arguments = {**_ids(record, endpoint), "SandboxKey": netns.path, "Options": {_GENERIC: endpoint.options}}
        joined = await self._call("Join", arguments, _Join)
        source = joined.InterfaceName.SrcName if joined.InterfaceName is not None else ""
        if _LINK_NAME.match(source) is None:
            raise PluginError(f"network plugin {self.name} names no link: {source!r}")
        for text in filter(None, (joined.Gateway, joined.GatewayIPv6)):
            if _interface(text) is None:
                raise PluginError(f"network plugin {self.name} gives no gateway: {text!r}")
        routes = tuple(self._route(route) for route in joined.StaticRoutes or ())
        prefix = joined.InterfaceName.DstPrefix if joined.InterfaceName is not None else ""
        if prefix and _PREFIX.match(prefix) is None:
            raise PluginError(f"network plugin {self.name} names no interface: {prefix!r}")
        interface = await netns.work(self._move_in, source, endpoint, prefix, netns)
        return JoinResult(
            link=source, gateway=joined.Gateway, gateway6=joined.GatewayIPv6, routes=routes, interface=interface
        )

    def _route(self, route: _Route) -> StaticRoute:
        try:
            destination = str(ipaddress.ip_network(route.Destination, strict=False))
            if route.RouteType == _NEXT_HOP:
                return StaticRoute(destination, str(ipaddress.ip_address(route.NextHop)))
        except ValueError as error:
            raise PluginError(f"network plugin {self.name} gives no route: {error}") from error
        return StaticRoute(destination)

    def _host(self) -> Netlink:
        if self._netlink is None:
            self._netlink = Netlink()
        return self._netlink

    def _move_in(self, source: str, endpoint: Endpoint, prefix: str, netns: Netns) -> str:
        """Move the plugin's link into a namespace; return the name that it has there."""
        link = self._host().link(source)
        if link is None:
            raise PluginError(f"network plugin {self.name} names the link {source}, which is not on this host")
        interface = _interface_name(endpoint, prefix, netns)
        self._host().run(move_link(link.index, source, netns.descriptor, interface))
        return interface

    async def leave(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns | None) -> None:
        """See `Driver`: a running container gives the plugin's link back."""
        if netns is not None and endpoint.link:
            await netns.work(_move_out, netns, endpoint)
        await self._call("Leave", _ids(record, endpoint), _Nothing)

    async def program_external_connectivity(self, record: NetworkRecord, endpoint: Endpoint, ports: PortWishes) -> None:
        """See `Driver`."""
        options = {
            "com.docker.network.endpoint.exposedports": [
                {"Proto": _PROTOCOLS[protocol], "Port": number} for number, protocol in map(split_key, ports.exposed)
            ],
            "com.docker.network.portmap": list(_port_map(ports)),
        }
        arguments = {**_ids(record, endpoint), "Options": options}
        await self._call("ProgramExternalConnectivity", arguments, _Nothing)

    async def revoke_external_connectivity(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """See `Driver`."""
        await self._call("RevokeExternalConnectivity", _ids(record, endpoint), _Nothing)

    def close(self) -> None:
        """Let go of the kernel."""
        if self._netlink is not None:
            self._netlink.close()


def _interface_name(endpoint: Endpoint, prefix: str, netns: Netns) -> str:
    """The name that an option asks for, or the first with the plugin's prefix that is free: `weave0`.

    With docker's own prefix, `eth`, it is the one that the engine has chosen among all networks of the sandbox.
    """
    if interface_name(endpoint.options) or prefix in ("", "eth"):
        return endpoint.interface
    if re.fullmatch(re.escape(prefix) + "[0-9]+", endpoint.interface):
        return endpoint.interface  # an endpoint whose link is made anew
    taken = {link.name for link in netns.netlink.links()}
    return next(name for number in range(len(taken) + 1) if (name := f"{prefix}{number}") not in taken)


def _ids(record: NetworkRecord, endpoint: Endpoint) -> dict[str, Any]:
    return {"NetworkID": record.id, "EndpointID": endpoint.endpoint_id}


def _pool_data(pool: SubnetPool) -> dict[str, Any]:
    prefix = pool.network.prefixlen
    return {
        "AddressSpace": "",
        "Pool": pool.subnet,
        "Gateway": f"{pool.gateway}/{prefix}" if pool.gateway else "",
        "AuxAddresses": {name: f"{address}/{prefix}" for name, address in pool.reserved.items()},
    }


def _port_map(ports: PortWishes) -> list[dict[str, Any]]:
    found = []
    for key, bindings in ports.ports.items():
        number, protocol = split_key(key)
        for binding in bindings or ():
            hosts = host_range(binding)
            first, last = (hosts[0], hosts[-1]) if hosts else (0, 0)
            found.append(
                {
                    "Proto": _PROTOCOLS[protocol],
                    "IP": "",
                    "Port": number,
                    "HostIP": binding.HostIp,
                    "HostPort": first,
                    "HostPortEnd": last,
                }
            )
    return found


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        return None


def _move_out(netns: Netns, endpoint: Endpoint) -> None:
    link = netns.netlink.link(endpoint.interface)
    if link is not None:
        with open("/proc/self/ns/net", "rb") as host:
            netns.netlink.run(move_link(link.index, endpoint.interface, host.fileno(), endpoint.link))
