"""Sandboxes: the network stacks of running containers, made at a start and released at an end."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import socket
from collections.abc import Callable, Iterator, Mapping

import msgspec

from darse.core.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound, SystemFault
from darse.core.exhaustion import reason
from darse.core.ids import new_id
from darse.linux.net.netns import Netns, NetnsThread, Owner
from darse.linux.proc.process import runs
from darse.networks.configurations import refuse_configuration
from darse.networks.dns.registration import has_name_server
from darse.networks.drivers import Driver, JoinResult
from darse.networks.endpoint_addresses import EndpointAddresses
from darse.networks.endpoint_reaper import EndpointReaper
from darse.networks.endpoint_settings import endpoint_links, interface_name
from darse.networks.interfaces import (
    VERSIONS,
    configure,
    free_name,
    gateway_endpoint,
    interface_names,
    lead_out,
    leading_ids,
    name_interfaces,
)
from darse.networks.model import Endpoint, Holder, NetworkRecord, SandboxGone, SandboxRecord, SandboxRequest
from darse.networks.pool import NetnsPool, Prepared
from darse.networks.publishing import Publishing
from darse.networks.store import NetworkStore
from darse.plugins import PluginError
from darse.wire.networks import EndpointSettings

_log = logging.getLogger(__name__)
#: The interface that prepared namespaces have.
PREPARED_INTERFACE = "eth0"


class Sandbox(msgspec.Struct):
    """A sandbox that a container is about to use. `path` names its namespace while the engine holds it."""

    record: SandboxRecord
    netns: Netns
    #: The sockets of its name server, when they were made with the namespace.
    name_server: list[socket.socket] = []

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
        """The container's addresses, those of the default route first."""
        return [str(address.ip) for endpoint in self.record.endpoints for address in endpoint.addresses()]


class Sandboxes:
    """Makes, changes and releases sandboxes."""

    def __init__(
        self,
        store: NetworkStore,
        drivers: Mapping[str, Driver],
        addresses: EndpointAddresses,
        publishing: Publishing,
        reaper: EndpointReaper,
        pool: NetnsPool,
        thread: NetnsThread,
        default_bridge: Callable[[], NetworkRecord | None],
        publish: Callable[[Endpoint, str, str], None],
    ) -> None:
        """`publish` records an event of an endpoint: its action and the container's id."""
        self._store = store
        self._drivers = drivers
        self._addresses = addresses
        self._publishing = publishing
        self._reaper = reaper
        self._pool = pool
        self._thread = thread
        self._default_bridge = default_bridge
        self._publish = publish
        self._held: dict[str, Netns] = {}
        #: The sandbox of each link.
        self.owners: dict[str, str] = {}

    def restore(self, sandbox: SandboxRecord) -> None:
        """Note what a running container has."""
        for endpoint in sandbox.endpoints:
            record = self._store.find(endpoint.network_id)
            if record is not None:
                self._addresses.restore(record, endpoint)
            self._own(endpoint, sandbox.sandbox_id)
        self._publishing.restore(sandbox)

    async def reconnect(self, sandbox: SandboxRecord) -> None:
        """Have a running container's links on their networks. Raises OSError and EngineError."""
        for endpoint in sandbox.endpoints:
            if endpoint.link:
                record = self._store.get(endpoint.network_id)
                await self._driver(record).reconnect(record, endpoint)

    def _driver(self, record: NetworkRecord) -> Driver:
        refuse_configuration(record)
        driver = self._drivers.get(record.driver)
        if driver is None:
            raise Conflict(f"network {record.name} needs the driver {record.driver}, which is not there")
        return driver

    def _own(self, endpoint: Endpoint, sandbox_id: str) -> None:
        if endpoint.link:
            self.owners[endpoint.link] = sandbox_id

    async def create(self, request: SandboxRequest) -> Sandbox:
        """Make a container's network stack. Its record is in memory then; the caller saves it.

        (Until that is done nothing needs undoing after a crash: the namespace and its links go with the engine, rules
        without a record when the next one starts, and what plugins have made is on record with the reaper.)
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
            endpoints=[_endpoint(record, settings) for record, settings in networks],
            wishes=request.wishes,
            hostname=request.hostname,
            links=request.links,
            dns=request.dns,
        )
        drivers = [self._driver(record) for record, _ in networks]
        name_interfaces([one for one, driver in zip(sandbox.endpoints, drivers, strict=True) if driver.addressed])
        self._store.reserve(sandbox)
        prepared: Prepared | None = None
        try:
            for number, (record, settings) in enumerate(networks):
                mac = settings.MacAddress or (request.mac if number == 0 else "")
                await self._lease(record, sandbox.endpoints[number], settings, mac)
            await self._publishing.publish(sandbox)
            prepared = await self._namespace(networks[0][0] if networks else None, sandbox, request.owner)
            await self._connect_all(sandbox, [record for record, _ in networks], prepared)
            await self._publishing.settle()
        except BaseException as error:
            if prepared is not None:
                prepared.close()
            self.abandon(sandbox)
            if isinstance(error, OSError):
                raise SystemFault(f"cannot make the container's network: {reason(error)}") from error
            raise
        self._held[sandbox.sandbox_id] = prepared.netns
        for endpoint in sandbox.endpoints:
            self._own(endpoint, sandbox.sandbox_id)
        return Sandbox(sandbox, prepared.netns, prepared.name_server)

    async def _lease(self, record: NetworkRecord, endpoint: Endpoint, settings: EndpointSettings, mac: str) -> None:
        """Give an endpoint its addresses; see `EndpointAddresses.lease`."""
        own = self._driver(record).hardware_addresses
        if mac and not own:
            raise InvalidParameter(f"{record.driver} interfaces do not support custom mac address assignment")
        self._reaper.expect(endpoint)
        await self._addresses.lease(record, endpoint, settings, mac)
        if not own:
            endpoint.mac = ""
        self._reaper.expect(endpoint)  # with its addresses

    async def _namespace(self, first: NetworkRecord | None, sandbox: SandboxRecord, owner: Owner | None) -> Prepared:
        default = self._default_bridge()
        if first is not None and default is not None and first.id == default.id:
            if sandbox.endpoints[0].interface == PREPARED_INTERFACE:
                return await self._pool.on_default_bridge(owner)
        elif has_name_server(sandbox):
            return await self._pool.with_name_server(owner)
        return await self._pool.bare(owner)

    async def _connect_all(self, sandbox: SandboxRecord, records: list[NetworkRecord], prepared: Prepared) -> None:
        for number, (record, endpoint) in enumerate(zip(records, sandbox.endpoints, strict=True)):
            if number == 0 and prepared.link:
                endpoint.link = prepared.link
            else:
                await self._join(record, endpoint, prepared.netns)
        leading = {version: gateway_endpoint(sandbox.endpoints, version) for version in VERSIONS}
        for record, endpoint in zip(records, sandbox.endpoints, strict=True):
            if endpoint.interface:
                leads = [version for version, one in leading.items() if one is endpoint]
                # What was prepared some time ago may be off its bridge, which was deleted since.
                link = endpoint.link if endpoint.link == prepared.link else ""
                first = functools.partial(self._pool.plug_again, link) if link else None
                await configure(self._thread, prepared.netns, endpoint, leads, first)
                if leads:
                    await self._driver(record).program_external_connectivity(record, endpoint, sandbox.wishes)

    async def _join(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> None:
        """Begin an endpoint that has its addresses, and give the namespace its interface."""
        driver = self._driver(record)
        begun = await driver.create_endpoint(record, endpoint)
        endpoint.link = begun.link
        endpoint.mac = begun.mac or endpoint.mac
        if begun.address:
            endpoint.address, _, prefix = begun.address.partition("/")
            endpoint.prefix = int(prefix)
        if begun.address6:
            endpoint.address6, _, prefix = begun.address6.partition("/")
            endpoint.prefix6 = int(prefix)
        joined = await driver.join(record, endpoint, netns)
        _use(endpoint, joined)

    def saved(self, sandbox: SandboxRecord) -> None:
        """A new sandbox has a row, by the transaction that is open."""
        for endpoint in sandbox.endpoints:
            self._reaper.settled(endpoint)

    def started(self, container_id: str) -> None:
        """The container's process holds the namespace now."""
        sandbox = self._store.sandbox_of(container_id)
        if sandbox is not None:
            self._let_go(sandbox.sandbox_id)

    def _let_go(self, sandbox_id: str) -> None:
        netns = self._held.pop(sandbox_id, None)
        if netns is not None:
            netns.close()

    def release_sandbox(self, container_id: str) -> SandboxRecord | None:
        """Give back what a container's network stack holds; fine when there is none. Call it in a transaction."""
        self.started(container_id)
        sandbox = self._store.delete_sandbox(container_id, self._release_resources)
        if sandbox is not None:
            for endpoint in sandbox.endpoints:
                self._reaper.record(endpoint)
        return sandbox

    def abandon(self, sandbox: SandboxRecord) -> None:
        """Give back what a network stack holds that was made, and never saved."""
        self._let_go(sandbox.sandbox_id)
        self._store.unreserve(sandbox)
        self._release_resources(sandbox)
        for endpoint in sandbox.endpoints:
            self._reaper.record(endpoint)

    def _release_resources(self, sandbox: SandboxRecord) -> None:
        self._publishing.unpublish(sandbox)
        for endpoint in sandbox.endpoints:
            record = self._store.find(endpoint.network_id)
            if record is not None and not self._reaper.reaps(record):
                self._addresses.release_now(record, endpoint)
            self.owners.pop(endpoint.link, None)

    async def join(
        self, container_id: str, holder: Holder, record: NetworkRecord, settings: EndpointSettings
    ) -> Endpoint:
        """Connect a running container to another network.

        Raises Forbidden when it is connected already, and SandboxGone when its process has ended.
        """
        sandbox = self._store.sandbox_of(container_id)
        if sandbox is None or sandbox.container_id != container_id:
            raise Conflict(f"container {container_id[:12]} has no network stack of its own to connect")
        if any(endpoint.network_id == record.id for endpoint in sandbox.endpoints):
            raise Forbidden(f"endpoint with name {sandbox.container_name} already exists in network {record.name}")
        endpoint = _endpoint(record, settings)
        try:
            await self._lease(record, endpoint, settings, settings.MacAddress)
            netns, taken = await self._thread.open(lambda: self.enter(container_id, holder), interface_names)
            try:
                await self._plug(netns, taken, record, endpoint, sandbox)
                await self._add(sandbox.sandbox_id, endpoint)
                await self._hand_over(sandbox.endpoints, [*sandbox.endpoints, endpoint], sandbox)
            except BaseException:
                await self._take_back(sandbox.sandbox_id, endpoint)
                with contextlib.suppress(EngineError, OSError):  # what led here is reported
                    await self._driver(record).leave(record, endpoint, netns)
                raise
            finally:
                netns.close()
        except BaseException as error:
            await self._end(record, endpoint)
            if isinstance(error, OSError):
                raise SystemFault(f"cannot connect the container to network {record.name}: {reason(error)}") from error
            raise
        return endpoint

    async def _hand_over(self, before: list[Endpoint], after: list[Endpoint], sandbox: SandboxRecord) -> None:
        """Have drivers hear which endpoints lead out no more, and which do now of those that were there before."""
        led, leads = leading_ids(before), leading_ids(after)
        for endpoint in before:
            record = self._store.find(endpoint.network_id)
            driver = self._drivers.get(record.driver) if record is not None else None
            if record is None or driver is None:
                continue
            if endpoint.endpoint_id in led - leads:
                await driver.revoke_external_connectivity(record, endpoint)
            elif endpoint.endpoint_id in leads - led:
                await driver.program_external_connectivity(record, endpoint, sandbox.wishes)

    async def _add(self, sandbox_id: str, endpoint: Endpoint) -> None:
        # Read again: it may have joined or left others meanwhile, or have ended.
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox is None:
            raise Conflict("the container has ended meanwhile")
        connect, disconnect = self._events(endpoint, sandbox.container_id)
        joined = msgspec.structs.replace(sandbox, endpoints=[*sandbox.endpoints, endpoint])
        await self._publishing.follow(joined, connect, disconnect)
        if sandbox_id in self._store.sandboxes:  # or it has ended meanwhile, with this endpoint
            self._reaper.settled(endpoint)
            self._own(endpoint, sandbox_id)

    def _events(self, endpoint: Endpoint, container_id: str) -> tuple[Callable[[], None], Callable[[], None]]:
        """What records that an endpoint is connected, and that it is disconnected."""
        connect, disconnect = (
            functools.partial(self._publish, endpoint, action, container_id) for action in ("connect", "disconnect")
        )
        return connect, disconnect

    async def _take_back(self, sandbox_id: str, endpoint: Endpoint) -> None:
        """Undo `_add`: others may get the endpoint's addresses. Ports lead where they led, or nowhere."""
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox is None or endpoint not in sandbox.endpoints:
            return
        self.owners.pop(endpoint.link, None)
        rest = [one for one in sandbox.endpoints if one != endpoint]
        connect, disconnect = self._events(endpoint, sandbox.container_id)
        try:
            await self._publishing.follow(msgspec.structs.replace(sandbox, endpoints=rest), disconnect, connect)
        except (EngineError, OSError):  # what led here is reported
            if (found := self._store.sandboxes.get(sandbox_id)) is not None:
                self._store.save_sandbox(msgspec.structs.replace(found, endpoints=rest), disconnect)

    async def _end(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """Undo what `_endpoint` and `_join` have begun."""
        # What led here is reported; what fails besides is for who looks closer.
        try:
            await self._driver(record).delete_endpoint(record, endpoint)
        except (EngineError, OSError) as error:
            _log.debug("network %s: endpoint %s is not deleted: %s", record.name, endpoint.endpoint_id[:12], error)
        try:
            await self._addresses.release(record, endpoint)
        except EngineError as error:
            _log.debug("network %s: %s is not released: %s", record.name, endpoint.address, error)
        self._reaper.settled(endpoint)

    def enter(self, container_id: str, holder: Holder) -> Netns:
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

    async def _plug(
        self, netns: Netns, taken: set[str], record: NetworkRecord, endpoint: Endpoint, sandbox: SandboxRecord
    ) -> None:
        """Give a running container an interface for an endpoint: of the name that it had, or the first free one."""
        endpoint.interface = free_name(endpoint.interface or interface_name(endpoint.options), taken)
        await self._join(record, endpoint, netns)
        # In the place that it had: among equals the first leads out.
        endpoints = [endpoint if one.endpoint_id == endpoint.endpoint_id else one for one in sandbox.endpoints]
        if endpoint not in endpoints:
            endpoints.append(endpoint)
        leads = [version for version in VERSIONS if gateway_endpoint(endpoints, version) is endpoint]
        await configure(self._thread, netns, endpoint, leads)
        if leads:
            await self._driver(record).program_external_connectivity(record, endpoint, sandbox.wishes)

    async def replug(self, sandbox_id: str, holder: Holder, record: NetworkRecord, lost: Endpoint) -> None:
        """Make the link of a running container's endpoint anew, with the same addresses, as somebody has deleted it.

        Raises SandboxGone when the container ends or leaves the network meanwhile, SystemFault and OSError.
        """
        self.owners.pop(lost.link, None)
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox is None:
            raise SandboxGone("the container has ended")
        netns, taken = await self._thread.open(lambda: self.enter(sandbox.container_id, holder), interface_names)
        endpoint = msgspec.structs.replace(lost, link="")
        try:
            await self._plug(netns, taken, record, endpoint, sandbox)
            self._replace(sandbox_id, lost, endpoint)
        except BaseException:
            self.owners.pop(endpoint.link, None)
            await self._driver(record).leave(record, endpoint, netns)
            raise
        finally:
            netns.close()

    def _replace(self, sandbox_id: str, old: Endpoint, new: Endpoint) -> None:
        # Read again, as in `_add`.
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox is None or old not in sandbox.endpoints:
            raise SandboxGone(f"the container has ended, or left network {old.network_name}, meanwhile")
        endpoints = [new if one == old else one for one in sandbox.endpoints]
        self._store.save_sandbox(msgspec.structs.replace(sandbox, endpoints=endpoints))
        self._own(new, sandbox_id)

    async def leave(self, container_id: str, holder: Holder | None, record: NetworkRecord) -> Endpoint:
        """Disconnect a running container from a network; what led out through it takes another way, if there is one.

        Raises NotFound when it is not connected.
        """
        sandbox = self._store.sandbox_of(container_id)
        endpoints = sandbox.endpoints if sandbox is not None else []
        endpoint = next((one for one in endpoints if one.network_id == record.id), None)
        if sandbox is None or endpoint is None:
            raise NotFound(f"container {container_id[:12]} is not connected to the network {record.name}")
        sandbox = msgspec.structs.replace(sandbox, endpoints=[one for one in endpoints if one is not endpoint])
        self._reaper.expect(endpoint)
        connect, disconnect = self._events(endpoint, container_id)
        await self._publishing.follow(sandbox, disconnect, connect)
        self.owners.pop(endpoint.link, None)
        netns, failure = None, None
        with contextlib.suppress(SandboxGone):  # the kernel takes its interfaces
            if holder is not None:
                # Before the link goes, so that there is a way out all the time.
                lead = functools.partial(lead_out, sandbox.endpoints)
                netns, failure = await self._thread.open(lambda: self.enter(container_id, holder), lead)
        try:
            await self._part(record, endpoint, netns, sandbox, endpoints)
            if failure is not None:
                raise failure
        finally:
            if netns is not None:
                netns.close()
            with _reporting(record):
                await self._addresses.release(record, endpoint)
        self._reaper.settled(endpoint)
        return endpoint

    async def _part(
        self,
        record: NetworkRecord,
        endpoint: Endpoint,
        netns: Netns | None,
        sandbox: SandboxRecord,
        before: list[Endpoint],
    ) -> None:
        """Have the driver end an endpoint. A plugin that fails is reported: for the engine the endpoint has ended."""
        driver = self._driver(record)
        with _reporting(record):
            await self._hand_over(before, sandbox.endpoints, sandbox)
        with _reporting(record):
            await driver.leave(record, endpoint, netns)
        with _reporting(record):
            await driver.delete_endpoint(record, endpoint)

    def close(self) -> None:
        """Let go of every namespace."""
        for sandbox_id in list(self._held):
            self._let_go(sandbox_id)


@contextlib.contextmanager
def _reporting(record: NetworkRecord) -> Iterator[None]:
    """Have what a plugin fails by in the log, and go on."""
    try:
        yield
    except (PluginError, NotFound) as error:
        _log.warning("network %s: %s", record.name, error)


def _endpoint(record: NetworkRecord, settings: EndpointSettings) -> Endpoint:
    """An endpoint that has nothing yet."""
    return Endpoint(
        network_id=record.id,
        network_name=record.name,
        endpoint_id=new_id(),
        priority=settings.GwPriority,
        options=dict(settings.DriverOpts or {}),
        aliases=list(settings.Aliases or ()),
        links=endpoint_links(settings),
    )


def _use(endpoint: Endpoint, joined: JoinResult) -> None:
    """Have an endpoint as its driver wants it used."""
    endpoint.link = joined.link or endpoint.link
    endpoint.interface = joined.interface or endpoint.interface
    if joined.gateway is not None:
        endpoint.gateway = joined.gateway
    if joined.gateway6 is not None:
        endpoint.gateway6 = joined.gateway6
    endpoint.routes = list(joined.routes)
    endpoint.routed_by_link = joined.routed_by_link
