"""IPAM drivers that are plugins (`IpamDriver`, libnetwork's docs/ipam.md)."""

from __future__ import annotations

import ipaddress
from typing import Any, TypeVar

import msgspec

from darse.networks.ipam.base import AddressLease, PoolLease, PoolRequest
from darse.networks.model import SubnetPool
from darse.plugins import PluginClient, PluginError

T = TypeVar("T")
KIND = "IpamDriver"
_GATEWAY = "com.docker.network.gateway"


class _Spaces(msgspec.Struct):
    LocalDefaultAddressSpace: str = ""


class _Pool(msgspec.Struct):
    PoolID: str = ""
    Pool: str = ""
    Data: dict[str, str] | None = None


class _Address(msgspec.Struct):
    Address: str = ""


class _Nothing(msgspec.Struct):
    pass


class RemoteIPAM:
    """Address management of a plugin."""

    keeps_outside = True

    def __init__(self, name: str, plugins: PluginClient) -> None:
        self.name = name
        self._plugins = plugins
        self._space: str | None = None

    async def _call(self, method: str, arguments: dict[str, Any], answer: type[T]) -> T:
        return await self._plugins.call(self.name, KIND, method, arguments, answer)

    async def request_pool(self, request: PoolRequest) -> PoolLease:
        """See `IPAMDriver`."""
        if self._space is None:
            self._space = (await self._call("GetDefaultAddressSpaces", {}, _Spaces)).LocalDefaultAddressSpace
        asked = {
            "AddressSpace": self._space,
            "Pool": request.subnet,
            "SubPool": request.ip_range,
            "Options": request.options,
            "V6": request.version == 6,
        }
        given = await self._call("RequestPool", asked, _Pool)
        subnet = self._subnet(given.Pool, request)
        return PoolLease(given.PoolID, subnet, (given.Data or {}).get(_GATEWAY, ""))

    def _subnet(self, text: str, request: PoolRequest) -> str:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise PluginError(f"IPAM plugin {self.name} gives no subnet: {text!r}") from None
        if network.version != request.version:
            raise PluginError(f"IPAM plugin {self.name} gives {network}, and IPv{request.version} was asked for")
        return "" if network.prefixlen == 0 else str(network)

    async def release_pool(self, pool: SubnetPool) -> None:
        """See `IPAMDriver`."""
        for address in filter(None, (pool.gateway, *pool.reserved.values())):
            await self.release_address(pool, address)
        await self._call("ReleasePool", {"PoolID": pool.id}, _Nothing)

    def restore_pool(self, pool: SubnetPool) -> None:
        """The plugin remembers it."""

    async def request_address(
        self, pool: SubnetPool, wanted: str = "", options: dict[str, str] | None = None
    ) -> AddressLease:
        """See `IPAMDriver`."""
        asked = {"PoolID": pool.id, "Address": wanted, "Options": options or {}}
        given = await self._call("RequestAddress", asked, _Address)
        try:
            interface = ipaddress.ip_interface(given.Address)
        except ValueError:
            raise PluginError(f"IPAM plugin {self.name} gives no address: {given.Address!r}") from None
        if interface.ip not in pool.network:
            raise PluginError(f"IPAM plugin {self.name} gives {interface.ip}, which is not in {pool.subnet}")
        prefix = interface.network.prefixlen if "/" in given.Address else pool.network.prefixlen
        return AddressLease(str(interface.ip), prefix)

    async def release_address(self, pool: SubnetPool, address: str) -> None:
        """See `IPAMDriver`."""
        await self._call("ReleaseAddress", {"PoolID": pool.id, "Address": address}, _Nothing)

    def restore_address(self, pool: SubnetPool, address: str) -> None:
        """The plugin remembers it."""

    def counts(self, pool: SubnetPool) -> tuple[int, int] | None:
        """The plugin does not tell."""
        return None
