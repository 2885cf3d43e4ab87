"""What networks ask of an IPAM driver; the package says what the words mean."""

from __future__ import annotations

from typing import Protocol

import msgspec

from darse.networks.model import SubnetPool


class PoolRequest(msgspec.Struct, kw_only=True, frozen=True):
    """A pool to be had: a certain `subnet`, or any when that is empty."""

    version: int
    subnet: str = ""
    ip_range: str = ""
    options: dict[str, str] = {}


class PoolLease(msgspec.Struct, frozen=True):
    """A pool that was given. `gateway` is an address with its prefix, where the driver chooses that one itself."""

    id: str
    subnet: str
    gateway: str = ""


class AddressLease(msgspec.Struct, frozen=True):
    """An address that was given, and the length of its subnet's prefix."""

    address: str
    prefix: int


class IPAMDriver(Protocol):
    """One kind of address management. Every method may take as long as its driver does; none is called under a lock."""

    #: As in `docker network create --ipam-driver`.
    name: str
    #: Whether leases are kept outside of the engine, so that it has to hear of every end, also after a crash.
    keeps_outside: bool

    async def request_pool(self, request: PoolRequest) -> PoolLease:
        """Give a pool. Raises Forbidden when it overlaps another, Conflict when there is none left, and SystemFault."""

    async def release_pool(self, pool: SubnetPool) -> None:
        """Take a pool back; fine when it is nobody's."""

    def restore_pool(self, pool: SubnetPool, options: dict[str, str]) -> None:
        """Note a pool that a network has, when the engine starts, and the network's options for the driver."""

    async def request_address(
        self, pool: SubnetPool, address: str = "", options: dict[str, str] | None = None
    ) -> AddressLease:
        """Give the address `address`, or any of the pool.

        Raises InvalidParameter, Forbidden when it is taken, Conflict when there is none left, and SystemFault.
        """

    async def release_address(self, pool: SubnetPool, address: str) -> None:
        """Take an address back; fine when it is nobody's."""

    def release_address_now(self, pool: SubnetPool, address: str) -> None:
        """As `release_address`, at once, unless leases are kept outside: those are taken back by that alone."""

    def restore_address(self, pool: SubnetPool, address: str) -> None:
        """Note an address that a running container has, when the engine starts."""

    def counts(self, pool: SubnetPool) -> tuple[int, int] | None:
        """Addresses in use or reserved, and those that are still to be had; None when the driver does not tell."""
