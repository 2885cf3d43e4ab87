"""The addresses of endpoints: leased from the IPAM driver of their network, and given back."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping

from darse.core.errors import Conflict, EngineError, InvalidParameter
from darse.networks.interfaces import VERSIONS
from darse.networks.ipam import IPAMDriver, mac_for
from darse.networks.model import Endpoint, NetworkRecord, SubnetPool
from darse.wire.networks import EndpointSettings


class EndpointAddresses:
    """Leases and releases."""

    def __init__(self, drivers: Mapping[str, IPAMDriver]) -> None:
        """`drivers` are the IPAM drivers by name."""
        self._drivers = drivers

    def driver(self, record: NetworkRecord) -> IPAMDriver:
        """A network's IPAM driver. Raises Conflict when it is a plugin's that is not there."""
        found = self._drivers.get(record.ipam_driver)
        if found is None:
            raise Conflict(f"network {record.name} needs the IPAM driver {record.ipam_driver}, which is not there")
        return found

    async def lease(self, record: NetworkRecord, endpoint: Endpoint, settings: EndpointSettings, mac: str) -> None:
        """Give an endpoint its addresses and, unless `mac` is asked for, the hardware address that goes with them.

        What was given before an error is on the endpoint. Raises InvalidParameter, Forbidden, Conflict, SystemFault.
        """
        asked = settings.IPAMConfig
        requested = {4: asked.IPv4Address, 6: asked.IPv6Address} if asked is not None else {4: "", 6: ""}
        for version in VERSIONS:
            pools = record.pools_of(version)
            if requested[version]:
                pools = [pool for pool in pools if ipaddress.ip_address(requested[version]) in pool.network]
                if not pools:
                    raise InvalidParameter(f"no configured subnet contains IP address {requested[version]}")
            if pools:
                await self._lease(record, endpoint, pools, requested[version])
        endpoint.link_local = list(asked.LinkLocalIPs or ()) if asked is not None else []
        endpoint.mac = mac or endpoint.mac or _mac(endpoint)

    async def _lease(self, record: NetworkRecord, endpoint: Endpoint, pools: list[SubnetPool], requested: str) -> None:
        """Lease an address from the first of the pools that has one."""
        driver = self.driver(record)
        options = {"com.docker.network.endpoint.macaddress": endpoint.mac} if endpoint.mac else None
        failure: EngineError | None = None
        for pool in pools:
            try:
                lease = await driver.request_address(pool, requested, options)
            except Conflict as error:
                failure = failure or error
                continue
            gateway = "" if record.internal else pool.gateway
            if pool.version == 4:
                endpoint.address, endpoint.prefix = lease.address, lease.prefix
                endpoint.gateway = (record.default_gateway or gateway) if not record.internal else ""
            else:
                endpoint.address6, endpoint.prefix6 = lease.address, lease.prefix
                endpoint.gateway6 = (record.default_gateway6 or gateway) if not record.internal else ""
            return
        if failure is not None:
            raise failure

    def restore(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """Note what a running container has, when the engine starts."""
        driver = self._drivers.get(record.ipam_driver)
        if driver is not None:
            for pool, address in _leases(record, endpoint):
                driver.restore_address(pool, address)

    async def release(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """Give back what an endpoint has; fine when it has nothing. Raises SystemFault."""
        driver = self._drivers.get(record.ipam_driver)
        if driver is not None:
            for pool, address in _leases(record, endpoint):
                await driver.release_address(pool, address)

    def release_now(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """As `release`, at once, with drivers that keep nothing outside of the engine."""
        driver = self._drivers.get(record.ipam_driver)
        if driver is not None:
            for pool, address in _leases(record, endpoint):
                driver.release_address_now(pool, address)


def _leases(record: NetworkRecord, endpoint: Endpoint) -> list[tuple[SubnetPool, str]]:
    return [
        (pool, str(address.ip))
        for address in endpoint.addresses()
        for pool in record.pools
        if address.ip in pool.network
    ]


def _mac(endpoint: Endpoint) -> str:
    """Unique where the address is; without an IPv4 address any that is locally administered."""
    if endpoint.address:
        return mac_for(ipaddress.ip_address(endpoint.address))
    return f"02:42:{':'.join(f'{byte:02x}' for byte in secrets.token_bytes(4))}"
