"""`default`: the engine's own address management.

Subnets are cut from the default address pools, in order, and overlap neither another network of the engine nor a
route of the host. For IPv6 the pool is by default a unique local /48 (RFC 4193) of the engine's own, in networks of
/64.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterable
from pathlib import Path

from darse.core.config import AddressPool
from darse.core.errors import Conflict, Forbidden
from darse.networks.ipam.allocator import AddressAllocator, parse_address
from darse.networks.ipam.base import AddressLease, PoolLease, PoolRequest
from darse.networks.model import IPNetwork, SubnetPool

_ULA_SIZE = 64


class DefaultIPAM:
    """Pools and leases, in memory; the rows of networks and sandboxes have them."""

    name = "default"
    keeps_outside = False

    def __init__(
        self, pools: Iterable[AddressPool], in_use: Callable[[int], Iterable[IPNetwork]], seed: str = ""
    ) -> None:
        """`in_use` gives what the host has of a family (4 or 6); `seed` makes the engine's unique local prefix."""
        self._defaults = list(pools)
        if not any(":" in pool.base for pool in self._defaults):
            self._defaults.append(AddressPool(unique_local_prefix(seed), _ULA_SIZE))
        self._in_use = in_use
        self._pools: dict[str, AddressAllocator] = {}

    async def request_pool(self, request: PoolRequest) -> PoolLease:
        """See `IPAMDriver`."""
        if request.subnet:
            subnet = ipaddress.ip_network(request.subnet)
            if any(_overlap(subnet, other) for other in self.networks(subnet.version)):
                raise Forbidden("invalid pool request: SubnetPool overlaps with other one on this address space")
        else:
            subnet = self.choose(request.version)
        self._pools[str(subnet)] = _allocator(SubnetPool(subnet=str(subnet), ip_range=request.ip_range))
        return PoolLease(str(subnet), str(subnet))

    def choose(self, version: int, *, beside: Iterable[IPNetwork] = ()) -> IPNetwork:
        """A subnet that nobody has, and that overlaps none of `beside`. Raises Conflict when there is none."""
        return choose_subnet(self._defaults, [*self.networks(version), *self._in_use(version), *beside], version)

    def networks(self, version: int) -> list[IPNetwork]:
        """The subnets of the pools that are in use, of a family."""
        return [one.network for one in self._pools.values() if one.network.version == version]

    async def release_pool(self, pool: SubnetPool) -> None:
        """See `IPAMDriver`."""
        self.release_pool_now(pool)

    def release_pool_now(self, pool: SubnetPool) -> None:
        """As `release_pool`, at once."""
        self._pools.pop(pool.subnet, None)

    def restore_pool(self, pool: SubnetPool, options: dict[str, str]) -> None:
        """See `IPAMDriver`."""
        self._pools[pool.subnet] = _allocator(pool)

    async def request_address(
        self, pool: SubnetPool, address: str = "", options: dict[str, str] | None = None
    ) -> AddressLease:
        """See `IPAMDriver`."""
        version = pool.version
        allocator = self._pools[pool.subnet]
        leased = allocator.allocate(parse_address(address, f"IPv{version} address", version) if address else None)
        return AddressLease(str(leased), pool.network.prefixlen)

    async def release_address(self, pool: SubnetPool, address: str) -> None:
        """See `IPAMDriver`."""
        self.release_address_now(pool, address)

    def release_address_now(self, pool: SubnetPool, address: str) -> None:
        """See `IPAMDriver`."""
        allocator = self._pools.get(pool.subnet)
        if allocator is not None:
            allocator.release(ipaddress.ip_address(address))

    def restore_address(self, pool: SubnetPool, address: str) -> None:
        """See `IPAMDriver`."""
        self._pools[pool.subnet].restore(ipaddress.ip_address(address))

    def counts(self, pool: SubnetPool) -> tuple[int, int] | None:
        """See `IPAMDriver`."""
        allocator = self._pools.get(pool.subnet)
        return allocator.counts() if allocator is not None else None


def _allocator(pool: SubnetPool) -> AddressAllocator:
    reserved = [ipaddress.ip_address(text) for text in (pool.gateway, *pool.reserved.values()) if text]
    ip_range = ipaddress.ip_network(pool.ip_range, strict=False) if pool.ip_range else None
    return AddressAllocator(pool.network, reserved, ip_range)


def choose_subnet(pools: Iterable[AddressPool], taken: Iterable[IPNetwork], version: int = 4) -> IPNetwork:
    """Return the first subnet of the pools that overlaps nothing in `taken`. Raises Conflict when there is none."""
    used = [network for network in taken if network.version == version]
    for pool in pools:
        base = ipaddress.ip_network(pool.base)
        if base.version != version:
            continue
        found = _first_free(base, pool.size, used)
        if found is not None:
            return found
    raise Conflict(
        "all predefined address pools have been fully subnetted: remove unused networks (docker network prune), or "
        "give the network a subnet"
    )


def _first_free(base: IPNetwork, size: int, used: Iterable[IPNetwork]) -> IPNetwork | None:
    """The first subnet of `base` that none of `used` overlaps. What is in the way is passed over in one step."""
    step = 1 << (base.max_prefixlen - size)
    last = int(base.broadcast_address)
    start = int(base.network_address)
    # Of two networks that overlap one holds the other, so that those that are in the way are met in order.
    spans = sorted((int(other.network_address), int(other.broadcast_address)) for other in used)
    for first, end in spans:
        if end < start:
            continue
        if first >= start + step:
            break
        start = (end // step + 1) * step
    if start + step - 1 > last:
        return None
    kind = ipaddress.IPv4Network if base.version == 4 else ipaddress.IPv6Network
    return kind((start, size))


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return (
        one.version == other.version
        and int(one.network_address) <= int(other.broadcast_address)
        and (int(other.network_address) <= int(one.broadcast_address))
    )


def unique_local_prefix(seed: str) -> str:
    """A /48 of fd00::/8 that is the same for an engine every time, and another one for every other engine."""
    machine = Path("/etc/machine-id")
    identity = machine.read_text() if machine.exists() else ""
    digest = hashlib.sha256(f"{identity}\0{seed}".encode()).digest()
    return str(ipaddress.IPv6Network((b"\xfd" + digest[:5] + bytes(10), 48)))
