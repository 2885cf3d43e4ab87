"""Address management: subnets for networks, addresses for endpoints.

Addresses are handed out in a circle, so that one that was just released is the last to be given again: neighbours'
caches and conntrack entries of the container that had it have time to go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from darse.core.config import AddressPool
from darse.core.errors import Conflict, Forbidden, InvalidParameter

Network = ipaddress.IPv4Network
Address = ipaddress.IPv4Address


def choose_subnet(pools: Iterable[AddressPool], taken: Iterable[Network]) -> Network:
    """Return the first subnet of the pools that overlaps nothing in `taken`. Raises Conflict when there is none."""
    used = list(taken)
    for pool in pools:
        for candidate in Network(pool.base).subnets(new_prefix=pool.size):
            if not any(candidate.overlaps(other) for other in used):
                return candidate
    raise Conflict(
        "all predefined address pools have been fully subnetted: remove unused networks (docker network prune), or "
        "give the network a subnet"
    )


def parse_subnet(text: str) -> Network:
    """Read a subnet. Raises InvalidParameter."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise InvalidParameter(f"invalid subnet {text}: it must be a network such as 172.30.0.0/16") from None
    if not isinstance(network, Network):
        raise InvalidParameter(f"invalid subnet {text}: IPv6 networks are not supported yet")
    if network.prefixlen > 30:
        raise InvalidParameter(f"invalid subnet {text}: it has no room for a gateway and a container")
    return network


def parse_address(text: str, what: str) -> Address:
    """Read an address. Raises InvalidParameter."""
    try:
        return Address(text)
    except ValueError:
        raise InvalidParameter(f"invalid {what}: {text}") from None


class AddressAllocator:
    """The addresses of one network that are in use."""

    def __init__(self, network: Network, reserved: Iterable[Address], ip_range: Network | None = None) -> None:
        self._network = network
        self._range = ip_range or network
        self._first = int(self._range.network_address)
        self._size = self._range.num_addresses
        self._taken = {int(network.network_address), int(network.broadcast_address), *map(int, reserved)}
        self._next = 0

    def allocate(self, wanted: Address | None = None) -> Address:
        """Take `wanted`, or any free address. Raises InvalidParameter, Forbidden when it is taken, and Conflict."""
        if wanted is not None:
            return self._take(wanted)
        for offset in range(self._size):
            candidate = self._first + (self._next + offset) % self._size
            if candidate not in self._taken:
                self._taken.add(candidate)
                self._next = candidate - self._first + 1
                return Address(candidate)
        raise Conflict(f"no available IPv4 addresses on this network's address pools: {self._network}")

    def _take(self, wanted: Address) -> Address:
        if wanted not in self._network:
            raise InvalidParameter(f"no configured subnet contains IP address {wanted}")
        if int(wanted) in self._taken:
            raise Forbidden("Address already in use")
        self._taken.add(int(wanted))
        return wanted

    def restore(self, address: Address) -> None:
        """Note an address that a running container has."""
        self._taken.add(int(address))
        self._next = max(self._next, int(address) - self._first + 1)

    def counts(self) -> tuple[int, int]:
        """Addresses in use or reserved, and those of the range that are still to be had."""
        in_range = sum(self._first <= one < self._first + self._size for one in self._taken)
        return len(self._taken), self._size - in_range

    def release(self, address: Address) -> None:
        """Give an address back."""
        self._taken.discard(int(address))


def mac_for(address: Address) -> str:
    """The hardware address that goes with an address, as docker makes it: unique where the address is."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in address.packed)
