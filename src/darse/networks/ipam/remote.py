"""IPAM drivers that are plugins (`IpamDriver`, libnetwork's docs/ipam.md).

A plugin that remembers nothing says so (`RequiresRequestReplay`): before the first call of an engine it is asked once
more for all pools and addresses that are on record, as they are.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from typing import Any, TypeVar

import msgspec

from darse.networks.ipam.base import AddressLease, PoolLease, PoolRequest
from darse.networks.model import SubnetPool
from darse.plugins import PluginClient, PluginError

T = TypeVar("T")
KIND = "IpamDriver"
_GATEWAY = "com.docker.network.gateway"
_log = logging.getLogger(__name__)


class _Capabilities(msgspec.Struct):
    RequiresRequestReplay: bool = False


class _Restored(msgspec.Struct):
    """A pool of an earlier engine, with the addresses that are in use."""

    pool: SubnetPool
    options: dict[str, str]
    addresses: list[str]


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
        # What is on record of earlier engines, until the plugin has heard of it, if it wants to.
        self._restored: dict[str, _Restored] = {}
        self._replaying = asyncio.Lock()
        # What the plugin calls pools now, where that is not what is on record.
        self._ids: dict[str, str] = {}

    async def _call(self, method: str, arguments: dict[str, Any], answer: type[T]) -> T:
        if self._restored:
            async with self._replaying:
                await self._replay()
        return await self._ask(method, arguments, answer)

    async def _ask(self, method: str, arguments: dict[str, Any], answer: type[T]) -> T:
        if "PoolID" in arguments:
            arguments = {**arguments, "PoolID": self._ids.get(arguments["PoolID"], arguments["PoolID"])}
        return await self._plugins.call(self.name, KIND, method, arguments, answer)

    async def _replay(self) -> None:
        """Ask for what is on record once more, if the plugin remembers nothing. Raises NotFound and PluginError."""
        if self._restored and not await self._requires_replay():
            self._restored.clear()
        for key, restored in list(self._restored.items()):
            pool = restored.pool
            request = PoolRequest(
                version=pool.version, subnet=pool.subnet, ip_range=pool.ip_range, options=restored.options
            )
            given = await self._request_pool(request)
            self._ids[pool.id] = given.PoolID
            for address in filter(None, (pool.gateway, *pool.reserved.values(), *restored.addresses)):
                options = {"RequestAddressType": _GATEWAY} if address == pool.gateway else {}
                asked = {"PoolID": pool.id, "Address": address, "Options": options}
                try:
                    await self._ask("RequestAddress", asked, _Address)
                except PluginError as error:
                    _log.warning("IPAM plugin %s does not give %s once more: %s", self.name, address, error)
            self._restored.pop(key, None)

    async def _requires_replay(self) -> bool:
        try:
            return (await self._ask("GetCapabilities", {}, _Capabilities)).RequiresRequestReplay
        except PluginError:
            return False  # plugins may have no such method

    async def request_pool(self, request: PoolRequest) -> PoolLease:
        """See `IPAMDriver`."""
        if self._restored:
            async with self._replaying:
                await self._replay()
        given = await self._request_pool(request)
        subnet = self._subnet(given.Pool, request)
        return PoolLease(given.PoolID, subnet, (given.Data or {}).get(_GATEWAY, ""))

    async def _request_pool(self, request: PoolRequest) -> _Pool:
        if self._space is None:
            self._space = (await self._ask("GetDefaultAddressSpaces", {}, _Spaces)).LocalDefaultAddressSpace
        asked = {
            "AddressSpace": self._space,
            "Pool": request.subnet,
            "SubPool": request.ip_range,
            "Options": request.options,
            "V6": request.version == 6,
        }
        return await self._ask("RequestPool", asked, _Pool)

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

    def restore_pool(self, pool: SubnetPool, options: dict[str, str]) -> None:
        """The plugin remembers it, or is asked for it once more."""
        self._restored[pool.id] = _Restored(pool, options, [])

    async def request_address(
        self, pool: SubnetPool, address: str = "", options: dict[str, str] | None = None
    ) -> AddressLease:
        """See `IPAMDriver`."""
        asked = {"PoolID": pool.id, "Address": address, "Options": options or {}}
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

    def release_address_now(self, pool: SubnetPool, address: str) -> None:
        """The plugin keeps it."""

    def restore_address(self, pool: SubnetPool, address: str) -> None:
        """As `restore_pool`."""
        if pool.id in self._restored:
            self._restored[pool.id].addresses.append(address)

    def counts(self, pool: SubnetPool) -> tuple[int, int] | None:
        """The plugin does not tell."""
        return None
