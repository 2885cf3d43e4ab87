"""Sandboxes: the network stacks of running containers, made at a start and released at an end."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from darse.engine.config import EngineConfig
from darse.engine.errors import Conflict, Forbidden, InvalidParameter, NotFound
from darse.engine.ids import new_id
from darse.linux.netns import Netns, NetnsThread
from darse.networks.addresses import AddressAllocator, mac_for, parse_address
from darse.networks.drivers import HOST_BINDING, Driver, configure
from darse.networks.firewall import Firewall
from darse.networks.model import Endpoint, NetworkRecord, SandboxRecord, SandboxRequest
from darse.networks.pool import NetnsPool, Prepared
from darse.networks.ports import PortAllocator
from darse.networks.store import NetworkStore
from darse.wire.containers import PortMap
from darse.wire.networks import EndpointSettings

_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\Z")


@dataclass
class Sandbox:
    """A sandbox that a container is about to use. `path` names its namespace while the engine holds it."""

    record: SandboxRecord
    netns: Netns

    @property
    def path(self) -> str:
        """What the OCI runtime joins."""
        return self.netns.path

    @property
    def addresses(self) -> list[str]:
        """The container's addresses, that of the default route first."""
        return [endpoint.address for endpoint in self.record.endpoints if endpoint.address]


class Sandboxes:
    """Makes, changes and releases sandboxes."""

    def __init__(
        self,
        config: EngineConfig,
        store: NetworkStore,
        drivers: dict[str, Driver],
        allocators: dict[str, AddressAllocator],
        firewall: Firewall | None,
        pool: NetnsPool,
        thread: NetnsThread,
        default_bridge: Callable[[], NetworkRecord | None],
    ) -> None:
        """`allocators` has the addresses of each network by its id."""
        self._config = config
        self._store = store
        self._drivers = drivers
        self._allocators = allocators
        self._firewall = firewall
        self._pool = pool
        self._thread = thread
        self._default_bridge = default_bridge
        self._ports = PortAllocator(config.ip)
        self._held: dict[str, Netns] = {}

    def restore(self, sandbox: SandboxRecord) -> None:
        """Note what a running container has."""
        for endpoint in sandbox.endpoints:
            allocator = self._allocators.get(endpoint.network_id)
            if allocator is not None and endpoint.address:
                allocator.restore(ipaddress.IPv4Address(endpoint.address))
        for port in sandbox.published:
            self._ports.restore(port)

    async def create(self, request: SandboxRequest) -> Sandbox:
        """Make a container's network stack.

        Raises NotFound for a network that is gone, InvalidParameter and Forbidden for addresses, SystemFault for
        ports, and OSError.
        """
        networks = [(self._store.get(name), settings) for name, settings in request.endpoints.items()]
        # The highest priority gives the default route; among equals, the first named (docker: by name).
        networks.sort(key=lambda pair: -pair[1].GwPriority)
        sandbox = SandboxRecord(
            container_id=request.container_id, container_name=request.container_name, sandbox_id=new_id()
        )
        prepared: Prepared | None = None
        try:
            for number, (record, settings) in enumerate(networks):
                mac = settings.MacAddress or (request.mac if number == 0 else "")
                sandbox.endpoints.append(self._endpoint(record, settings, mac))
            if sandbox.endpoints and sandbox.endpoints[0].address:
                self._publish(sandbox, request, networks[0][0])
            self._store.save_sandbox(sandbox)
            prepared = await self._namespace(networks[0][0] if networks else None)
            for number, ((record, _), endpoint) in enumerate(zip(networks, sandbox.endpoints, strict=True)):
                if self._drivers[record.driver].addressed:
                    self._connect(record, endpoint, prepared, number)
        except BaseException:
            if prepared is not None:
                prepared.netns.close()
            self._forget(sandbox)
            raise
        self._held[request.container_id] = prepared.netns
        return Sandbox(sandbox, prepared.netns)

    def _endpoint(self, record: NetworkRecord, settings: EndpointSettings, mac: str) -> Endpoint:
        endpoint = Endpoint(network_id=record.id, network_name=record.name, endpoint_id=new_id())
        allocator = self._allocators.get(record.id)
        if allocator is not None:
            wanted = settings.IPAMConfig.IPv4Address if settings.IPAMConfig else ""
            address = allocator.allocate(parse_address(wanted, "IPv4 address") if wanted else None)
            endpoint.address = str(address)
            endpoint.prefix = record.network.prefixlen
            endpoint.gateway = "" if record.internal else record.gateway
            endpoint.mac = mac or mac_for(address)
        return endpoint

    def _publish(self, sandbox: SandboxRecord, request: SandboxRequest, record: NetworkRecord) -> None:
        if record.internal or not self._drivers[record.driver].addressed:
            return
        default_ip = record.options.get(HOST_BINDING)
        wanted: PortMap = request.ports
        if default_ip:
            for bindings in wanted.values():
                for binding in bindings or ():
                    binding.HostIp = binding.HostIp or default_ip
        sandbox.published, sandbox.ports = self._ports.allocate(
            wanted, request.exposed, sandbox.endpoints[0].address, publish_all=request.publish_all
        )
        if sandbox.published:
            if self._firewall is None:
                raise Conflict("publishing ports needs the firewall, which is switched off (--iptables=false)")
            self._firewall.publish(sandbox.published)

    async def _namespace(self, first: NetworkRecord | None) -> Prepared:
        default = self._default_bridge()
        if first is not None and default is not None and first.id == default.id:
            return await self._pool.on_default_bridge(self._config.mtu)
        return await self._pool.bare()

    def _connect(self, record: NetworkRecord, endpoint: Endpoint, prepared: Prepared, number: int) -> None:
        interface = f"eth{number}"
        endpoint.link = (
            prepared.link
            if number == 0 and prepared.link
            else self._drivers[record.driver].connect(record, prepared.netns, interface)
        )
        configure(prepared.netns, interface, endpoint, default_route=number == 0)

    def started(self, container_id: str) -> None:
        """The container's process holds the namespace now."""
        netns = self._held.pop(container_id, None)
        if netns is not None:
            netns.close()

    def release(self, container_id: str) -> SandboxRecord | None:
        """Give back what a container's network stack holds; fine when there is none."""
        self.started(container_id)
        sandbox = self._store.delete_sandbox(container_id)
        if sandbox is not None:
            self._give_back(sandbox)
        return sandbox

    def _forget(self, sandbox: SandboxRecord) -> None:
        self._store.delete_sandbox(sandbox.container_id)
        self._give_back(sandbox)

    def _give_back(self, sandbox: SandboxRecord) -> None:
        if sandbox.published and self._firewall is not None:
            self._firewall.withdraw(sandbox.published)
        for port in sandbox.published:
            self._ports.release(port)
        for endpoint in sandbox.endpoints:
            self._release_address(endpoint)

    def _release_address(self, endpoint: Endpoint) -> None:
        allocator = self._allocators.get(endpoint.network_id)
        if allocator is not None and endpoint.address:
            allocator.release(ipaddress.IPv4Address(endpoint.address))

    async def join(self, container_id: str, pid: int, record: NetworkRecord, settings: EndpointSettings) -> Endpoint:
        """Connect a running container to another network. Raises Forbidden when it is connected already."""
        sandbox = self._store.sandboxes.get(container_id)
        if sandbox is None:
            raise Conflict(f"container {container_id[:12]} has no network stack of its own to connect")
        if any(endpoint.network_id == record.id for endpoint in sandbox.endpoints):
            raise Forbidden(f"endpoint with name {sandbox.container_name} already exists in network {record.name}")
        endpoint = self._endpoint(record, settings, settings.MacAddress)
        try:
            netns = await self._thread.run(lambda: self._thread.enter(f"/proc/{pid}/ns/net"))
            try:
                taken = {link.name for link in netns.netlink.links()}
                interface = next(name for number in range(1000) if (name := f"eth{number}") not in taken)
                endpoint.link = self._drivers[record.driver].connect(record, netns, interface)
                has_way_out = any(one.gateway for one in sandbox.endpoints)
                configure(netns, interface, endpoint, default_route=not has_way_out)
            finally:
                netns.close()
        except BaseException:
            self._release_address(endpoint)
            raise
        sandbox.endpoints.append(endpoint)
        self._store.save_sandbox(sandbox)
        return endpoint

    def leave(self, container_id: str, record: NetworkRecord) -> Endpoint:
        """Disconnect a running container from a network. Raises NotFound when it is not connected."""
        sandbox = self._store.sandboxes.get(container_id)
        endpoints = sandbox.endpoints if sandbox is not None else []
        endpoint = next((one for one in endpoints if one.network_id == record.id), None)
        if sandbox is None or endpoint is None:
            raise NotFound(f"container {container_id[:12]} is not connected to the network {record.name}")
        gone = [port for port in sandbox.published if port.container_ip == endpoint.address]
        if gone and self._firewall is not None:
            self._firewall.withdraw(gone)
        for port in gone:
            self._ports.release(port)
        sandbox.published = [port for port in sandbox.published if port not in gone]
        if gone:
            sandbox.ports = {}
        sandbox.endpoints.remove(endpoint)
        self._store.save_sandbox(sandbox)
        self._drivers[record.driver].disconnect(endpoint.link)
        self._release_address(endpoint)
        return endpoint

    def close(self) -> None:
        """Let go of every namespace."""
        for container_id in list(self._held):
            self.started(container_id)


def check_settings(settings: EndpointSettings) -> None:
    """Raise InvalidParameter for addresses that are none."""
    if settings.MacAddress and _MAC.match(settings.MacAddress) is None:
        raise InvalidParameter(f"invalid MAC address: {settings.MacAddress}")
    if settings.IPAMConfig is not None:
        if settings.IPAMConfig.IPv4Address:
            parse_address(settings.IPAMConfig.IPv4Address, "IPv4 address")
        if settings.IPAMConfig.IPv6Address:
            raise InvalidParameter("IPv6 addresses are not supported yet")
