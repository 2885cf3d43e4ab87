"""Networks: their records, their life on the host, and the sandboxes of containers on them."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from darse.core.config import EngineConfig
from darse.core.errors import Conflict, EngineError, InvalidParameter
from darse.core.events import EventLog
from darse.core.filters import Filters
from darse.core.locks import KeyedLocks
from darse.core.state import State
from darse.linux.net.netns import Netns, NetnsThread
from darse.linux.net.nft import Nftables
from darse.linux.net.notifications import TableNotices
from darse.linux.proc.userns import IdMaps
from darse.networks import checks, views
from darse.networks.configurations import refuse_configuration
from darse.networks.definition import PREDEFINED
from darse.networks.dns.process import NameServerProcess
from darse.networks.dns.registration import Registration, has_name_server
from darse.networks.driver_registry import DriverRegistry
from darse.networks.drivers import BridgeDriver, Driver, HostDriver, IpvlanDriver, MacvlanDriver, NullDriver
from darse.networks.endpoint_addresses import EndpointAddresses
from darse.networks.endpoint_reaper import EndpointReaper
from darse.networks.endpoint_settings import check_settings, refuse_user_defined
from darse.networks.firewall import Firewall
from darse.networks.ipam import DefaultIPAM, NullIPAM
from darse.networks.lifecycle.changes import NetworkChanges
from darse.networks.lifecycle.on_host import HostNetworks
from darse.networks.model import (
    Endpoint,
    Holder,
    NetworkRecord,
    SandboxRecord,
    SandboxRequest,
    StackHolders,
)
from darse.networks.pool import NetnsPool, link_name
from darse.networks.port_mapper import PortMapper
from darse.networks.publishing import Publishing
from darse.networks.sandboxes import PREPARED_INTERFACE, Sandbox, Sandboxes
from darse.networks.store import NetworkStore
from darse.networks.views import LIST_FILTERS, PRUNE_FILTERS
from darse.networks.watcher import NetworkRepair
from darse.plugins import PluginClient
from darse.wire.networks import (
    EndpointSettings,
    IPAMStatus,
    Network,
    NetworkCreate,
    NetworkCreated,
    NetworksPruned,
    NetworkStatus,
    SubnetStatus,
)
from darse.wire.system import Finding

__all__ = ["LIST_FILTERS", "PREDEFINED", "PRUNE_FILTERS", "NetworkService"]
_log = logging.getLogger(__name__)
# Of addresses that the API tells; a subnet of IPv6 may have more.
_LARGEST_COUNT = 2**64 - 1


class _DefaultBridgeLinks:
    """See `PreparedLinks`."""

    def __init__(self, bridges: BridgeDriver, record: NetworkRecord) -> None:
        self._bridges = bridges
        self._record = record

    def plug(self, netns: Netns) -> str:
        name = link_name()
        self._bridges.plug(self._record, netns, PREPARED_INTERFACE, name)
        return name

    def plug_again(self, link: str) -> None:
        self._bridges.plug_again(self._record, link)


class NetworkService:
    """Networks: what the rest of the engine calls."""

    def __init__(
        self,
        config: EngineConfig,
        state: State,
        events: EventLog,
        running: StackHolders,
        plugins: PluginClient,
        id_maps: IdMaps | None = None,
    ) -> None:
        """`running` knows the containers that run; `id_maps` are those of their user namespaces, but the host's."""
        self._config, self._running = config, running
        self._state, self._events = state, events
        self.store = NetworkStore(state)
        self._bridges = BridgeDriver(config)
        sublinks = [
            driver(config.instance, lambda: self._registry.parent_links(self.store))
            for driver in (MacvlanDriver, IpvlanDriver)
        ]
        drivers: list[Driver] = [self._bridges, *sublinks, HostDriver(), NullDriver()]
        ipam = DefaultIPAM(config.default_address_pools, self._bridges.routes, str(config.data_root))
        self._registry = DriverRegistry(drivers, (ipam, NullIPAM()), plugins)
        self._drivers, self._ipams = self._registry.networks, self._registry.ipams
        self._addresses = EndpointAddresses(self._ipams)
        self._nft = (Nftables(), Nftables()) if config.iptables else None
        self._firewall = Firewall(*self._nft, config.nft_table) if self._nft is not None else None
        self._host = HostNetworks(config, self.store, self._registry, self._bridges, ipam, self._firewall)
        rebuild, sandboxes = self._host.rebuild_firewall, self.store.sandboxes
        self._mapper = PortMapper(config, self._firewall, rebuild, sandboxes, self._find_process)
        self._thread = NetnsThread()
        self.pool = NetnsPool(self._thread, id_maps)
        self._reaper = EndpointReaper(self.store, self._drivers, self._addresses)
        self._sandboxes = Sandboxes(
            self.store,
            self._drivers,
            self._addresses,
            Publishing(self.store, self._drivers, self._mapper),
            self._reaper,
            self.pool,
            self._thread,
            self.default_bridge,
            self._publish,
        )
        process = NameServerProcess(config.exec_root / "names")
        self._names = Registration(process, self.store, self._thread, self._find_holder, self._sandboxes.enter)
        self._locks = KeyedLocks()
        self._changes = NetworkChanges(
            state, events, self.store, self._registry, self._bridges, self._host, self._reaper, self._locks
        )
        self.repair = NetworkRepair(
            self.store,
            self._bridges,
            self._sandboxes,
            self.pool,
            self._locks,
            running,
            self._heal_firewall,
            self._host.look_for_flow_tables,
        )
        self._started = False

    async def start(self, running: Collection[str], beside: Iterable[bytes] = (), copies: bytes | None = None) -> None:
        """Have every network on the host, and delete the sandboxes of containers that do not run.

        `running` are the ids of the running containers; `beside` the documents of sandboxes whose rows were lost, so
        that nobody else gets the addresses of those that run; `copies` the copies of networks.
        Raises SystemFault, Conflict, and InvalidParameter for the configuration.
        """
        self._host.forward()
        # Before anything is made, so that no change after that goes unnoticed.
        table = TableNotices(self._config.nft_table, self._nft[0].address()) if self._nft is not None else None
        self.repair.listen(table, forwards=self._config.ip_forward)
        self._host.find_rules()
        self.store.repair(copies, PREDEFINED)
        self.store.take_back(beside, running)
        for sandbox in list(self.store.sandboxes.values()):
            if sandbox.container_id not in running:
                self._delete_sandbox(sandbox.container_id)
        await self._host.restore_networks()
        for sandbox in self.store.sandboxes.values():
            self._sandboxes.restore(sandbox)
            try:
                await self._sandboxes.reconnect(sandbox)
            except (EngineError, OSError) as error:
                _log.error("container %s has lost its network: %s", sandbox.container_name, error)
        for record in self.store:
            if record.bridge:
                self._bridges.unplug_orphans(record, self._sandboxes.owners)
        await self._host.rebuild_firewall()
        await self._host.begin()
        self._started = True
        self.repair.start()
        self._reaper.start()
        self._names.start()
        self._mapper.start()
        default = self.default_bridge()
        self.pool.start(_DefaultBridgeLinks(self._bridges, default) if default is not None else None)

    async def examine(self) -> list[Finding]:
        """What `doctor` says of networks."""
        found = await checks.examine(self._config, self.store, self._bridges, self._firewall)
        if self._firewall is not None:
            sandboxes = self.store.sandboxes.values()
            found += checks.open_ports(sandboxes, self._host.other_firewall, self._firewall.owner_table)
        return [*found, *self._mapper.relay.examine()]

    async def _heal_firewall(self) -> None:
        await self._host.rebuild_firewall()
        self._mapper.delete_untranslated_flows(self._host.published())

    def default_bridge(self) -> NetworkRecord | None:
        """The network that containers get unless they ask for another; None with `--bridge=none`."""
        return self._host.default_bridge

    async def close(self) -> None:
        """Let go; networks, links and rules stay for the containers that run."""
        await self.repair.close()
        await self._host.close()
        await self._names.close()
        await self.pool.close()
        await self._reaper.close()
        self._sandboxes.close()
        await self._mapper.close()
        self._thread.close()
        self._registry.close()
        for nft in self._nft or ():
            nft.close()

    async def remove_networks_from_host(self) -> None:
        """See `HostNetworks.remove_all`."""
        await self.repair.close()
        await self._mapper.settle()
        await self._host.remove_all()

    # Sandboxes

    def check(self, endpoints: Mapping[str, EndpointSettings]) -> None:
        """Raise what a sandbox with these endpoints would: NotFound, InvalidParameter, Forbidden."""
        for name, settings in endpoints.items():
            record = self.store.get(name)
            refuse_configuration(record)
            check_settings(settings)
            if record.name in PREDEFINED:
                refuse_user_defined(settings)
            asked = settings.IPAMConfig
            for address in (asked.IPv4Address, asked.IPv6Address) if asked is not None else ():
                if address and not any(ipaddress.ip_address(address) in pool.network for pool in record.pools):
                    raise InvalidParameter(f"no configured subnet contains IP address {address}")

    async def sandbox_create(self, request: SandboxRequest) -> Sandbox:
        """Make a starting container's network stack; see `Sandboxes.create`."""
        sandbox = await self._sandboxes.create(request)
        try:
            await self._names.prepare(sandbox.record, sandbox.netns, sandbox.name_server)
            with self._state.transaction(durable=False):
                self.store.save_sandbox(sandbox.record)
                self._sandboxes.saved(sandbox.record)
                for endpoint in sandbox.record.endpoints:
                    self._publish(endpoint, "connect", request.container_id)
        except BaseException:
            self._names.end(request.container_id)
            self._sandboxes.abandon(sandbox.record)
            raise
        return sandbox

    def _find_holder(self, container_id: str) -> Holder | None:
        return self._running.holder_of(container_id)

    def _find_process(self, container_id: str) -> int | None:
        holder = self._find_holder(container_id)
        return holder.pid if holder is not None else None

    async def sandbox_attached(self, container_id: str, pid: int) -> None:
        """The container's process is in its namespace, and has not run yet: from now on it has names, and finds others.

        Returns when all others find it.
        """
        sandbox = self.store.sandbox_of(container_id)
        if sandbox is not None and sandbox.container_id == container_id:
            await self._names.begin(sandbox, pid)
            self._mapper.attached(sandbox, pid)

    def sandbox_started(self, container_id: str) -> None:
        """The container's process holds its namespace."""
        self._sandboxes.started(container_id)

    def sandbox_release(self, container_id: str) -> None:
        """The container has ended, or did not start; fine when it has no sandbox."""
        if not self._started:
            # Recovery: `start` makes rules and links anew from the rows that are left.
            self._delete_sandbox(container_id)
            return
        sandbox = self.store.sandbox_of(container_id)
        if sandbox is None or sandbox.container_id != container_id:
            self._leave_sandbox(container_id, sandbox)
            return
        self._names.end(container_id)
        with self._state.transaction():
            sandbox = self._sandboxes.release_sandbox(container_id)
            for endpoint in sandbox.endpoints if sandbox else ():
                self._publish(endpoint, "disconnect", container_id)

    def _delete_sandbox(self, container_id: str) -> None:
        """Delete the row of a sandbox that is gone, and have those hear of it who keep something of it."""
        with self._state.transaction():
            sandbox = self.store.delete_sandbox(container_id)
            for endpoint in sandbox.endpoints if sandbox is not None else ():
                self._reaper.record(endpoint, begin=self._started)

    def sandbox_join(self, container_id: str, other: str) -> SandboxRecord | None:
        """A container uses the sandbox of another from now on; None when that one has none."""
        sandbox = self.store.sandbox_of(other)
        if sandbox is None or container_id in (sandbox.container_id, *sandbox.members):
            return sandbox
        joined = msgspec.structs.replace(sandbox, members=[*sandbox.members, container_id])
        self.store.save_sandbox(joined)
        return joined

    def _leave_sandbox(self, container_id: str, sandbox: SandboxRecord | None) -> None:
        if sandbox is not None:
            members = [one for one in sandbox.members if one != container_id]
            self.store.save_sandbox(msgspec.structs.replace(sandbox, members=members))

    async def sandbox_is_released(self) -> None:
        """Wait until nothing leads to where released sandboxes were any more, and nobody finds their names."""
        await self._mapper.released()
        await self._names.server.settled()

    async def names_are_settled(self) -> None:
        """Wait until all see the names that containers have now."""
        await self._names.server.settled()

    def has_name_server(self, container_id: str) -> bool:
        """Whether a container that runs or starts looks names up at the engine's name server."""
        sandbox = self.store.sandbox_of(container_id)
        return sandbox is not None and has_name_server(sandbox)

    async def explain_name(self, container_id: str, name: str, type_: int) -> dict[str, Any]:
        """How a name is looked up from a container, see darse.resolver.worker. Raises SystemFault and Conflict."""
        sandbox = self.store.sandbox_of(container_id)
        if sandbox is None:
            raise Conflict(f"container {container_id[:12]} does not run, or has the host's network")
        return await self._names.server.explain(sandbox.container_id, name, type_)

    def sandbox_renamed(self, container_id: str, name: str) -> None:
        """The container has another name now."""
        sandbox = self.store.sandbox_of(container_id)
        if sandbox is not None and sandbox.container_id == container_id:
            renamed = msgspec.structs.replace(sandbox, container_name=name)
            self.store.save_sandbox(renamed)
            self._state.on_commit(lambda: self._names.renamed(renamed))

    def sandbox(self, container_id: str) -> SandboxRecord | None:
        """The sandbox of a running container, its own or one that it has joined."""
        return self.store.sandbox_of(container_id)

    def _publish(self, endpoint: Endpoint, action: str, container_id: str) -> None:
        record = self.store.find(endpoint.network_id)
        kind = record.driver if record is not None else ""
        attributes = {"container": container_id, "name": endpoint.network_name, "type": kind}
        self._events.publish("network", action, endpoint.network_id, attributes)

    async def connect(self, reference: str, container_id: str, holder: Holder, settings: EndpointSettings) -> Endpoint:
        """Connect a running container, which others find then.

        Raises NotFound, InvalidParameter, Forbidden, SandboxGone.
        """
        record = self.store.get(reference)
        self.check({record.id: settings})
        if not self._drivers[record.driver].addressed:
            raise Conflict(f"a running container cannot be connected to network {record.name}")
        async with self._locks.hold(record.id):
            record = self.store.get(record.id)
            endpoint = await self._sandboxes.join(container_id, holder, record, settings)
        await self._names.changed(container_id)
        return endpoint

    async def disconnect(self, reference: str, container_id: str, holder: Holder | None = None) -> Endpoint:
        """Disconnect a running container, and return what it had; without its `holder` it gets no other way out.

        Raises NotFound.
        """
        record = self.store.get(reference)
        async with self._locks.hold(record.id):
            endpoint = await self._sandboxes.leave(container_id, holder, self.store.get(record.id))
        await self._names.changed(container_id)
        return endpoint

    # Networks

    async def create(self, request: NetworkCreate) -> NetworkCreated:
        """See `NetworkChanges.create`."""
        return await self._changes.create(request)

    async def remove_network(self, reference: str) -> None:
        """See `NetworkChanges.remove`."""
        await self._changes.remove(reference)

    async def prune(self, filters: Filters) -> NetworksPruned:
        """Remove the networks that no container is on or is to be on."""
        return await self._changes.prune(filters)

    @property
    def driver_names(self) -> list[str]:
        """The network drivers that the engine has itself, and the plugins that are in use."""
        return self._registry.names

    def network_mode(self, record: NetworkRecord) -> str:
        """The network mode of containers on a network that can be on no other; empty where they can."""
        return self._drivers[record.driver].network_mode

    def list_networks(self, filters: Filters, *, containers: bool = False) -> list[Network]:
        """The networks that match, newest last; with their `containers` on demand. Raises InvalidParameter."""
        views.check_filters(filters)
        return [
            views.view(record, self._changes.connected(record) if containers else ())
            for record in sorted(self.store, key=lambda one: one.created_ns)
            if views.matches(record, filters, used=self._changes.used(record))
        ]

    def inspect(self, reference: str) -> Network:
        """One network with the containers on it. Raises NotFound."""
        record = self.store.get(reference)
        network = views.view(record, self._changes.connected(record))
        network.Status = NetworkStatus(IPAMStatus(self._subnet_status(record)))
        return network

    def _subnet_status(self, record: NetworkRecord) -> dict[str, SubnetStatus]:
        ipam = self._ipams.get(record.ipam_driver) if not record.config_only else None
        counts = {pool.subnet: ipam.counts(pool) for pool in record.pools} if ipam is not None else {}
        return {
            subnet: SubnetStatus(*(min(number, _LARGEST_COUNT) for number in count))
            for subnet, count in counts.items()
            if count is not None
        }
