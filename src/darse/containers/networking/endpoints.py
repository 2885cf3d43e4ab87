"""A container's endpoints: the networks that it is connected to, and what is shown of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container, Status
from darse.containers.networking.etc_files import EtcFiles
from darse.core.errors import Conflict, EngineError, InvalidParameter, NotFound
from darse.networks.model import Holder, NetworkRecord, SandboxGone
from darse.wire.containers import NetworkSettings
from darse.wire.networks import EndpointSettings


class Endpoints:
    """Connects containers to networks, and disconnects them."""

    def __init__(self, dependencies: Dependencies, etc_files: EtcFiles) -> None:
        self._dependencies = dependencies
        self._etc_files = etc_files

    def settings(self, container: Container) -> NetworkSettings:
        """What an inspect shows of a container's networks."""
        record = container.record
        sandbox = self._dependencies.networks.sandbox(container.id)
        if sandbox is not None and sandbox.container_id != container.id:
            sandbox = None  # it has joined another's: as docker has it, that one shows it
        settings = NetworkSettings()
        configured = record.endpoints or (
            {record.host.NetworkMode: EndpointSettings()} if record.host.NetworkMode in ("host", "none") else {}
        )
        for name, requested in configured.items():
            network = self._dependencies.networks.store.by_name(name)
            settings.Networks[name] = msgspec.structs.replace(requested, NetworkID=network.id if network else "")
        if sandbox is None or not container.state.alive:
            return settings
        settings.SandboxID = sandbox.sandbox_id
        settings.SandboxKey = f"/proc/{container.state.pid}/ns/net"
        settings.Ports = sandbox.ports
        for endpoint in sandbox.endpoints:
            requested = settings.Networks.get(endpoint.network_name, EndpointSettings())
            settings.Networks[endpoint.network_name] = msgspec.structs.replace(
                requested,
                NetworkID=endpoint.network_id,
                EndpointID=endpoint.endpoint_id,
                Gateway=endpoint.gateway,
                IPAddress=endpoint.address,
                IPPrefixLen=endpoint.prefix,
                IPv6Gateway=endpoint.gateway6,
                GlobalIPv6Address=endpoint.address6,
                GlobalIPv6PrefixLen=endpoint.prefix6,
                MacAddress=endpoint.mac,
            )
        return settings

    async def connect(self, network: str, container: Container, settings: EndpointSettings) -> None:
        """Connect a container to a network, now or from its next start.

        Raises NotFound, also when the container is removed meanwhile, Conflict, and what the network's driver raises.
        """
        while True:
            async with self._dependencies.locks.hold(container.id):
                if container.state.status is Status.REMOVING:
                    raise NotFound(f"No such container: {container.id}")
                with contextlib.suppress(SandboxGone):
                    await self._connect(network, container, settings)
                    return
            # The engine is about to learn of the end of its process: then it is connected from its next start.
            await container.wait_until_exited()

    async def _connect(self, network: str, container: Container, settings: EndpointSettings) -> None:
        networks = self._dependencies.networks
        record = networks.store.get(network)
        mode = container.record.host.NetworkMode
        if networks.network_mode(record) or mode == "host":
            fixed = mode if mode == "host" else record.name
            raise Conflict(f"container cannot be disconnected from or connected to the {fixed} network")
        if mode == "none":
            raise InvalidParameter(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            )
        if mode.startswith("container:"):
            raise InvalidParameter(
                "container sharing network namespace with another container or host cannot be connected to any other "
                "network"
            )
        if record.name in container.record.endpoints:
            raise Conflict(f"endpoint with name {container.name} already exists in network {record.name}")
        networks.check({record.name: settings})
        if container.state.alive:
            endpoint = await networks.connect(record.id, container.id, holder(container), settings)
            await self._etc_files.connected(container, endpoint)
        try:
            self._save(container, {**container.record.endpoints, record.name: settings})
        except EngineError:
            if container.state.alive:
                endpoint = await networks.disconnect(record.id, container.id, holder(container))
                await self._etc_files.disconnected(container, endpoint)
            raise

    async def disconnect(self, network: str, container: Container | None, *, force: bool = False) -> None:
        """Disconnect a container from a network; with `force` also from one that was removed.

        Raises NotFound, and Conflict when it is not connected.
        """
        record = self._dependencies.networks.store.find_reference(network)
        if record is None and not (force and container is not None and network in container.record.endpoints):
            raise NotFound(f"network {network} not found")
        if container is None:
            return
        async with self._dependencies.locks.hold(container.id):
            if container.state.status is Status.REMOVING:
                raise NotFound(f"No such container: {container.id}")
            if record is None:
                self._save(container, _without(container.record.endpoints, network))
            else:
                await self._disconnect(record, container)

    async def recover(self, containers: Iterable[Container]) -> None:
        """Disconnect running containers from what their records do not name: a connect or disconnect was cut short.

        A connect changes the network stack first, a disconnect the record.
        """
        networks = self._dependencies.networks
        for container in containers:
            sandbox = networks.sandbox(container.id) if container.state.alive else None
            for endpoint in list(sandbox.endpoints) if sandbox is not None else ():
                if endpoint.network_name not in container.record.endpoints:
                    await networks.disconnect(endpoint.network_id, container.id, holder(container))

    async def _disconnect(self, record: NetworkRecord, container: Container) -> None:
        if record.name not in container.record.endpoints:
            raise Conflict(f"container {container.id} is not connected to network {record.name}")
        before = container.record.endpoints
        self._save(container, _without(before, record.name))
        try:
            if container.state.alive:
                endpoint = await self._dependencies.networks.disconnect(record.id, container.id, holder(container))
                await self._etc_files.disconnected(container, endpoint)
        except BaseException:
            self._save(container, before)
            raise

    def _save(self, container: Container, endpoints: dict[str, EndpointSettings]) -> None:
        self._dependencies.store.save_record(container, msgspec.structs.replace(container.record, endpoints=endpoints))


def _without(endpoints: dict[str, EndpointSettings], network: str) -> dict[str, EndpointSettings]:
    return {name: settings for name, settings in endpoints.items() if name != network}


def holder(container: Container) -> Holder:
    """Who holds the network stack of a container that runs."""
    return Holder(container.state.pid, container.state.monitor_pid)
