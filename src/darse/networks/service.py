"""Networks: their records, their life on the host, and the sandboxes of containers on them."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from darse.core import executors
from darse.core.config import EngineConfig
from darse.core.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidParameter,
    SystemFault,
)
from darse.core.events import EventLog
from darse.core.exhaustion import reason
from darse.core.filters import Filters
from darse.core.locks import KeyedLocks
from darse.core.object_references import ObjectReferences
from darse.core.state import State
from darse.linux import sysctl
from darse.linux.net.netns import Netns, NetnsThread
from darse.linux.net.nft import Nftables
from darse.linux.net.notifications import TableNotices
from darse.linux.proc.userns import IdMaps
from darse.networks import checks, views
from darse.networks.configurations import apply_configuration, check_unused, define_configuration, refuse_configuration
from darse.networks.default_networks import predefine
from darse.networks.definition import (
    PREDEFINED,
    check_name,
    check_request,
    define,
    lease_pool,
    pool_requests,
)
from darse.networks.dns.process import NameServerProcess
from darse.networks.dns.registration import Registration, has_name_server
from darse.networks.driver_registry import DriverRegistry
from darse.networks.drivers import BridgeDriver, Driver, HostDriver, IpvlanDriver, MacvlanDriver, NullDriver
from darse.networks.endpoint_addresses import EndpointAddresses
from darse.networks.endpoint_reaper import EndpointReaper
from darse.networks.endpoint_settings import check_settings, refuse_user_defined
from darse.networks.firewall import Firewall
from darse.networks.ipam import DefaultIPAM, IPAMDriver, NullIPAM, PoolRequest
from darse.networks.model import (
    Endpoint,
    Holder,
    IPNetwork,
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
from darse.networks.subnet_lock import subnet_allocation
from darse.networks.views import LIST_FILTERS, PRUNE_FILTERS
from darse.networks.watcher import Healer
from darse.plugins import SOCKETS, PluginClient
from darse.wire.networks import (
    EndpointSettings,
    IPAMConfig,
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
_REFUSED = (
    "the host's firewall drops forwarded packets (chain FORWARD of table ip filter, as dockerd sets it up): containers "
    "reach neither other machines nor other networks until their bridges are let through, as with: "
    "iptables -I DOCKER-USER -i %(bridge)s -j ACCEPT; iptables -I DOCKER-USER -o %(bridge)s -j ACCEPT"
)


class NetworkService:
    """The networks room's front door."""

    def __init__(
        self,
        config: EngineConfig,
        state: State,
        events: EventLog,
        running: StackHolders,
        id_maps: IdMaps | None = None,
    ) -> None:
        """`running` knows the containers that run; `id_maps` are those of their user namespaces, but the host's."""
        self._config = config
        self._state = state
        self._events = events
        self._references = ObjectReferences(state)
        self._running = running
        self.store = NetworkStore(state)
        self._bridges = BridgeDriver(config)
        sublinks = [driver(config.instance, lambda: self.store) for driver in (MacvlanDriver, IpvlanDriver)]
        drivers: list[Driver] = [self._bridges, *sublinks, HostDriver(), NullDriver()]
        self._ipam = DefaultIPAM(config.default_address_pools, self._bridges.routes, str(config.data_root))
        plugins = PluginClient((config.exec_root / "plugins", SOCKETS))
        self._registry = DriverRegistry(drivers, (self._ipam, NullIPAM()), plugins)
        self._drivers, self._ipams = self._registry.networks, self._registry.ipams
        self._addresses = EndpointAddresses(self._ipams)
        self._nft = Nftables() if config.iptables else None
        self._firewall = Firewall(self._nft, config.nft_table) if self._nft is not None else None
        self._mapper = PortMapper(config, self._firewall, self._rebuild_firewall, self.store.sandboxes)
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
        )
        self._names = Registration(
            NameServerProcess(config.exec_root / "names"),
            self.store,
            self._thread,
            self._find_holder,
            self._sandboxes.enter,
        )
        self._locks = KeyedLocks()
        # Names of networks that are being made.
        self._reserved: set[str] = set()
        self.healer = Healer(
            self.store,
            self._bridges,
            self._sandboxes,
            self.pool,
            self._locks,
            running,
            self._heal_firewall,
            self._look_for_flow_tables,
        )
        self._started = False

    async def start(self, running: Collection[str], beside: Iterable[bytes] = (), copies: bytes | None = None) -> None:
        """Have every network on the host, and delete the sandboxes of containers that do not run.

        `running` are the ids of the running containers; `beside` the documents of sandboxes whose rows were lost, so
        that nobody else gets the addresses of those that run; `copies` the copies of networks.
        Raises SystemFault, Conflict, and InvalidParameter for the configuration.
        """
        self._forward()
        # Before anything is made, so that no change after that goes unnoticed.
        table = TableNotices(self._config.nft_table, self._nft.address()) if self._nft is not None else None
        self.healer.listen(table, forwards=self._config.ip_forward)
        if self._firewall is not None:
            self._firewall.find_tables()
            self._bridges.programs.flow_tables = self._firewall.flow_tables()
        self.store.repair(copies, PREDEFINED)
        self.store.take_back(beside, running)
        for sandbox in list(self.store.sandboxes.values()):
            if sandbox.container_id not in running:
                self._delete_sandbox(sandbox.container_id)
        await self._restore_networks()
        for sandbox in self.store.sandboxes.values():
            self._sandboxes.restore(sandbox)
            try:
                await self._sandboxes.reconnect(sandbox)
            except (EngineError, OSError) as error:
                _log.error("container %s has lost its network: %s", sandbox.container_name, error)
        for record in self.store:
            if record.bridge:
                self._bridges.unplug_orphans(record, self._sandboxes.owners)
        self._rebuild_firewall()
        self._started = True
        self.healer.start()
        self._reaper.start()
        self._names.start()
        default = self.default_bridge()
        if default is None:
            self.pool.start(None)
        else:
            plug, plug_again = self._plug_prepared, self._bridges.plug_again
            self.pool.start(functools.partial(plug, default), functools.partial(plug_again, default))

    async def _restore_networks(self) -> None:
        """Have the pools of all networks taken, and the networks on the host."""
        self._registry.expect_plugins(self.store)
        async with subnet_allocation():
            for record in self.store:
                if record.name != "bridge":
                    self._restore_pools(record)
            predefine(self._config, self.store, self._bridges, self._choose_subnet)
            default = self.default_bridge()
            if default is not None:
                self._restore_pools(default)
                await self._restore(default)
        for record in self.store:
            if default is None or record.id != default.id:
                await self._restore_or_report(record)

    def _restore_pools(self, record: NetworkRecord) -> None:
        ipam = self._ipams.get(record.ipam_driver)
        if ipam is not None and not record.config_only:
            for pool in record.pools:
                ipam.restore_pool(pool, record.ipam_options)

    def _plug_prepared(self, record: NetworkRecord, netns: Netns) -> str:
        name = link_name()
        self._bridges.plug(record, netns, PREPARED_INTERFACE, name)
        return name

    def examine(self) -> list[Finding]:
        """What `doctor` says of networks."""
        return checks.examine(self._config, self.store, self._bridges, self._firewall)

    def _forward(self) -> None:
        if self._config.ip_forward:
            try:
                sysctl.write("net/ipv4/ip_forward", "1")
            except OSError as error:
                _log.warning("cannot switch on IPv4 forwarding, containers reach the host only: %s", error)
        if self._firewall is not None and self._firewall.forwarding_is_refused():
            _log.warning(_REFUSED, {"bridge": self._config.bridge_name})

    def _choose_subnet(self, version: int) -> IPNetwork:
        """For the default bridge; one that it has had before is somebody else's while it is not on the host."""
        default = self.default_bridge()
        pool = default.pool(version) if default is not None and self._bridges.exists(default) else None
        return self._ipam.choose(version, beside=[pool.network] if pool is not None else [])

    async def _restore(self, record: NetworkRecord) -> None:
        driver = self._drivers[record.driver]
        if driver.keeps_outside:
            return  # It remembers the network by itself; and it may be a container that is yet to start.
        try:
            await driver.create_network(record)
        except OSError as error:
            raise SystemFault(f"cannot set up network {record.name} ({record.bridge}): {reason(error)}") from error

    async def _restore_or_report(self, record: NetworkRecord) -> None:
        """One network that cannot be had must not keep the engine, and all other networks, from starting."""
        try:
            await self._restore(record)
        except EngineError as error:
            _log.error("network %s is not on the host, containers on it will not start: %s", record.name, error)

    def _rebuild_firewall(self) -> None:
        if self._firewall is not None:
            self._firewall.leads_loopback = not self._bridges.programs.refused
            ports = [port for sandbox in self.store.sandboxes.values() for port in sandbox.published]
            self._firewall.rebuild([record for record in self.store if record.bridge], ports)

    def _heal_firewall(self) -> None:
        self._rebuild_firewall()
        ports = [port for sandbox in self.store.sandboxes.values() for port in sandbox.published]
        self._mapper.delete_untranslated_flows(ports)

    def _look_for_flow_tables(self) -> None:
        """Have the bridges' programs as the host's flow tables need them, see drivers/bridge_programs.py."""
        programs = self._bridges.programs
        if self._firewall is None or self._firewall.flow_tables() == programs.flow_tables:
            return
        programs.flow_tables = not programs.flow_tables
        _log.info("there are %s flow tables on this host", "now" if programs.flow_tables else "no more")
        for record in self.store:
            if record.bridge and self._bridges.exists(record):
                self._bridges.restore(record)

    def default_bridge(self) -> NetworkRecord | None:
        """The network that containers get unless they ask for another; None with `--bridge=none`."""
        return self.store.by_name("bridge")

    async def close(self) -> None:
        """Let go; networks, links and rules stay for the containers that run."""
        await self.healer.close()
        await self._names.close()
        await self.pool.close()
        await self._reaper.close()
        self._sandboxes.close()
        await self._mapper.close()
        self._thread.close()
        self._bridges.close()
        await self._registry.close()
        if self._nft is not None:
            self._nft.close()

    async def remove_networks_from_host(self) -> None:
        """Take rules and bridges off the host; the next start brings them back.

        The rules go first: with the bridge a subnet is free for others, whose packets they are no business of.
        """
        await self.healer.close()
        if self._firewall is not None:
            self._firewall.remove_table()
        for record in self.store:
            driver = self._drivers.get(record.driver)
            if driver is not None and not driver.keeps_outside:
                await driver.delete_network(record)

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
            for wanted in (asked.IPv4Address, asked.IPv6Address) if asked is not None else ():
                if wanted and not any(ipaddress.ip_address(wanted) in pool.network for pool in record.pools):
                    raise InvalidParameter(f"no configured subnet contains IP address {wanted}")

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

    async def sandbox_attached(self, container_id: str, pid: int) -> None:
        """The container's process is in its namespace, and has not run yet: from now on it has names, and finds others.

        Returns when all others find it.
        """
        sandbox = self.store.sandbox_of(container_id)
        if sandbox is not None and sandbox.container_id == container_id:
            await self._names.begin(sandbox, pid)

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
        """Wait until flows of UDP no longer lead to where released sandboxes were, and nobody finds their names."""
        await self._mapper.settle()
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
        self._publish(endpoint, "connect", container_id)
        return endpoint

    async def disconnect(self, reference: str, container_id: str, holder: Holder | None = None) -> Endpoint:
        """Disconnect a running container, and return what it had; without its `holder` it gets no other way out.

        Raises NotFound.
        """
        record = self.store.get(reference)
        async with self._locks.hold(record.id):
            endpoint = await self._sandboxes.leave(container_id, holder, self.store.get(record.id))
        await self._names.changed(container_id)
        self._publish(endpoint, "disconnect", container_id)
        return endpoint

    # Networks

    async def create(self, request: NetworkCreate) -> NetworkCreated:
        """Make a network.

        Raises Conflict for its name, Forbidden for its subnet, NotFound for its driver, InvalidParameter, SystemFault.
        """
        check_name(request.Name)
        if request.ConfigOnly:
            return self._create_configuration(request)
        request = apply_configuration(request, self.store)
        check_request(request)
        driver, ipam = await self._registry.for_request(request)
        asked = pool_requests(request)
        with self._reserve_name(request.Name):
            record = define(request, driver.name)
            async with contextlib.AsyncExitStack() as locks:
                if not (driver.keeps_outside or ipam.keeps_outside):
                    # Plugins may take as long as they like: they are not asked while others wait.
                    await locks.enter_async_context(self._locks.hold("create"))
                    await locks.enter_async_context(subnet_allocation())
                await self._make(record, driver, ipam, asked if driver.addressed else [])
        return NetworkCreated(record.id, "")

    def _create_configuration(self, request: NetworkCreate) -> NetworkCreated:
        with self._reserve_name(request.Name), self._state.transaction():
            record = define_configuration(request)
            self.store.save(record)
            self._publish_network(record, "create")
        return NetworkCreated(record.id, "")

    @property
    def driver_names(self) -> list[str]:
        """The network drivers that the engine has itself, and the plugins that are in use."""
        return self._registry.names

    @contextlib.contextmanager
    def _reserve_name(self, name: str) -> Iterator[None]:
        """Have a name for a new network. Raises Conflict when another has it."""
        if self.store.by_name(name) is not None or name in self._reserved:
            raise Conflict(f"network with name {name} already exists")
        if damage := self.store.damage(name):
            raise Conflict(f"network with name {name} already exists, and its record {damage.found}: {damage.remedy}")
        self._reserved.add(name)
        try:
            yield
        finally:
            self._reserved.discard(name)

    async def _make(
        self, record: NetworkRecord, driver: Driver, ipam: IPAMDriver, asked: list[tuple[PoolRequest, IPAMConfig]]
    ) -> None:
        """Lease a network's pools, put it on record, and have it on the host; all of it or nothing."""
        async with contextlib.AsyncExitStack() as undo:
            for request, given in asked:
                pool = await lease_pool(ipam, request, given)
                if pool is not None:
                    undo.push_async_callback(_attempt, ipam.release_pool, pool)
                    record.pools.append(pool)
            await executors.kernel.run(driver.check, record)
            # The row comes first: a bridge without one would stay on the host for ever after a crash.
            self.store.save(record)
            undo.callback(self.store.delete_network, record)
            undo.push_async_callback(_attempt, driver.delete_network, record)
            try:
                await driver.create_network(record)
            except OSError as error:
                raise SystemFault(f"cannot set up network {record.name}: {reason(error)}") from error
            self._rebuild_firewall()
            await self._keep_internal(record)
            self._publish_network(record, "create")
            undo.pop_all()

    async def _keep_internal(self, new: NetworkRecord) -> None:
        """Have internal networks forward nothing: the first of IPv6 that leads out switches on forwarding for all."""
        if new.ipv6 and not new.internal and new.bridge:
            for record in self.store:
                if record.internal and record.ipv6 and record.bridge:
                    await executors.kernel.run(self._bridges.restore, record)

    async def remove_network(self, reference: str) -> None:
        """Remove a network. Raises NotFound, and Forbidden while containers are connected or for a predefined one."""
        record = self.store.get(reference)
        if record.name in PREDEFINED:
            raise Forbidden(f"{record.name} is a pre-defined network and cannot be removed")
        async with self._locks.hold(record.id):
            record = self.store.get(record.id)
            check_unused(record, self.store)
            connected = self._connected(record)
            if connected:
                endpoints = ", ".join(f'name:"{one.container_name}" id:"{one.container_id[:12]}"' for one in connected)
                raise Forbidden(
                    f"error while removing network: network {record.name} has active endpoints ({endpoints})"
                )
            await self._reaper.settle(record.id)
            await self._remove(record)

    async def _remove(self, record: NetworkRecord) -> None:
        driver = self._drivers.get(record.driver)
        # Rules before the bridge, as in remove_from_host.
        self.store.hide(record)
        try:
            self._rebuild_firewall()
            if driver is not None:
                await driver.delete_network(record)
        except (OSError, EngineError) as error:
            self.store.unhide(record)
            self._rebuild_firewall()
            if isinstance(error, EngineError):
                raise
            raise SystemFault(f"cannot remove network {record.name}: {reason(error)}") from error
        try:
            with self._state.transaction():
                self.store.delete_network(record)
                self._publish_network(record, "destroy")
        except EngineError:
            self.store.unhide(record)
            await self._restore_or_report(record)
            self._rebuild_firewall()
            raise
        ipam = self._ipams.get(record.ipam_driver)
        if ipam is not None and not record.config_only:
            for pool in record.pools:
                await _attempt(ipam.release_pool, pool)

    def _publish_network(self, record: NetworkRecord, action: str) -> None:
        self._events.publish("network", action, record.id, {"name": record.name, "type": record.driver})

    def _connected(self, record: NetworkRecord) -> list[SandboxRecord]:
        return [
            sandbox
            for sandbox in self.store.sandboxes.values()
            if any(endpoint.network_id == record.id for endpoint in sandbox.endpoints)
        ]

    def _used(self, record: NetworkRecord) -> bool:
        return bool(record.name in PREDEFINED or self._connected(record) or self._references.network_users(record.name))

    async def prune(self, filters: Filters) -> NetworksPruned:
        """Remove the networks that no container is on or is to be on."""
        deleted = []
        for record in self.store:
            if views.prunable(record, filters) and not self._used(record):
                await self.remove_network(record.id)
                deleted.append(record.name)
        return NetworksPruned(deleted or None)

    def list_networks(self, filters: Filters, *, containers: bool = False) -> list[Network]:
        """The networks that match, newest last; with their `containers` on demand. Raises InvalidParameter."""
        views.check_filters(filters)
        return [
            views.view(record, self._connected(record) if containers else ())
            for record in sorted(self.store, key=lambda one: one.created_ns)
            if views.matches(record, filters, used=self._used(record))
        ]

    def inspect(self, reference: str) -> Network:
        """One network with the containers on it. Raises NotFound."""
        record = self.store.get(reference)
        network = views.view(record, self._connected(record))
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


async def _attempt(call: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Undo something; that it cannot be undone is told in the log, beside the error that led here."""
    try:
        await call(*arguments)
    except (EngineError, OSError) as error:
        _log.warning("a network is not removed as it should be: %s", error)
