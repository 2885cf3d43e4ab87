"""Networks: their records, their life on the host, and the sandboxes of containers on them."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from collections.abc import Callable, Mapping

from darse.engine.config import EngineConfig
from darse.engine.errors import Conflict, Forbidden, InvalidParameter, NotFound, SystemFault
from darse.engine.events import EventLog
from darse.engine.filters import Filters
from darse.engine.ids import new_id
from darse.engine.locks import KeyedLocks
from darse.engine.state import State
from darse.engine.times import rfc3339
from darse.linux import sysctl
from darse.linux.netlink import Netlink
from darse.linux.netns import NetnsThread
from darse.linux.nft import Nftables
from darse.networks.addresses import AddressAllocator, choose_subnet, parse_address, parse_subnet
from darse.networks.drivers import (
    BRIDGE_NAME,
    HOST_BINDING,
    ICC,
    MASQUERADE,
    MTU,
    BridgeDriver,
    Driver,
    NullDriver,
)
from darse.networks.firewall import Firewall
from darse.networks.model import Endpoint, NetworkRecord, SandboxRecord, SandboxRequest
from darse.networks.pool import NetnsPool
from darse.networks.sandboxes import Sandbox, Sandboxes, check_settings
from darse.networks.store import NetworkStore
from darse.wire.networks import (
    IPAM,
    EndpointSettings,
    IPAMConfig,
    Network,
    NetworkContainer,
    NetworkCreate,
    NetworkCreated,
    NetworksPruned,
)

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[\w][\w.-]*\Z", re.ASCII)
_LINK_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,15}\Z")
PREDEFINED = ("bridge", "host", "none")
LIST_FILTERS = ("dangling", "driver", "id", "label", "label!", "name", "scope", "type")
PRUNE_FILTERS = ("label", "label!", "until")


class NetworkService:
    """The networks room's front door."""

    def __init__(self, config: EngineConfig, state: State, events: EventLog) -> None:
        self._config = config
        self._events = events
        self.store = NetworkStore(state)
        self._netlink = Netlink()
        self._bridge_driver = BridgeDriver(self._netlink, config)
        self._drivers: dict[str, Driver] = {"bridge": self._bridge_driver, "host": NullDriver(), "null": NullDriver()}
        self._allocators: dict[str, AddressAllocator] = {}
        self._nft = Nftables() if config.iptables else None
        self._firewall = Firewall(self._nft, config.nft_table) if self._nft is not None else None
        self._thread = NetnsThread()
        self._pool = NetnsPool(self._thread, self._netlink, config.mtu)
        self._sandboxes = Sandboxes(
            config,
            self.store,
            self._drivers,
            self._allocators,
            self._firewall,
            self._pool,
            self._thread,
            self.default_bridge,
        )
        self._locks = KeyedLocks()
        self._started = False
        # Set by the engine: the names of stopped and running containers that are to be connected to a network.
        self.configured: Callable[[str], list[str]] = lambda _: []

    async def start(self, running: Mapping[str, int]) -> None:
        """Have every network on the host, and forget the sandboxes of containers that do not run.

        `running` gives the pid of each running container. Raises SystemFault and Conflict.
        """
        self._forward()
        self._predefine()
        for container_id in list(self.store.sandboxes):
            if container_id not in running:
                self.store.delete_sandbox(container_id)
        for record in self.store:
            self._restore(record)
        for sandbox in self.store.sandboxes.values():
            self._sandboxes.restore(sandbox)
        self._rebuild_firewall()
        self._started = True
        default = self.default_bridge()
        self._pool.start(self._bridge_driver.index(default) if default is not None else None)

    def _forward(self) -> None:
        if self._config.ip_forward:
            try:
                sysctl.write("net/ipv4/ip_forward", "1")
            except OSError as error:
                _log.warning("cannot switch on IPv4 forwarding, containers reach the host only: %s", error)

    def _predefine(self) -> None:
        for name, driver in (("host", "host"), ("none", "null")):
            if self.store.by_name(name) is None:
                self.store.save(NetworkRecord(id=new_id(), name=name, driver=driver, created_ns=time.time_ns()))
        if self._config.bridge == "none":
            return
        existing = self.store.by_name("bridge")
        if existing is None or (self._config.bip and existing.subnet != str(_bip(self._config.bip).network)):
            self.store.save(self._default_record(existing))

    def _default_record(self, existing: NetworkRecord | None) -> NetworkRecord:
        config = self._config
        if config.bip:
            interface = _bip(config.bip)
            subnet, gateway = interface.network, interface.ip
        else:
            subnet = choose_subnet(config.default_address_pools, self._taken_subnets())
            gateway = subnet[1]
        options = {
            "com.docker.network.bridge.default_bridge": "true",
            ICC: str(config.icc).lower(),
            MASQUERADE: str(config.ip_masq).lower(),
            HOST_BINDING: config.ip,
            BRIDGE_NAME: config.bridge_name,
            MTU: str(config.mtu),
        }
        return NetworkRecord(
            id=existing.id if existing else new_id(),
            name="bridge",
            driver="bridge",
            created_ns=existing.created_ns if existing else time.time_ns(),
            subnet=str(subnet),
            gateway=str(gateway),
            ip_range=config.fixed_cidr,
            options=options,
            bridge=config.bridge_name,
        )

    def _taken_subnets(self) -> list[ipaddress.IPv4Network]:
        return [record.network for record in self.store if record.subnet] + self._netlink.routes()

    def _restore(self, record: NetworkRecord) -> None:
        driver = self._drivers[record.driver]
        try:
            driver.restore(record)
        except OSError as error:
            raise SystemFault(f"cannot set up network {record.name} ({record.bridge}): {error}") from error
        if driver.addressed:
            self._allocators[record.id] = _allocator(record)

    def _rebuild_firewall(self) -> None:
        if self._firewall is None:
            return
        bridges = [
            (record, record.options.get(ICC, "true") == "true", record.options.get(MASQUERADE, "true") == "true")
            for record in self.store
            if record.bridge
        ]
        ports = [port for sandbox in self.store.sandboxes.values() for port in sandbox.published]
        self._firewall.rebuild(bridges, ports)

    def default_bridge(self) -> NetworkRecord | None:
        """The network that containers get unless they ask for another; None with `--bridge=none`."""
        return self.store.by_name("bridge")

    async def close(self) -> None:
        """Let go; networks, links and rules stay for the containers that run."""
        await self._pool.close()
        self._sandboxes.close()
        self._thread.close()
        self._netlink.close()
        if self._nft is not None:
            self._nft.close()

    def remove_from_host(self) -> None:
        """Take bridges and rules off the host; the next start brings them back."""
        for record in self.store:
            self._drivers[record.driver].remove(record)
        if self._firewall is not None:
            self._firewall.remove()

    # Sandboxes

    def check(self, endpoints: Mapping[str, EndpointSettings]) -> None:
        """Raise what a sandbox with these endpoints would: NotFound, InvalidParameter."""
        for name, settings in endpoints.items():
            record = self.store.get(name)
            check_settings(settings)
            wanted = settings.IPAMConfig.IPv4Address if settings.IPAMConfig else ""
            if wanted and record.name in PREDEFINED:
                raise InvalidParameter(
                    "invalid endpoint settings: user specified IP address is supported on user defined networks only"
                )
            if wanted and parse_address(wanted, "IPv4 address") not in record.network:
                raise InvalidParameter(f"no configured subnet contains IP address {wanted}")
            if settings.Aliases and record.name in PREDEFINED and len(settings.Aliases) > 1:
                raise InvalidParameter("network-scoped aliases are only supported for user-defined networks")

    async def sandbox_create(self, request: SandboxRequest) -> Sandbox:
        """Make a starting container's network stack; see `Sandboxes.create`."""
        sandbox = await self._sandboxes.create(request)
        for endpoint in sandbox.record.endpoints:
            self._publish(endpoint, "connect", request.container_id)
        return sandbox

    def sandbox_started(self, container_id: str) -> None:
        """The container's process holds its namespace."""
        self._sandboxes.started(container_id)

    def sandbox_release(self, container_id: str) -> None:
        """The container has ended, or did not start; fine when it has no sandbox."""
        if not self._started:
            # Recovery: `start` makes rules and links anew from the rows that are left.
            self.store.delete_sandbox(container_id)
            return
        sandbox = self._sandboxes.release(container_id)
        for endpoint in sandbox.endpoints if sandbox else ():
            self._publish(endpoint, "disconnect", container_id)

    def sandbox(self, container_id: str) -> SandboxRecord | None:
        """What a running container has."""
        return self.store.sandboxes.get(container_id)

    def _publish(self, endpoint: Endpoint, action: str, container_id: str) -> None:
        record = self.store.get(endpoint.network_id)
        self._events.publish(
            "network", action, record.id, {"container": container_id, "name": record.name, "type": record.driver}
        )

    async def connect(self, reference: str, container_id: str, pid: int, settings: EndpointSettings) -> None:
        """Connect a running container. Raises NotFound, InvalidParameter, Forbidden."""
        record = self.store.get(reference)
        self.check({record.id: settings})
        if not self._drivers[record.driver].addressed:
            raise Conflict(f"a running container cannot be connected to network {record.name}")
        async with self._locks.hold(record.id):
            endpoint = await self._sandboxes.join(container_id, pid, record, settings)
        self._publish(endpoint, "connect", container_id)

    def disconnect(self, reference: str, container_id: str) -> None:
        """Disconnect a running container. Raises NotFound."""
        endpoint = self._sandboxes.leave(container_id, self.store.get(reference))
        self._publish(endpoint, "disconnect", container_id)

    # Networks

    async def create(self, request: NetworkCreate) -> NetworkCreated:
        """Make a network. Raises Conflict for its name or subnet, NotFound for its driver, InvalidParameter."""
        if _NAME.match(request.Name) is None or len(request.Name) > 255:
            raise InvalidParameter(
                f"invalid network name: {request.Name!r}: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed"
            )
        if request.Name in (*PREDEFINED, "default", "container"):
            raise Forbidden(f"operation is not permitted on predefined {request.Name} network")
        driver = request.Driver or "bridge"
        if driver in ("host", "null"):
            raise Forbidden(f'only one instance of "{driver}" network is allowed')
        if driver not in self._drivers:
            raise NotFound(f'could not find plugin {driver} in v1 plugin registry: plugin "{driver}" not found')
        if request.EnableIPv6:
            raise InvalidParameter("IPv6 networks are not supported yet: create the network without --ipv6")
        async with self._locks.hold("create"):
            if self.store.by_name(request.Name) is not None:
                raise Conflict(f"network with name {request.Name} already exists")
            record = self._new_record(request, driver)
            self._restore(record)
            self.store.save(record)
            self._rebuild_firewall()
        self._events.publish("network", "create", record.id, {"name": record.name, "type": driver})
        return NetworkCreated(record.id, "")

    def _new_record(self, request: NetworkCreate, driver: str) -> NetworkRecord:
        configs = [one for one in (request.IPAM.Config if request.IPAM else None) or () if one.Subnet]
        if len(configs) > 1:
            raise InvalidParameter("bridge driver doesn't support multiple subnets")
        taken = self._taken_subnets()
        given = configs[0] if configs else IPAMConfig()
        if given.Subnet:
            subnet = parse_subnet(given.Subnet)
            if any(subnet.overlaps(record.network) for record in self.store if record.subnet):
                raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
        else:
            subnet = choose_subnet(self._config.default_address_pools, taken)
        gateway = parse_address(given.Gateway, "gateway address") if given.Gateway else subnet[1]
        if gateway not in subnet:
            raise InvalidParameter(f"no matching subnet for gateway {given.Gateway}")
        if given.IPRange and not parse_subnet_any(given.IPRange).subnet_of(subnet):
            raise InvalidParameter(f"no matching subnet for range {given.IPRange}")
        for address in (given.AuxiliaryAddresses or {}).values():
            if parse_address(address, "auxiliary address") not in subnet:
                raise InvalidParameter(f"no matching subnet for aux-address {address}")
        options = dict(request.Options or {})
        id_ = new_id()
        bridge = options.get(BRIDGE_NAME, f"db{id_[:12]}")
        if _LINK_NAME.match(bridge) is None:
            raise InvalidParameter(f"invalid bridge name: {bridge!r}")
        if not options.get(MTU, "1500").isdecimal() or not 68 <= int(options.get(MTU, "1500")) <= 65535:
            raise InvalidParameter(f"invalid MTU: {options[MTU]!r}")
        if self._netlink.link(bridge) is not None:
            raise Conflict(f"a link named {bridge} exists on this host already")
        return NetworkRecord(
            id=id_,
            name=request.Name,
            driver=driver,
            created_ns=time.time_ns(),
            subnet=str(subnet),
            gateway=str(gateway),
            ip_range=given.IPRange,
            reserved=given.AuxiliaryAddresses or {},
            internal=request.Internal,
            attachable=request.Attachable,
            options=options,
            labels=request.Labels or {},
            bridge=bridge,
        )

    async def remove(self, reference: str) -> None:
        """Remove a network. Raises NotFound, and Forbidden while containers are connected or for a predefined one."""
        record = self.store.get(reference)
        if record.name in PREDEFINED:
            raise Forbidden(f"{record.name} is a pre-defined network and cannot be removed")
        async with self._locks.hold(record.id):
            connected = self._connected(record)
            if connected:
                raise Forbidden(
                    f"error while removing network: network {record.name} has active endpoints "
                    f'(name:"{connected[0].container_name}" id:"{connected[0].container_id[:12]}")'
                )
            self.store.delete(record)
            self._drivers[record.driver].remove(record)
            self._allocators.pop(record.id, None)
            self._rebuild_firewall()
        self._events.publish("network", "destroy", record.id, {"name": record.name, "type": record.driver})

    def _connected(self, record: NetworkRecord) -> list[SandboxRecord]:
        return [
            sandbox
            for sandbox in self.store.sandboxes.values()
            if any(endpoint.network_id == record.id for endpoint in sandbox.endpoints)
        ]

    async def prune(self, filters: Filters) -> NetworksPruned:
        """Remove the networks that no container is on or is to be on."""
        deleted = []
        for record in self.store:
            if record.name in PREDEFINED or self._connected(record) or self.configured(record.name):
                continue
            if not (filters.labels(record.labels) and filters.without_labels(record.labels)):
                continue
            if any(record.created_ns / 1e9 >= _seconds(value) for value in filters.values("until")):
                continue
            await self.remove(record.id)
            deleted.append(record.name)
        return NetworksPruned(deleted or None)

    def list_networks(self, filters: Filters) -> list[Network]:
        """The networks that match, newest last."""
        dangling = filters.flag("dangling")
        found = []
        for record in sorted(self.store, key=lambda one: one.created_ns):
            used = bool(self._connected(record) or self.configured(record.name) or record.name in PREDEFINED)
            if dangling is not None and dangling == used:
                continue
            if not (filters.search("name", record.name) and filters.prefix("id", record.id)):
                continue
            kind = "builtin" if record.name in PREDEFINED else "custom"
            if not (filters.exact("driver", record.driver) and filters.exact("type", kind)):
                continue
            if not (filters.exact("scope", "local") and filters.labels(record.labels)):
                continue
            found.append(self._view(record, with_containers=False))
        return found

    def inspect(self, reference: str) -> Network:
        """One network with the containers on it. Raises NotFound."""
        return self._view(self.store.get(reference), with_containers=True)

    def _view(self, record: NetworkRecord, *, with_containers: bool) -> Network:
        ranges = []
        if record.subnet:
            ranges.append(IPAMConfig(record.subnet, record.ip_range, record.gateway, dict(record.reserved) or None))
        containers = {}
        for sandbox in self._connected(record) if with_containers else ():
            for endpoint in sandbox.endpoints:
                if endpoint.network_id == record.id:
                    address = f"{endpoint.address}/{endpoint.prefix}" if endpoint.address else ""
                    containers[sandbox.container_id] = NetworkContainer(
                        sandbox.container_name, endpoint.endpoint_id, endpoint.mac, address, ""
                    )
        return Network(
            Name=record.name,
            Id=record.id,
            Created=rfc3339(record.created_ns),
            Driver=record.driver,
            IPAM=IPAM("default", None, ranges),
            Internal=record.internal,
            Attachable=record.attachable,
            Containers=containers,
            Options=record.options,
            Labels=record.labels,
        )


def parse_subnet_any(text: str) -> ipaddress.IPv4Network:
    """Read a range of addresses. Raises InvalidParameter."""
    try:
        return ipaddress.IPv4Network(text)
    except ValueError:
        raise InvalidParameter(f"invalid address range: {text}") from None


def _allocator(record: NetworkRecord) -> AddressAllocator:
    reserved = [ipaddress.IPv4Address(record.gateway), *map(ipaddress.IPv4Address, record.reserved.values())]
    ip_range = ipaddress.IPv4Network(record.ip_range, strict=False) if record.ip_range else None
    return AddressAllocator(record.network, reserved, ip_range)


def _bip(text: str) -> ipaddress.IPv4Interface:
    try:
        return ipaddress.IPv4Interface(text)
    except ValueError:
        raise InvalidParameter(
            f"invalid --bip {text}: an address with a prefix length is wanted, as 10.1.0.1/24"
        ) from None


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidParameter(f"invalid filter 'until={text}': seconds since the epoch are wanted") from None
