"""`null`: networks whose endpoints get no addresses from anybody here (`--ipam-driver null`): DHCP, or none at all."""

from __future__ import annotations

from darse.networks.ipam.base import AddressLease, PoolLease, PoolRequest
from darse.networks.model import SubnetPool


class NullIPAM:
    """No pools, no addresses."""

    name = "null"
    keeps_outside = False

    async def request_pool(self, request: PoolRequest) -> PoolLease:
        """See `IPAMDriver`: a pool without a subnet, which the service leaves out."""
        return PoolLease("null", "")

    async def release_pool(self, pool: SubnetPool) -> None:
        """Nobody has it."""

    def restore_pool(self, pool: SubnetPool, options: dict[str, str]) -> None:
        """Nobody has it."""

    async def request_address(
        self, pool: SubnetPool, address: str = "", options: dict[str, str] | None = None
    ) -> AddressLease:
        """See `IPAMDriver`: none."""
        return AddressLease("", 0)

    async def release_address(self, pool: SubnetPool, address: str) -> None:
        """Nobody has it."""

    def release_address_now(self, pool: SubnetPool, address: str) -> None:
        """Nobody has it."""

    def restore_address(self, pool: SubnetPool, address: str) -> None:
        """Nobody has it."""

    def counts(self, pool: SubnetPool) -> tuple[int, int] | None:
        """It does not tell."""
        return None
