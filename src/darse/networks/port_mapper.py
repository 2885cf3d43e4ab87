"""Publishing: the ports of a container become ports of the host, in the firewall's maps, and cease to be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from darse.core import executors
from darse.core.config import EngineConfig
from darse.core.errors import Conflict
from darse.linux.net.conntrack import Conntrack, Flow
from darse.linux.net.nft import NftError
from darse.networks import options
from darse.networks.firewall import ANY, Firewall
from darse.networks.model import NetworkRecord, PortWishes, PublishedPort, SandboxRecord
from darse.networks.ports import PortAllocator
from darse.wire.host_config import PortMap

_log = logging.getLogger(__name__)


class PortMapper:
    """The host's ports, the maps that lead from them, and the flows that still follow what maps said before.

    `rebuild` makes the firewall's table anew from the records, for when somebody else has changed it
    (`nft flush ruleset`, a restarted firewall service).
    """

    def __init__(
        self,
        config: EngineConfig,
        firewall: Firewall | None,
        rebuild: Callable[[], None],
        sandboxes: Mapping[str, SandboxRecord],
    ) -> None:
        self._firewall = firewall
        self._rebuild = rebuild
        self._sandboxes = sandboxes
        self._ports = PortAllocator(config.ip, config.instance, self._owner)
        self._conntrack: Conntrack | None = None
        self._forgetting: asyncio.Task[None] | None = None

    def _owner(self, protocol: str, host_ip: str, number: int) -> str:
        """The name of the container that has a port of the host; of several, on different addresses, one."""
        for sandbox in self._sandboxes.values():
            for port in sandbox.published:
                if (port.protocol, port.host_port) == (protocol, number) and (
                    port.host_ip == host_ip or port.host_ip in ANY or host_ip in ANY
                ):
                    return sandbox.container_name
        return ""

    def restore(self, ports: Iterable[PublishedPort]) -> None:
        """Note the ports of a running container."""
        for port in ports:
            self._ports.restore(port)

    def publish(
        self, wishes: PortWishes, record: NetworkRecord, container_ip: str
    ) -> tuple[list[PublishedPort], PortMap]:
        """Publish a container's ports; return them, and the port map that inspect shows.

        Raises SystemFault in docker's words when a port is taken, and Conflict without a firewall; then none is.
        """
        published, shown = self._ports.allocate(
            wishes.ports,
            wishes.exposed,
            container_ip,
            publish_all=wishes.publish_all,
            default_ip=options.host_address(record),
        )
        if not published:
            return published, shown
        try:
            self._lead(published)
        except BaseException:
            self._release(published)
            raise
        numbers = {port.host_port for port in published if port.protocol == "udp"}
        if numbers:
            self._forget(lambda flow: flow.port in numbers, f"--orig-port-dst {min(numbers)}")
        return published, shown

    def _lead(self, ports: list[PublishedPort]) -> None:
        if self._firewall is None:
            raise Conflict("publishing ports needs the firewall, which is switched off (--iptables=false)")
        try:
            self._firewall.publish(ports)
        except NftError as error:
            _log.warning("the firewall's table is not as it was left, making it anew: %s", error)
            self._rebuild()
            self._firewall.publish(ports)

    def move(self, old: list[PublishedPort], new: list[PublishedPort]) -> None:
        """Lead the ports `old` to another address of their container. Its record is to have `new` already."""
        if self._firewall is not None:
            try:
                self._firewall.move(old, new)
            except NftError as error:
                self._make_anew(error)
        addresses = {port.container_ip for port in old if port.protocol == "udp"}
        if addresses:
            self._forget(lambda flow: flow.answered_by in addresses, f"--reply-src {min(addresses)}")

    def _make_anew(self, error: NftError) -> None:
        _log.warning("the firewall's table is not as it was left, making it anew: %s", error)
        try:
            self._rebuild()
        except NftError:
            _log.exception("cannot make the firewall's table anew")

    def forget_untranslated(self, ports: Iterable[PublishedPort]) -> None:
        """Let UDP clients that sent to these ports while the firewall's table was gone find the containers again."""
        wanted = {port.host_port: port.container_ip for port in ports if port.protocol == "udp"}
        if wanted:
            self._forget(
                lambda flow: flow.answered_by != wanted.get(flow.port, flow.answered_by),
                f"--orig-port-dst {min(wanted)}",
            )

    def withdraw(self, ports: list[PublishedPort]) -> None:
        """Undo `publish`. The container's record is not to have the ports any more."""
        if not ports:
            return
        if self._firewall is not None:
            try:
                self._firewall.withdraw(ports)
            except NftError as error:
                self._make_anew(error)
        self._release(ports)
        addresses = {port.container_ip for port in ports if port.protocol == "udp"}
        if addresses:
            self._forget(lambda flow: flow.answered_by in addresses, f"--reply-src {min(addresses)}")

    def _release(self, ports: Iterable[PublishedPort]) -> None:
        for port in ports:
            self._ports.release(port)

    def _forget(self, wanted: Callable[[Flow], bool], summary: str) -> None:
        """Begin to forget flows; `settle` waits for the end. The kernel's table may have a million of them."""
        self._forgetting = asyncio.create_task(self._forget_after(self._forgetting, wanted, summary))

    async def _forget_after(
        self, before: asyncio.Task[None] | None, wanted: Callable[[Flow], bool], summary: str
    ) -> None:
        if before is not None:
            await before
        await executors.kernel.run(self._forget_flows, wanted, summary)

    async def settle(self) -> None:
        """Wait until no flow follows any more what the maps said before."""
        while self._forgetting is not None and not self._forgetting.done():
            await asyncio.shield(self._forgetting)

    def _forget_flows(self, wanted: Callable[[Flow], bool], summary: str) -> None:
        try:
            if self._conntrack is None:
                self._conntrack = Conntrack()
            self._conntrack.forget_udp(wanted, summary)
        except OSError as error:
            _log.warning(
                "old UDP flows may go on to where they went, the kernel does not let them be forgotten: %s", error
            )

    async def close(self) -> None:
        """Let go of the kernel; what is published stays so."""
        await self.settle()
        self._ports.close()
        if self._conntrack is not None:
            self._conntrack.close()
