"""Which ports of the host lead to a sandbox: those of its wishes, to the endpoint that leads out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from darse.core.errors import SystemFault
from darse.networks import options
from darse.networks.drivers import Driver
from darse.networks.interfaces import VERSIONS, gateway_endpoint
from darse.networks.model import Endpoint, NetworkRecord, PublishedPort, SandboxRecord
from darse.networks.port_mapper import PortMapper
from darse.networks.store import NetworkStore
from darse.wire.host_config import PortMap


class _Leading(NamedTuple):
    """Where ports of the host lead to, of a family."""

    endpoint: Endpoint
    record: NetworkRecord
    address: str


class Publishing:
    """Publishes, moves and withdraws the ports of sandboxes."""

    def __init__(self, store: NetworkStore, drivers: Mapping[str, Driver], mapper: PortMapper) -> None:
        self._store = store
        self._drivers = drivers
        self._mapper = mapper

    def restore(self, sandbox: SandboxRecord) -> None:
        """Note the ports of a running container."""
        self._mapper.restore(sandbox.published)

    def _leading(self, sandbox: SandboxRecord) -> dict[int, _Leading]:
        """What ports lead to, for each family: the default gateway's endpoint, where its driver publishes."""
        found = {}
        for version in VERSIONS:
            endpoint = gateway_endpoint(sandbox.endpoints, version)
            record = self._store.find(endpoint.network_id) if endpoint is not None else None
            driver = self._drivers.get(record.driver) if record is not None else None
            if endpoint is not None and record is not None and driver is not None and driver.publishes:
                address = endpoint.address6 if version == 6 else endpoint.address
                found[version] = _Leading(endpoint, record, address)
        return found

    async def publish(self, sandbox: SandboxRecord) -> None:
        """Publish a new sandbox's ports, on its record. Raises SystemFault in docker's words, and Conflict.

        Whatever is raised, the record has those that are taken.
        """
        leading = self._leading(sandbox)
        if leading:
            with _naming(sandbox, leading):
                sandbox.published, sandbox.ports = await self._mapper.allocate(sandbox.wishes, *_where(leading))
                await self._mapper.lead(sandbox, sandbox.published)

    async def follow(self, sandbox: SandboxRecord, event: Callable[[], object], opposite: Callable[[], object]) -> None:
        """Save a sandbox whose endpoints have changed; its ports on the host follow the endpoints that lead out now.

        `event` is published in the transaction of that. Raises SystemFault and Conflict when the ports cannot follow,
        as the container had none so far, or of one family only: then it has the endpoints that it had, and `opposite`
        is published.
        """
        leading, before = self._leading(sandbox), sandbox.published
        if before and leading and self._can_move(before, leading):
            moved = [msgspec.structs.replace(port, container_ip=leading[port.version].address) for port in before]
            self._store.save_sandbox(msgspec.structs.replace(sandbox, published=moved), event)
            if moved != before:
                await self._mapper.move(sandbox, before, moved)
            return
        had = self._store.sandboxes[sandbox.sandbox_id]
        bare: PortMap = dict.fromkeys(sandbox.ports)
        self._store.save_sandbox(msgspec.structs.replace(sandbox, published=[], ports=bare), event)
        if before:
            await self._mapper.unmap_ports(before)
        if leading:
            try:
                with _naming(sandbox, leading):
                    await self._publish_again(sandbox, leading)
            except BaseException:
                self._change(sandbox.sandbox_id, opposite, endpoints=had.endpoints, published=[], ports=bare)
                raise

    async def _publish_again(self, sandbox: SandboxRecord, leading: dict[int, _Leading]) -> None:
        """Publish the ports of a sandbox that has none. Raises as `publish` does; then it has none."""
        published, ports = await self._mapper.allocate(sandbox.wishes, *_where(leading))
        if not published and not any(ports.values()):
            return
        if not self._change(sandbox.sandbox_id, published=published, ports=ports):
            await self._mapper.unmap_ports(published)
            return
        try:
            await self._mapper.lead(sandbox, published)
        except BaseException:
            if self._change(sandbox.sandbox_id, published=[], ports=dict.fromkeys(ports)):
                await self._mapper.unmap_ports(published)
            raise

    def _change(self, sandbox_id: str, event: Callable[[], object] = lambda: None, **members: Any) -> bool:
        """Change a sandbox's record as it is now, and publish `event`; False when the container has ended."""
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox is None:
            return False
        self._store.save_sandbox(msgspec.structs.replace(sandbox, **members), event)
        return True

    @staticmethod
    def _can_move(before: list[PublishedPort], leading: dict[int, _Leading]) -> bool:
        """Whether the same ports of the host can lead to the new endpoints: of the same families, and gateway modes."""
        if {port.version for port in before} != set(leading):
            return False
        for version, one in leading.items():
            plain = options.gateway_mode(one.record, version) in (options.NAT, options.NAT_UNPROTECTED)
            if not plain or options.trusted_interfaces(one.record):
                return False
        return not any(port.direct for port in before)

    def unpublish(self, sandbox: SandboxRecord) -> None:
        """Withdraw the ports of a sandbox, whose record is gone."""
        self._mapper.unmap_ended(sandbox.published)

    async def settle(self) -> None:
        """Wait until no flow follows any more what was published before."""
        await self._mapper.settle()


def _where(leading: dict[int, _Leading]) -> tuple[dict[int, NetworkRecord], dict[int, str]]:
    """The network that ports lead to, and the address there, for each family; empty for none."""
    records = {version: one.record for version, one in leading.items()}
    return records, {version: leading[version].address if version in leading else "" for version in VERSIONS}


@contextlib.contextmanager
def _naming(sandbox: SandboxRecord, leading: dict[int, _Leading]) -> Iterator[None]:
    """Have faults name the endpoint, in docker's words."""
    try:
        yield
    except SystemFault as error:
        endpoint = next(iter(leading.values())).endpoint
        raise SystemFault(
            "failed to set up container networking: driver failed programming external connectivity on "
            f"endpoint {sandbox.container_name} ({endpoint.endpoint_id}): {error}"
        ) from error
