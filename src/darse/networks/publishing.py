"""Which ports of the host lead to a sandbox: those of its wishes, to the endpoint that leads out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from darse.core.errors import SystemFault
from darse.networks.drivers import Driver
from darse.networks.interfaces import gateway_endpoint
from darse.networks.model import Endpoint, NetworkRecord, PublishedPort, SandboxRecord
from darse.networks.port_mapper import PortMapper
from darse.networks.store import NetworkStore
from darse.wire.host_config import PortMap


class Publishing:
    """Publishes, moves and withdraws the ports of sandboxes."""

    def __init__(self, store: NetworkStore, drivers: Mapping[str, Driver], mapper: PortMapper) -> None:
        self._store = store
        self._drivers = drivers
        self._mapper = mapper

    def restore(self, sandbox: SandboxRecord) -> None:
        """Note the ports of a running container."""
        self._mapper.restore(sandbox.published)

    def _leading(self, sandbox: SandboxRecord) -> tuple[Endpoint, NetworkRecord] | None:
        """The endpoint that ports lead to, and its network: the way out, where its driver publishes."""
        endpoint = gateway_endpoint(sandbox.endpoints, 4)
        record = self._store.find(endpoint.network_id) if endpoint is not None else None
        if endpoint is None or record is None:
            return None
        driver = self._drivers.get(record.driver)
        return (endpoint, record) if driver is not None and driver.publishes else None

    async def publish(self, sandbox: SandboxRecord) -> None:
        """Publish a new sandbox's ports, on its record. Raises SystemFault in docker's words, and Conflict."""
        leading = self._leading(sandbox)
        if leading is not None:
            sandbox.published, sandbox.ports = self._publish(sandbox, *leading)

    def _publish(
        self, sandbox: SandboxRecord, endpoint: Endpoint, record: NetworkRecord
    ) -> tuple[list[PublishedPort], PortMap]:
        try:
            return self._mapper.publish(sandbox.wishes, record, endpoint.address)
        except SystemFault as error:
            raise SystemFault(
                "failed to set up container networking: driver failed programming external connectivity on "
                f"endpoint {sandbox.container_name} ({endpoint.endpoint_id}): {error}"
            ) from error

    def follow(self, sandbox: SandboxRecord) -> None:
        """Save a sandbox whose endpoints have changed; its ports on the host follow the endpoint that leads out now.

        Raises SystemFault and Conflict when they cannot, as the container had none so far.
        """
        leading, before = self._leading(sandbox), sandbox.published
        if leading is None:
            ports: PortMap = dict.fromkeys(sandbox.ports)
            self._store.save_sandbox(msgspec.structs.replace(sandbox, published=[], ports=ports))
            self._mapper.withdraw(before)
        elif not before:
            published, ports = self._publish(sandbox, *leading)
            try:
                self._store.save_sandbox(msgspec.structs.replace(sandbox, published=published, ports=ports))
            except BaseException:
                self._mapper.withdraw(published)
                raise
        else:
            moved = [msgspec.structs.replace(port, container_ip=leading[0].address) for port in before]
            self._store.save_sandbox(msgspec.structs.replace(sandbox, published=moved))
            if moved != before:
                self._mapper.move(before, moved)

    def unpublish(self, sandbox: SandboxRecord) -> None:
        """Withdraw the ports of a sandbox, whose record is gone."""
        self._mapper.withdraw(sandbox.published)

    async def settle(self) -> None:
        """Wait until no flow follows any more what was published before."""
        await self._mapper.settle()
