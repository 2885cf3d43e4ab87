"""Sandboxes: the network stacks of running containers, made at a start and released at an end."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from darse.core import executors
from darse.core.errors import Conflict, Forbidden, InvalidParameter, NotFound, SystemFault
from darse.core.exhaustion import reason
from darse.core.ids import new_id
from darse.linux.net.netns import Netns, NetnsThread, Owner
from darse.linux.net.rtnetlink import add_address, set_default_route, set_mac, set_up
from darse.linux.proc.process import runs
from darse.networks.addresses import AddressAllocator, mac_for, parse_address
from darse.networks.drivers import Driver
from darse.networks.model import (
    Endpoint,
    Holder,
    NetworkRecord,
    PublishedPort,
    SandboxGone,
    SandboxRecord,
    SandboxRequest,
)
from darse.networks.pool import NetnsPool, Prepared
from darse.networks.port_mapper import PortMapper
from darse.networks.store import NetworkStore
from darse.wire.host_config import PortMap
from darse.wire.networks import EndpointSettings

_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\Z")


class Sandbox(msgspec.Struct):
    """A sandbox that a container is about to use. `path` names its namespace while the engine holds it."""

    record: SandboxRecord
    netns: Netns

    @property
    def path(self) -> str:
        """What the OCI runtime joins."""
        return self.netns.path

    @property
    def user_path(self) -> str:
        """The user namespace that owns it, which the runtime must join first; empty when that is the host's."""
        return self.netns.user_path

    @property
    def addresses(self) -> list[str]:
        """The container's addresses, that of the default route first."""
        return [endpoint.address for endpoint in self.record.endpoints if endpoint.address]


class Sandboxes:
    """Makes, changes and releases sandboxes."""

    def __init__(
        self,
        store: NetworkStore,
        drivers: Mapping[str, Driver],
        allocators: Mapping[str, AddressAllocator],
        publisher: PortMapper,
        pool: NetnsPool,
        thread: NetnsThread,
        default_bridge: Callable[[], NetworkRecord | None],
    ) -> None:
        """`allocators` has the addresses of each network by its id."""
        self._store = store
        self._drivers = drivers
        self._allocators = allocators
        self._publisher = publisher
        self._pool = pool
        self._thread = thread
        self._default_bridge = default_bridge
        self._held: dict[str, Netns] = {}
        #: The container of each link.
        self.owners: dict[str, str] = {}

    def restore(self, sandbox: SandboxRecord) -> None:
        """Note what a running container has, and have its links on their networks. Raises OSError and Conflict."""
        for endpoint in sandbox.endpoints:
            allocator = self._allocators.get(endpoint.network_id)
            if allocator is not None and endpoint.address:
                allocator.restore(ipaddress.IPv4Address(endpoint.address))
            self._own(endpoint, sandbox.container_id)
        self._publisher.restore(sandbox.published)

    def reconnect(self, sandbox: SandboxRecord) -> None:
        """Have a running container's links on their networks. Raises OSError and Conflict."""
        for endpoint in sandbox.endpoints:
            if endpoint.link:
                record = self._store.get(endpoint.network_id)
                self._drivers[record.driver].reconnect(record, endpoint.link)

    def _own(self, endpoint: Endpoint, container_id: str) -> None:
        if endpoint.link:
            self.owners[endpoint.link] = container_id

    async def create(self, request: SandboxRequest) -> Sandbox:
        """Make a container's network stack. Its record is in memory then; the caller saves it.

        (Until that is done nothing needs undoing after a crash: the namespace and its links go with the engine, and
        rules without a record when the next one starts.)
        Raises NotFound for a network that is gone, InvalidParameter and Forbidden for addresses, SystemFault for
        ports, and OSError.
        """
        networks = [(self._store.get(name), settings) for name, settings in request.endpoints.items()]
        # The highest priority gives the default route; among equals, the first named (docker: by name).
        networks.sort(key=lambda pair: (pair[0].internal, -pair[1].GwPriority))
        sandbox = SandboxRecord(
            container_id=request.container_id,
            container_name=request.container_name,
            sandbox_id=new_id(),
            wishes=request.wishes,
        )
        prepared: Prepared | None = None
        try:
            for number, (record, settings) in enumerate(networks):
                mac = settings.MacAddress or (request.mac if number == 0 else "")
                sandbox.endpoints.append(self._endpoint(record, settings, mac))
            self._store.reserve(sandbox)
            leading = _way_out(sandbox.endpoints)
            if leading is not None:
                sandbox.published, sandbox.ports = self._publish(sandbox, leading)
            prepared = await self._namespace(networks[0][0] if networks else None, request.owner)
            for number, ((record, _), endpoint) in enumerate(zip(networks, sandbox.endpoints, strict=True)):
                if self._drivers[record.driver].addressed:
                    await self._connect(record, endpoint, prepared, number)
            await self._publisher.settle()
        except BaseException as error:
            if prepared is not None:
                prepared.netns.close()
            self.abandon(sandbox)
            if isinstance(error, OSError):
                raise SystemFault(f"cannot make the container's network: {reason(error)}") from error
            raise
        self._held[request.container_id] = prepared.netns
        for endpoint in sandbox.endpoints:
            self._own(endpoint, request.container_id)
        return Sandbox(sandbox, prepared.netns)

    def _endpoint(self, record: NetworkRecord, settings: EndpointSettings, mac: str) -> Endpoint:
        endpoint = Endpoint(
            network_id=record.id, network_name=record.name, endpoint_id=new_id(), priority=settings.GwPriority
        )
        allocator = self._allocators.get(record.id)
        if allocator is not None:
            wanted = settings.IPAMConfig.IPv4Address if settings.IPAMConfig else ""
            address = allocator.allocate(parse_address(wanted, "IPv4 address") if wanted else None)
            endpoint.address = str(address)
            endpoint.prefix = record.network.prefixlen
            endpoint.gateway = "" if record.internal else record.way_out or record.gateway
            endpoint.mac = mac or mac_for(address)
        return endpoint

    def _publish(self, sandbox: SandboxRecord, leading: Endpoint) -> tuple[list[PublishedPort], PortMap]:
        """Lead the host's ports to the endpoint that leads out. Raises SystemFault in docker's words, and Conflict."""
        try:
            return self._publisher.publish(sandbox.wishes, self._store.get(leading.network_id), leading.address)
        except SystemFault as error:
            raise SystemFault(
                "failed to set up container networking: driver failed programming external connectivity on "
                f"endpoint {sandbox.container_name} ({leading.endpoint_id}): {error}"
            ) from error

    def _save_leading(self, sandbox: SandboxRecord) -> None:
        """Save a sandbox whose endpoints have changed; its ports on the host follow the endpoint that leads out now.

        Raises SystemFault and Conflict when they cannot, as the container had none so far.
        """
        leading, before = _way_out(sandbox.endpoints), sandbox.published
        if leading is None:
            ports: PortMap = dict.fromkeys(sandbox.ports)
            self._store.save_sandbox(msgspec.structs.replace(sandbox, published=[], ports=ports))
            self._publisher.withdraw(before)
        elif not before:
            published, ports = self._publish(sandbox, leading)
            try:
                self._store.save_sandbox(msgspec.structs.replace(sandbox, published=published, ports=ports))
            except BaseException:
                self._publisher.withdraw(published)
                raise
        else:
            moved = [msgspec.structs.replace(port, container_ip=leading.address) for port in before]
            self._store.save_sandbox(msgspec.structs.replace(sandbox, published=moved))
            if moved != before:
                self._publisher.move(before, moved)

    async def _namespace(self, first: NetworkRecord | None, owner: Owner | None) -> Prepared:
        default = self._default_bridge()
        if first is not None and default is not None and first.id == default.id:
            return await self._pool.on_default_bridge(owner)
        return await self._pool.bare(owner)

    async def _connect(self, record: NetworkRecord, endpoint: Endpoint, prepared: Prepared, number: int) -> None:
        interface = f"eth{number}"
        driver = self._drivers[record.driver]
        endpoint.interface = interface
        if number == 0 and prepared.link:
            endpoint.link = prepared.link
            # It was prepared some time ago, and the bridge may have been deleted since.
            await executors.kernel.run(self._reuse, driver, record, prepared.netns, endpoint)
            return
        endpoint.link = await self._thread.run(lambda: driver.connect(record, prepared.netns, interface))
        await executors.kernel.run(_configure, prepared.netns, endpoint, default_route=number == 0)

    @staticmethod
    def _reuse(driver: Driver, record: NetworkRecord, netns: Netns, endpoint: Endpoint) -> None:
        driver.reconnect(record, endpoint.link)
        _configure(netns, endpoint, default_route=True)

    def started(self, container_id: str) -> None:
        """The container's process holds the namespace now."""
        netns = self._held.pop(container_id, None)
        if netns is not None:
            netns.close()

    def release(self, container_id: str) -> SandboxRecord | None:
        """Give back what a container's network stack holds; fine when there is none."""
        self.started(container_id)
        return self._store.delete_sandbox(container_id, self._give_back)

    def abandon(self, sandbox: SandboxRecord) -> None:
        """Give back what a network stack holds that was made, and never saved."""
        self.started(sandbox.container_id)
        self._store.sandboxes.pop(sandbox.container_id, None)
        self._give_back(sandbox)

    def _give_back(self, sandbox: SandboxRecord) -> None:
        self._publisher.withdraw(sandbox.published)
        for endpoint in sandbox.endpoints:
            self._release_address(endpoint)
            self.owners.pop(endpoint.link, None)

    def _release_address(self, endpoint: Endpoint) -> None:
        allocator = self._allocators.get(endpoint.network_id)
        if allocator is not None and endpoint.address:
            allocator.release(ipaddress.IPv4Address(endpoint.address))

    async def join(
        self, container_id: str, holder: Holder, record: NetworkRecord, settings: EndpointSettings
    ) -> Endpoint:
        """Connect a running container to another network.

        Raises Forbidden when it is connected already, and SandboxGone when its process has ended.
        """
        sandbox = self._store.sandboxes.get(container_id)
        if sandbox is None:
            raise Conflict(f"container {container_id[:12]} has no network stack of its own to connect")
        if any(endpoint.network_id == record.id for endpoint in sandbox.endpoints):
            raise Forbidden(f"endpoint with name {sandbox.container_name} already exists in network {record.name}")
        endpoint = self._endpoint(record, settings, settings.MacAddress)
        try:
            netns = await self._thread.run(lambda: self._enter(container_id, holder))
            try:
                way_out = _way_out([*sandbox.endpoints, endpoint])
                await self._plug(netns, record, endpoint, default_route=way_out is endpoint)
            finally:
                netns.close()
            self._add(container_id, endpoint)
        except BaseException as error:
            if endpoint.link:
                await executors.kernel.run(self._drivers[record.driver].disconnect, endpoint.link)
            self._release_address(endpoint)
            if isinstance(error, OSError):
                raise SystemFault(f"cannot connect the container to network {record.name}: {reason(error)}") from error
            raise
        return endpoint

    def _add(self, container_id: str, endpoint: Endpoint) -> None:
        # Read again: it may have joined or left others meanwhile, or have ended.
        sandbox = self._store.sandboxes.get(container_id)
        if sandbox is None:
            raise Conflict(f"container {container_id[:12]} has ended meanwhile")
        self._save_leading(msgspec.structs.replace(sandbox, endpoints=[*sandbox.endpoints, endpoint]))
        self._own(endpoint, container_id)

    def _enter(self, container_id: str, holder: Holder) -> Netns:
        """Open the namespace of a container that runs. Call it in the thread. Raises SandboxGone."""
        try:
            netns = self._thread.enter(f"/proc/{holder.pid}/ns/net")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH):
                raise
        else:
            if runs(*holder):
                return netns
            netns.close()  # of another process, which has the pid by now
        raise SandboxGone(f"container {container_id} is not running")

    async def _plug(self, netns: Netns, record: NetworkRecord, endpoint: Endpoint, *, default_route: bool) -> None:
        """Give a running container an interface for an endpoint: of the name that it had, or the first free one."""
        taken = {link.name for link in await executors.kernel.run(netns.netlink.links)}
        names = [endpoint.interface, *(f"eth{number}" for number in range(len(taken) + 1))]
        interface = next(name for name in names if name and name not in taken)
        driver = self._drivers[record.driver]
        endpoint.link = await self._thread.run(lambda: driver.connect(record, netns, interface))
        endpoint.interface = interface
        await executors.kernel.run(_configure, netns, endpoint, default_route=default_route)

    async def replug(self, container_id: str, holder: Holder, record: NetworkRecord, lost: Endpoint) -> None:
        """Make the link of a running container's endpoint anew, with the same addresses, as somebody has deleted it.

        Raises SandboxGone when the container ends or leaves the network meanwhile, SystemFault and OSError.
        """
        self.owners.pop(lost.link, None)
        netns = await self._thread.run(lambda: self._enter(container_id, holder))
        endpoint = msgspec.structs.replace(lost, link="")
        try:
            sandbox = self._store.sandboxes.get(container_id)
            way_out = _way_out(sandbox.endpoints) if sandbox is not None else None
            leads_out = way_out is not None and way_out.endpoint_id == endpoint.endpoint_id
            await self._plug(netns, record, endpoint, default_route=leads_out)
            self._replace(container_id, lost, endpoint)
        except BaseException:
            self.owners.pop(endpoint.link, None)
            await executors.kernel.run(self._drivers[record.driver].disconnect, endpoint.link)
            raise
        finally:
            netns.close()

    def _replace(self, container_id: str, old: Endpoint, new: Endpoint) -> None:
        # Read again, as in `_add`.
        sandbox = self._store.sandboxes.get(container_id)
        if sandbox is None or old not in sandbox.endpoints:
            raise SandboxGone(f"container {container_id} has ended, or left network {old.network_name}, meanwhile")
        endpoints = [new if one == old else one for one in sandbox.endpoints]
        self._store.save_sandbox(msgspec.structs.replace(sandbox, endpoints=endpoints))
        self._own(new, container_id)

    async def leave(self, container_id: str, holder: Holder | None, record: NetworkRecord) -> Endpoint:
        """Disconnect a running container from a network; what led out through it takes another way, if there is one.

        Raises NotFound when it is not connected.
        """
        sandbox = self._store.sandboxes.get(container_id)
        endpoints = sandbox.endpoints if sandbox is not None else []
        endpoint = next((one for one in endpoints if one.network_id == record.id), None)
        if sandbox is None or endpoint is None:
            raise NotFound(f"container {container_id[:12]} is not connected to the network {record.name}")
        sandbox = msgspec.structs.replace(sandbox, endpoints=[one for one in endpoints if one is not endpoint])
        self._save_leading(sandbox)
        self.owners.pop(endpoint.link, None)
        await executors.kernel.run(self._drivers[record.driver].disconnect, endpoint.link)
        self._release_address(endpoint)
        way_out = _way_out(sandbox.endpoints)
        if holder is not None and way_out is not None:
            with contextlib.suppress(SandboxGone):  # it needs no way out any more
                await self._thread.run(lambda: self._reroute(container_id, holder, way_out.gateway))
        return endpoint

    def _reroute(self, container_id: str, holder: Holder, gateway: str) -> None:
        netns = self._enter(container_id, holder)
        try:
            netns.netlink.run(set_default_route(ipaddress.IPv4Address(gateway)))
        finally:
            netns.close()

    def close(self) -> None:
        """Let go of every namespace."""
        for container_id in list(self._held):
            self.started(container_id)


def _way_out(endpoints: Sequence[Endpoint]) -> Endpoint | None:
    """The endpoint whose gateway is the default route: of the highest priority, the first."""
    return max((one for one in endpoints if one.gateway), key=lambda one: one.priority, default=None)


def _configure(netns: Netns, endpoint: Endpoint, *, default_route: bool) -> None:
    """Give the namespace's end of a link its addresses and, with `default_route`, make it the way out."""
    interface = endpoint.interface
    link = netns.netlink.link(interface)
    if link is None:
        raise SystemFault(f"the interface {interface} of the container has vanished")
    address = ipaddress.IPv4Interface(f"{endpoint.address}/{endpoint.prefix}")
    requests = [
        set_mac(interface, endpoint.mac),
        set_up(link.index, interface),
        add_address(link.index, interface, address),
    ]
    said = f"{interface} inside: up, {address}"
    if default_route and endpoint.gateway:
        requests.append(set_default_route(ipaddress.IPv4Address(endpoint.gateway)))
        said += f", the way out by {endpoint.gateway}"
    netns.netlink.run(*requests, summary=said)


def check_settings(settings: EndpointSettings) -> None:
    """Raise InvalidParameter for addresses that are none."""
    check_mac(settings.MacAddress)
    if settings.IPAMConfig is not None:
        if settings.IPAMConfig.IPv4Address:
            parse_address(settings.IPAMConfig.IPv4Address, "IPv4 address")
        if settings.IPAMConfig.IPv6Address:
            raise InvalidParameter("IPv6 addresses are not supported yet")


def refuse_user_defined(settings: EndpointSettings) -> None:
    """Raise InvalidParameter for what only user-defined networks have: chosen addresses, and aliases."""
    if settings.IPAMConfig is not None and (settings.IPAMConfig.IPv4Address or settings.IPAMConfig.IPv6Address):
        raise InvalidParameter(
            "invalid endpoint settings: user specified IP address is supported on user defined networks only"
        )
    if settings.Aliases:
        raise InvalidParameter("network-scoped aliases are only supported for user-defined networks")


def check_mac(text: str) -> None:
    """Raise InvalidParameter for what is no hardware address of one interface; empty: none is asked for."""
    if not text:
        return
    if _MAC.match(text) is None:
        raise InvalidParameter(f"invalid MAC address: {text}")
    octets = bytes.fromhex(text.replace(":", ""))
    if octets[0] & 1 or not any(octets):
        raise InvalidParameter(f"invalid MAC address: {text}: it is a group's, or nobody's")
