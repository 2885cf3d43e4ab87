"""The addresses of one pool.

Addresses are handed out in a circle, so that one that was just released is the last to be given again, and not within
seconds while there are others: neighbours' caches and conntrack entries of the container that had it have time to go.
"""

from __future__ import annotations

import ipaddress
import time
from collections import deque
from collections.abc import Callable, Iterable

from darse.core.errors import Conflict, Forbidden, InvalidParameter
from darse.networks.model import IPAddress, IPNetwork

#: Seconds for which a released address is not given to somebody else, while there are others.
REST = 10.0


def parse_address(text: str, what: str, version: int = 4) -> IPAddress:
    """Read an address of a family. Raises InvalidParameter."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameter(f"invalid {what}: {text}") from None
    if address.version != version:
        raise InvalidParameter(f"invalid {what}: {text}")
    return address


class AddressAllocator:
    """The addresses of a pool that are in use."""

    def __init__(
        self,
        network: IPNetwork,
        reserved: Iterable[IPAddress] = (),
        ip_range: IPNetwork | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reserved` are nobody's; addresses are chosen from `ip_range`, which is all of the network when None."""
        #: All of the pool.
        self.network = network
        self._range = ip_range or network
        self._first = int(self._range.network_address)
        self._size = self._range.num_addresses
        self._taken = {*_edges(network), *map(int, reserved)}
        self._next = 0
        self._clock = clock
        # What was released lately, the oldest first.
        self._resting: deque[tuple[float, int]] = deque()

    def allocate(self, requested: IPAddress | None = None) -> IPAddress:
        """Take `requested`, or any free address. Raises InvalidParameter, Forbidden when it is taken, and Conflict."""
        if requested is not None:
            return self._take(requested)
        now = self._clock()
        while self._resting and now - self._resting[0][0] > REST:
            self._resting.popleft()
        resting = {address for _, address in self._resting} - self._taken
        found = self._free(resting)
        if found is None:
            # None that has rested: then the one that was released first.
            found = next((address for _, address in self._resting if self._is_free(address)), None)
        if found is None:
            raise Conflict(
                f"no available IPv{self.network.version} addresses on this network's address pools: {self.network}"
            )
        self._taken.add(found)
        self._next = found - self._first + 1
        return self._address(found)

    def _free(self, resting: set[int]) -> int | None:
        # At most so many are passed over: what is taken and what rests, of a range that may have 2^64 addresses.
        for offset in range(min(self._size, len(self._taken) + len(resting) + 1)):
            candidate = self._first + (self._next + offset) % self._size
            if candidate not in self._taken and candidate not in resting:
                return candidate
        return None

    def _is_free(self, address: int) -> bool:
        return address not in self._taken and self._first <= address < self._first + self._size

    def _address(self, number: int) -> IPAddress:
        # By the family: ip_address() would read a small IPv6 address as one of IPv4.
        return ipaddress.IPv4Address(number) if self.network.version == 4 else ipaddress.IPv6Address(number)

    def _take(self, requested: IPAddress) -> IPAddress:
        if requested not in self.network:
            raise InvalidParameter(f"no configured subnet contains IP address {requested}")
        if int(requested) in self._taken:
            raise Forbidden("Address already in use")
        self._taken.add(int(requested))
        return requested

    def restore(self, address: IPAddress) -> None:
        """Note an address that a running container has."""
        self._taken.add(int(address))
        self._next = max(self._next, int(address) - self._first + 1)

    def counts(self) -> tuple[int, int]:
        """Addresses in use or reserved, and those of the range that are still to be had."""
        in_range = sum(self._first <= one < self._first + self._size for one in self._taken)
        return len(self._taken), self._size - in_range

    def release(self, address: IPAddress) -> None:
        """Give an address back."""
        if int(address) in self._taken:
            self._taken.discard(int(address))
            self._resting.append((self._clock(), int(address)))


def _edges(network: IPNetwork) -> Iterable[int]:
    """The addresses that are no interface's: IPv4's network and broadcast; IPv6's anycast of routers (RFC 4291)."""
    if network.version == 4:
        return (int(network.network_address), int(network.broadcast_address))
    return (int(network.network_address),)


def mac_for(address: IPAddress) -> str:
    """The hardware address that goes with an address, as docker makes it: unique where the address is."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in address.packed[-4:])
