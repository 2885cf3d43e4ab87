"""What the host has of networks: brought there when the engine starts, put right, and taken away when it ends."""

from __future__ import annotations

import logging

from darse.core.config import EngineConfig
from darse.core.errors import EngineError, SystemFault
from darse.core.exhaustion import reason
from darse.linux import sysctl
from darse.networks.default_networks import predefine
from darse.networks.driver_registry import DriverRegistry
from darse.networks.drivers import BridgeDriver
from darse.networks.firewall import Firewall
from darse.networks.host_firewall import ufw
from darse.networks.host_firewall.firewalld import Firewalld
from darse.networks.ipam import DefaultIPAM
from darse.networks.model import IPNetwork, NetworkRecord, PublishedPort
from darse.networks.store import NetworkStore
from darse.networks.subnet_lock import subnet_allocation

_log = logging.getLogger(__name__)
_REFUSED = (
    "the host's firewall drops forwarded packets (chain FORWARD of table ip filter, as dockerd sets it up): containers "
    "reach neither other machines nor other networks until their bridges are let through, as with: "
    "iptables -I DOCKER-USER -i %(bridge)s -j ACCEPT; iptables -I DOCKER-USER -o %(bridge)s -j ACCEPT"
)


class HostNetworks:
    """Networks of the records on the host, with the rules between them."""

    def __init__(
        self,
        config: EngineConfig,
        store: NetworkStore,
        registry: DriverRegistry,
        bridges: BridgeDriver,
        ipam: DefaultIPAM,
        firewall: Firewall | None,
    ) -> None:
        """`bridges` and `ipam` are those of the registry that the default network has; no `firewall`: no rules."""
        self._config = config
        self._store = store
        self._registry = registry
        self._bridges = bridges
        self._ipam = ipam
        self._firewall = firewall
        self._firewalld = Firewalld(self._own_bridges)

    def _own_bridges(self) -> list[str]:
        """The bridges that the engine has made."""
        return [record.bridge for record in self._store if record.bridge and not record.foreign]

    def forward(self) -> None:
        """Have the host forward packets, and warn where its own rules refuse to."""
        if self._config.ip_forward:
            try:
                sysctl.write("net/ipv4/ip_forward", "1")
            except OSError as error:
                _log.warning("cannot switch on IPv4 forwarding, containers reach the host only: %s", error)
        if self._firewall is not None and self._firewall.forwarding_is_refused():
            _log.warning(_REFUSED, {"bridge": self._config.bridge_name})

    def find_rules(self) -> None:
        """Know which rules an engine before this one has left, and of others' what matters."""
        if self._firewall is not None:
            self._firewall.find_tables()
            self._bridges.programs.flow_tables = self._firewall.flow_tables()

    async def restore_networks(self) -> None:
        """Have the pools of all networks taken, and the networks on the host."""
        self._registry.expect_plugins(self._store)
        async with subnet_allocation():
            for record in self._store:
                if record.name != "bridge":
                    self._restore_pools(record)
            predefine(self._config, self._store, self._bridges, self._choose_subnet)
            default = self.default_bridge
            if default is not None:
                self._restore_pools(default)
                await self._restore(default)
        for record in self._store:
            if default is None or record.id != default.id:
                await self.restore_or_report(record)

    def _restore_pools(self, record: NetworkRecord) -> None:
        ipam = self._registry.ipams.get(record.ipam_driver)
        if ipam is not None and not record.config_only:
            for pool in record.pools:
                ipam.restore_pool(pool, record.ipam_options)

    def _choose_subnet(self, version: int) -> IPNetwork:
        """For the default bridge; one that it has had before is somebody else's while it is not on the host."""
        default = self.default_bridge
        pool = default.pool(version) if default is not None and self._bridges.exists(default) else None
        return self._ipam.choose(version, beside=[pool.network] if pool is not None else [])

    async def _restore(self, record: NetworkRecord) -> None:
        driver = self._registry.networks[record.driver]
        if driver.keeps_outside:
            return  # It remembers the network by itself; and it may be a container that is yet to start.
        try:
            await driver.create_network(record)
        except OSError as error:
            raise SystemFault(f"cannot set up network {record.name} ({record.bridge}): {reason(error)}") from error

    async def restore_or_report(self, record: NetworkRecord) -> None:
        """One network that cannot be had must not keep the engine, and all other networks, from starting."""
        try:
            await self._restore(record)
        except EngineError as error:
            _log.error("network %s is not on the host, containers on it will not start: %s", record.name, error)

    @property
    def default_bridge(self) -> NetworkRecord | None:
        """See `NetworkService.default_bridge`."""
        return self._store.by_name("bridge")

    def published(self) -> list[PublishedPort]:
        """The ports of the host that lead to containers."""
        return [port for sandbox in self._store.sandboxes.values() for port in sandbox.published]

    async def rebuild_firewall(self) -> None:
        """Make all rules anew, from the records. Raises NftError."""
        if self._firewall is not None:
            self._firewall.leads_loopback = not self._bridges.programs.refused
            await self._firewall.rebuild(lambda: ([one for one in self._store if one.bridge], self.published()))

    def look_for_flow_tables(self) -> None:
        """Have the bridges' programs as the host's flow tables need them, see drivers/bridge_programs.py."""
        programs = self._bridges.programs
        if self._firewall is None or self._firewall.flow_tables() == programs.flow_tables:
            return
        programs.flow_tables = not programs.flow_tables
        _log.info("there are %s flow tables on this host", "now" if programs.flow_tables else "no more")
        for record in self._store:
            if record.bridge and self._bridges.exists(record):
                self._bridges.restore(record)

    async def begin(self) -> None:
        """Have the networks with the host's firewalld, from now on."""
        if self._firewall is not None:
            await self._firewalld.start()

    async def admit(self, record: NetworkRecord) -> None:
        """Have the host's firewalld let a network's packets pass."""
        if record.bridge and not record.foreign:
            await self._firewalld.admit(record.bridge)

    async def dismiss(self, record: NetworkRecord) -> None:
        """The end of `admit`."""
        if record.bridge and not record.foreign:
            await self._firewalld.dismiss(record.bridge)

    async def remove_all(self) -> None:
        """Take rules and bridges off the host; the next start brings them back.

        The rules go first: with the bridge a subnet is free for others, whose packets they are no business of.
        """
        if self._firewall is not None:
            await self._firewall.settled()
            self._firewall.remove_table()
        for record in self._store:
            driver = self._registry.networks.get(record.driver)
            if driver is not None and not driver.keeps_outside:
                await driver.delete_network(record)
            await self.dismiss(record)

    @property
    def other_firewall(self) -> str:
        """The firewall that the administrator has on the host beside the engine's table; empty when none is known."""
        if self._firewalld.running:
            return "firewalld"
        return "ufw" if ufw.is_enabled() else ""

    async def close(self) -> None:
        """Follow firewalld no longer; everything stays for the containers that run."""
        await self._firewalld.close()
        if self._firewall is not None:
            await self._firewall.settled()
