"""IP address management: subnets for networks, addresses for endpoints.

Vocabulary (libnetwork's)

    address space   in which no two pools overlap; the default driver has one
    pool            a subnet that a network has, of IPv4 or IPv6; a network may have several
    sub-pool        the part of a pool that addresses are chosen from (`--ip-range`)
    lease           an address that somebody has: an endpoint, the gateway, or nobody (`--aux-address`)

Life cycle

    request_pool → (request_address → release_address)* → release_pool

Pools are kept in the rows of networks, leases of endpoints in the rows of sandboxes: an address is leased for as long
as a row has it. When the engine starts, it tells the driver what the rows have (`restore_pool`, `restore_address`).

Networks name their driver (`--ipam-driver`): `default`, `null` (no addresses at all), or a plugin's.
"""

from darse.networks.ipam.allocator import AddressAllocator, mac_for, parse_address
from darse.networks.ipam.base import AddressLease, IPAMDriver, PoolLease, PoolRequest
from darse.networks.ipam.default import DefaultIPAM
from darse.networks.ipam.null import NullIPAM

__all__ = [
    "AddressAllocator",
    "AddressLease",
    "DefaultIPAM",
    "IPAMDriver",
    "NullIPAM",
    "PoolLease",
    "PoolRequest",
    "mac_for",
    "parse_address",
]
