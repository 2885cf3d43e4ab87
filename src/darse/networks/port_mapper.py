"""Publishing: ports of a container become ports of the host, by the firewall's maps or the relay, and cease to be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Coroutine, Generator, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from darse.core import executors
from darse.core.config import EngineConfig
from darse.core.cooperative import at_once, in_turns
from darse.core.errors import Conflict
from darse.core.tasks import begin_lasting
from darse.linux.net.conntrack import Conntrack, Flow
from darse.linux.net.nft import NftError
from darse.networks import options
from darse.networks.firewall import ANY, Firewall
from darse.networks.model import NetworkRecord, PortWishes, PublishedPort, SandboxRecord
from darse.networks.ports import PortAllocator, Target, requested_bindings, split_key
from darse.networks.relay.client import PortRelay
from darse.networks.relay.sockets import has_ipv6
from darse.wire.host_config import PortMap

# Ports that are led, or not any more, before it is the turn of others.
_PIECE = 250
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
        rebuild: Callable[[], Awaitable[None]],
        sandboxes: Mapping[str, SandboxRecord],
        pid_of: Callable[[str], int | None],
    ) -> None:
        self._config = config
        self._firewall = firewall
        self._rebuild = rebuild
        self._sandboxes = sandboxes
        self._ports = PortAllocator(config.ip, config.instance, self._owner, userland_proxy=config.userland_proxy)
        self.relay = PortRelay(config.exec_root / "relay", self._ports, pid_of)
        self._conntrack: Conntrack | None = None
        self._deleting: asyncio.Task[None] | None = None
        # Ports that are moved, or given back, and a table that is made anew for them.
        self._changing: set[asyncio.Task[None]] = set()
        self._making_anew: asyncio.Task[None] | None = None

    def _owner(self, protocol: str, host_ip: str, number: int) -> str:
        """The name of the container that has a port of the host; of several, on different addresses, one."""
        for sandbox in self._sandboxes.values():
            for port in sandbox.published:
                if (port.protocol, port.host_port) == (protocol, number) and (
                    port.host_ip == host_ip or port.host_ip in ANY or host_ip in ANY
                ):  # of both families: it is for the text of an error
                    return sandbox.container_name
        return ""

    def restore(self, ports: Iterable[PublishedPort]) -> None:
        """Note the ports of a running container."""
        for port in ports:
            if port.host_port:
                self._ports.restore(port)

    def start(self) -> None:
        """Have the relay that an earlier engine has left serve the ports of the containers that run, or a new one."""
        self.relay.start(
            (port, sandbox.container_id)
            for sandbox in self._sandboxes.values()
            for port in sandbox.published
            if port.relayed
        )

    def attached(self, sandbox: SandboxRecord, pid: int) -> None:
        """A container has a process now."""
        if any(port.relayed for port in sandbox.published):
            self.relay.attach(sandbox.container_id, pid)

    async def allocate(
        self, wishes: PortWishes, records: Mapping[int, NetworkRecord], target: Target
    ) -> tuple[list[PublishedPort], PortMap]:
        """Take the ports of the host that a container wants; return them, and the port map that inspect shows.

        `records` has the network that the container leads out by, and `target` its address there, for each family.
        Raises SystemFault in docker's words when a port is taken; then none is. Thousands hold up nobody else.
        """
        if self._changing:
            await asyncio.wait(self._changing)  # the container may have had them
        return await in_turns(self._allocate(wishes, records, target))

    async def lead(self, sandbox: SandboxRecord, ports: list[PublishedPort]) -> None:
        """Have ports lead to their container, on whose record they are: a table that is made anew meanwhile has them.

        Raises Conflict without a firewall, and when the container ends meanwhile; NftError.
        """
        if ports and self._firewall is None:
            raise Conflict("publishing ports needs the firewall, which is switched off (--iptables=false)")
        if ports and self._firewall is not None:
            try:
                await in_turns(self._translate(self._firewall, sandbox, ports))
            except NftError as error:
                _log.warning("the firewall's table is not as it was left, making it anew: %s", error)
                await self._rebuild()
            await self._firewall.settled()
            await in_turns(self._relay(sandbox, ports))
        translating = [port for port in ports if port.protocol == "udp" and not port.relayed]
        for version in (4, 6):
            numbers = {port.host_port for port in translating if port.version == version}
            if numbers:
                self._delete_flows(partial(_is_to, numbers), f"--orig-port-dst {min(numbers)}", version)

    def _translate(
        self, firewall: Firewall, sandbox: SandboxRecord, ports: list[PublishedPort]
    ) -> Generator[None, None, None]:
        """Yields after each piece."""
        for start in range(0, len(ports), _PIECE):
            self._check(sandbox, ports)
            firewall.publish(ports[start : start + _PIECE])
            yield

    def _relay(self, sandbox: SandboxRecord, ports: list[PublishedPort]) -> Generator[None, None, None]:
        """Yields after each piece."""
        relayed = [port for port in ports if port.relayed]
        for start in range(0, len(relayed), _PIECE):
            self._check(sandbox, ports)
            self.relay.add(sandbox.container_id, relayed[start : start + _PIECE])
            yield

    def _check(self, sandbox: SandboxRecord, ports: list[PublishedPort]) -> None:
        """Raise Conflict when ports are not on a sandbox's record any more: they may be others' by now."""
        found = self._sandboxes.get(sandbox.sandbox_id)
        if found is None or found.published is not ports:
            raise Conflict("the container has ended meanwhile")

    def _allocate(
        self, wishes: PortWishes, records: Mapping[int, NetworkRecord], target: Target
    ) -> Generator[None, None, tuple[list[PublishedPort], PortMap]]:
        translated, opened, default_ip = _by_mode(records, target)
        published: list[PublishedPort] = []
        if any(translated.values()):
            published, shown = yield from self._ports.allocate(
                wishes.ports,
                wishes.exposed,
                translated,
                publish_all=wishes.publish_all,
                default_ip=default_ip,
                relayed=self._relayed(records, target, translated),
            )
        else:
            _, shown = requested_bindings(wishes.ports, wishes.exposed, publish_all=wishes.publish_all)
        return [*_direct(published, opened), *_untranslated(shown, opened, translated)], shown

    def _relayed(self, records: Mapping[int, NetworkRecord], target: Target, translated: Target) -> str:
        """The address of a container without IPv6 that the host's IPv6 addresses lead to; empty for none.

        As in docker, with `userland-proxy` and where the network, if it had IPv6, would translate it.
        """
        if not self._config.userland_proxy or target[6] or not translated[4]:
            return ""
        if options.gateway_mode(records[4], 6) not in (options.NAT, options.NAT_UNPROTECTED) or not has_ipv6():
            return ""
        return translated[4]

    async def move(self, sandbox: SandboxRecord, old: list[PublishedPort], new: list[PublishedPort]) -> None:
        """Lead the ports `old` to another address of their container, whose record has `new` already."""
        await self._finish(self._move(sandbox, old, new), "ports that are moved")

    async def _move(self, sandbox: SandboxRecord, old: list[PublishedPort], new: list[PublishedPort]) -> None:
        try:
            await in_turns(self._relay(sandbox, new))
            if self._firewall is not None:
                await in_turns(self._move_in_turns(self._firewall, sandbox, old, new))
                await self._firewall.settled()
        except Conflict as error:
            _log.debug("ports are moved no further: %s", error)
        except NftError as error:
            await self._make_anew(error)
        self._delete_flows_answered_by(old)

    def _move_in_turns(
        self, firewall: Firewall, sandbox: SandboxRecord, old: list[PublishedPort], new: list[PublishedPort]
    ) -> Generator[None, None, None]:
        """Yields after each piece."""
        for start in range(0, len(new), _PIECE):
            self._check(sandbox, new)
            firewall.move(old[start : start + _PIECE], new[start : start + _PIECE])
            yield

    async def _finish(self, change: Coroutine[Any, Any, None], name: str) -> None:
        """Wait for a change, which goes on alone when this is cancelled."""
        task = asyncio.create_task(change, name=name)
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)
        await asyncio.shield(task)

    def _delete_flows_answered_by(self, ports: Iterable[PublishedPort]) -> None:
        """Have UDP clients that were led to these containers led anew."""
        for address in sorted({port.container_ip for port in ports if port.protocol == "udp"}):
            self._begin_deleting(partial(Conntrack.delete_udp_flows_answered_by, address=address))

    def _make_anew(self, error: NftError) -> asyncio.Task[None]:
        """Begin to make the table anew, unless that is under way; `settle` waits for it."""
        if self._making_anew is None or self._making_anew.done():
            _log.warning("the firewall's table is not as it was left, making it anew: %s", error)
            self._making_anew = begin_lasting(self._rebuild_or_report(), name="the table that is made anew")
        return self._making_anew

    async def _rebuild_or_report(self) -> None:
        try:
            await self._rebuild()
        except NftError:
            _log.exception("cannot make the firewall's table anew")

    def delete_untranslated_flows(self, ports: Iterable[PublishedPort]) -> None:
        """Let UDP clients that sent to these ports while the firewall's table was gone find the containers again."""
        published = list(ports)
        for version in (4, 6):
            targets = {
                port.host_port: port.container_ip
                for port in published
                if port.protocol == "udp" and port.version == version and not port.relayed
            }
            if targets:
                self._delete_flows(partial(_is_led_elsewhere, targets), f"--orig-port-dst {min(targets)}", version)

    async def unmap_ports(self, ports: list[PublishedPort]) -> None:
        """Give ports back. The container's record is not to have them any more."""
        await self._finish(in_turns(self._unmap(ports)), "ports that are given back")

    def unmap_ended(self, ports: list[PublishedPort]) -> None:
        """Give back the ports of a container that has ended. Thousands of them take some turns: see `settle`."""
        if len(ports) <= _PIECE:
            at_once(self._unmap(ports))
            return
        unmapping = begin_lasting(in_turns(self._unmap(ports)), name="ports that are given back")
        self._changing.add(unmapping)
        unmapping.add_done_callback(self._changing.discard)

    def _unmap(self, ports: list[PublishedPort]) -> Generator[None, None, None]:
        """Yields after each piece."""
        firewall = self._firewall
        for start in range(0, len(ports), _PIECE):
            piece = ports[start : start + _PIECE]
            if firewall is not None:
                try:
                    firewall.remove_ports(piece)
                except NftError as error:
                    self._make_anew(error)
                    firewall = None  # a new table has none of them
            self._release_ports(piece)
            yield
        self._delete_flows_answered_by(ports)

    def _release_ports(self, ports: list[PublishedPort]) -> None:
        for port in ports:
            if port.host_port:
                self._ports.release(port, serves=port.relayed and self.relay.serves(port))
        self.relay.drop(port for port in ports if port.relayed)

    def _delete_flows(self, matches: Callable[[Flow], bool], summary: str, version: int) -> None:
        self._begin_deleting(partial(Conntrack.delete_udp_flows, matches=matches, summary=summary, version=version))

    def _begin_deleting(self, delete: Callable[[Conntrack], int]) -> None:
        """Begin to delete flows; `settle` waits for the end. The kernel's table may have a million of them."""
        self._deleting = asyncio.create_task(self._delete_flows_after(self._deleting, delete))

    async def _delete_flows_after(self, before: asyncio.Task[None] | None, delete: Callable[[Conntrack], int]) -> None:
        if before is not None:
            await before
        await executors.kernel.run(self._delete_flows_now, delete)

    async def settle(self) -> None:
        """Wait until all ports are given back, and no flow follows any more what the maps said before."""
        while self._changing:
            await asyncio.wait(self._changing)
        if self._making_anew is not None:
            await asyncio.wait((self._making_anew,))
        if self._firewall is not None:
            await self._firewall.settled()
        while self._deleting is not None and not self._deleting.done():
            await asyncio.shield(self._deleting)

    async def released(self) -> None:
        """Wait until nothing leads any more to where ports led that were withdrawn, and nothing has them any more."""
        await self.settle()
        await self.relay.settled()

    def _delete_flows_now(self, delete: Callable[[Conntrack], int]) -> None:
        try:
            if self._conntrack is None:
                self._conntrack = Conntrack()
            delete(self._conntrack)
        except OSError as error:
            _log.warning(
                "old UDP flows may go on to where they went, the kernel does not let them be deleted: %s", error
            )

    async def close(self) -> None:
        """Let go of the kernel; what is published stays so."""
        await self.settle()
        await self.relay.close()
        self._ports.close()
        if self._conntrack is not None:
            self._conntrack.close()


def _is_to(ports: Container[int], flow: Flow) -> bool:
    return flow.port in ports


def _is_led_elsewhere(addresses: Mapping[int, str], flow: Flow) -> bool:
    """Whether a flow to one of these ports is answered by another address than that of the port."""
    return flow.answered_by != addresses.get(flow.port, flow.answered_by)


def _by_mode(records: Mapping[int, NetworkRecord], target: Target) -> tuple[dict[int, str], dict[int, str], str]:
    """By family: the container's address that ports of the host lead to, and that whose own ports are let in.

    And the host's address for ports that name none.
    """
    translated, opened, default_ip = {4: "", 6: ""}, {4: "", 6: ""}, ""
    for version, record in records.items():
        mode = options.gateway_mode(record, version)
        if mode in (options.NAT, options.NAT_UNPROTECTED):
            translated[version] = target[version]
            default_ip = default_ip or options.host_address(record)
        if mode == options.ROUTED or (mode == options.NAT and options.trusted_interfaces(record)):
            opened[version] = target[version]
    return translated, opened, default_ip


def _direct(ports: Iterable[PublishedPort], opened: Target) -> list[PublishedPort]:
    """These ports of the host, of which those whose containers' own ports are let in, too, are marked so once."""
    if not any(opened.values()):
        return list(ports)
    seen: set[tuple[str, str, int]] = set()
    marked = []
    for port in ports:
        key = (port.container_ip, port.protocol, port.container_port)
        direct = bool(opened[port.version]) and key not in seen
        seen.add(key)
        marked.append(msgspec.structs.replace(port, direct=direct))
    return marked


def _untranslated(shown: PortMap, opened: Target, translated: Target) -> list[PublishedPort]:
    """What is published of addresses that nothing is translated to: the container's ports themselves."""
    versions = [version for version in (4, 6) if opened[version] and not translated[version]]
    if not versions:
        return []
    found = []
    for key, bindings in shown.items():
        if bindings is not None:
            number, protocol = split_key(key)
            found += [PublishedPort(protocol, "", 0, opened[version], number, direct=True) for version in versions]
    return found
