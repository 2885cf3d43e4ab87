"""Ports that are led, moved and given back while others change the firewall, containers end, and the kernel refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import msgspec
import pytest

from darse.core.config import EngineConfig
from darse.core.errors import Conflict
from darse.linux.net.conntrack import Flow
from darse.linux.net.nft import NftError
from darse.networks import options, port_mapper
from darse.networks.firewall import Firewall
from darse.networks.model import NetworkRecord, PortWishes, PublishedPort, SandboxRecord
from darse.networks.port_mapper import PortMapper
from darse.testing.networks import FakeNftables
from darse.wire.host_config import PortBinding

IP = "172.17.0.2"
# More than are led in one piece.
MANY = 600


class FlowTable:
    """The kernel's table of UDP flows."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.failing = False
        self.dumps = 0

    def delete(self, matches: Callable[[Flow], bool]) -> int:
        self.dumps += 1
        if self.failing:
            raise PermissionError(1, "Operation not permitted")
        before = len(self.flows)
        self.flows = [flow for flow in self.flows if not matches(flow)]
        return before - len(self.flows)


class Place:
    """A firewall in memory, and the sandboxes that are on record."""

    def __init__(self, directory: Path) -> None:
        self.nft = FakeNftables()
        self.firewall = Firewall(self.nft, self.nft, "t")  # type: ignore[arg-type]
        self.sandboxes: dict[str, SandboxRecord] = {}
        self.rebuilt = 0
        self.rebuild_fails = False
        config = EngineConfig(data_root=directory, exec_root=directory / "exec")
        self.mapper = PortMapper(config, self.firewall, self.rebuild, self.sandboxes, lambda _: None)
        self.unguarded = PortMapper(config, None, self.rebuild, self.sandboxes, lambda _: None)

    async def rebuild(self) -> None:
        self.rebuilt += 1
        await asyncio.sleep(0)
        if self.rebuild_fails:
            raise NftError("nftables: Error: Operation not permitted")
        await self.firewall.rebuild(
            lambda: ([], [port for sandbox in self.sandboxes.values() for port in sandbox.published])
        )

    def sandbox(self, ports: Iterable[PublishedPort], name: str = "web") -> SandboxRecord:
        """One on record."""
        sandbox = SandboxRecord(container_id=name, container_name=name, sandbox_id=name, published=list(ports))
        self.sandboxes[name] = sandbox
        return sandbox

    def led(self) -> set[str]:
        """The ports of the host that lead somewhere."""
        return {key for found in self.nft.elements.values() for key in found}


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    await made.mapper.close()
    await made.unguarded.close()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FlowTable:
    table = FlowTable()

    class FakeConntrack:
        def delete_udp_flows(self, matches: Callable[[Flow], bool], summary: str, version: int) -> int:
            return table.delete(matches)

        def delete_udp_flows_answered_by(self, address: str) -> int:
            return table.delete(lambda flow: flow.answered_by == address)

        def close(self) -> None:
            """Nothing is held."""

    monkeypatch.setattr(port_mapper, "Conntrack", FakeConntrack)
    return table


def flow(number: int, answered_by: str) -> Flow:
    return Flow("192.168.1.1", number, answered_by, b"")


def port(number: int, protocol: str = "tcp", ip: str = IP) -> PublishedPort:
    return PublishedPort(protocol, "0.0.0.0", number, ip, 80)


def ports(count: int = MANY) -> list[PublishedPort]:
    return [port(number) for number in range(1, count + 1)]


async def test_without_a_firewall_nothing_is_published(place: Place) -> None:
    sandbox = place.sandbox([port(1)])
    with pytest.raises(Conflict, match="--iptables=false"):
        await place.unguarded.lead(sandbox, sandbox.published)
    await place.unguarded.lead(sandbox, [])


async def test_a_table_that_somebody_has_flushed_is_made_anew_with_all_that_is_on_record(place: Place) -> None:
    before = place.sandbox([port(1)], "before")
    await place.mapper.lead(before, before.published)
    sandbox = place.sandbox([port(2)])
    place.nft.flush()
    place.nft.failing = True

    async def flushed() -> None:
        place.nft.failing = False
        await place.rebuild()

    place.mapper._rebuild = flushed
    await place.mapper.lead(sandbox, sandbox.published)
    assert place.led() == {"1", "2"}
    assert place.rebuilt == 1


async def test_a_table_that_cannot_be_made_anew_fails_the_start_that_needs_it(place: Place) -> None:
    sandbox = place.sandbox([port(2)])
    place.nft.failing = place.rebuild_fails = True
    with pytest.raises(NftError, match="Operation not permitted"):
        await place.mapper.lead(sandbox, sandbox.published)


async def test_a_container_that_ends_while_its_ports_are_led_has_none(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of ports take turns; in one of them the container's end gives back all, led or not."""
    sandbox = place.sandbox(ports())
    publish, pieces = place.firewall.publish, []

    def ending(piece: Iterable[PublishedPort]) -> None:
        pieces.append(len(list(piece)))
        publish(piece)
        if len(pieces) == 2:
            del place.sandboxes["web"]
            place.mapper.unmap_ended(sandbox.published)

    monkeypatch.setattr(place.firewall, "publish", ending)
    with pytest.raises(Conflict, match="the container has ended meanwhile"):
        await place.mapper.lead(sandbox, sandbox.published)
    await place.mapper.settle()
    assert pieces == [250, 250]
    assert place.led() == set()
    assert place.rebuilt == 1, "the last piece was never in the table, which is why it is made anew"


async def test_ports_of_the_container_that_is_made_next_are_not_given_back(place: Place) -> None:
    """The record of the sandbox is another by now: what it has is not led by who began before."""
    sandbox = place.sandbox(ports())
    old = sandbox.published
    place.sandboxes["web"] = msgspec.structs.replace(sandbox, published=[port(9000)])
    with pytest.raises(Conflict):
        await place.mapper.lead(sandbox, old)
    assert place.led() == set()


async def test_several_ends_at_a_time_make_a_broken_table_anew_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    sandboxes = [place.sandbox([port(number)], str(number)) for number in (1, 2, 3)]
    for sandbox in sandboxes:
        await place.mapper.lead(sandbox, sandbox.published)
    place.nft.flush()
    for sandbox in sandboxes[:2]:
        del place.sandboxes[sandbox.sandbox_id]
        place.mapper.unmap_ended(sandbox.published)
    await place.mapper.settle()
    assert place.rebuilt == 1
    assert place.led() == {"3"}
    assert caplog.text.count("is not as it was left") == 1


async def test_an_end_is_one_whatever_the_firewall_says(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    sandbox = place.sandbox([port(1)])
    await place.mapper.lead(sandbox, sandbox.published)
    place.nft.failing = place.rebuild_fails = True
    del place.sandboxes["web"]
    place.mapper.unmap_ended(sandbox.published)
    await place.mapper.settle()
    assert "cannot make the firewall's table anew" in caplog.text
    place.nft.failing = False


async def test_who_starts_next_waits_for_ports_that_are_being_given_back(place: Place) -> None:
    wishes = PortWishes(ports={"80/tcp": [PortBinding("127.0.0.1", "")] * 3})
    bridge = NetworkRecord(id="b", name="bridge", driver="bridge", created_ns=1)
    taken, _ = await place.mapper.allocate(wishes, {4: bridge}, {4: IP, 6: ""})
    sandbox = place.sandbox([*taken, *ports()])
    await place.mapper.lead(sandbox, sandbox.published)
    del place.sandboxes["web"]
    place.mapper.unmap_ended(sandbox.published)
    again = PortWishes(ports={"80/tcp": [PortBinding("127.0.0.1", str(one.host_port)) for one in taken]})
    found, _ = await place.mapper.allocate(again, {4: bridge}, {4: IP, 6: ""})
    assert found == taken
    await place.mapper.unmap_ports(found)
    assert place.led() == set()


async def test_a_move_that_nobody_waits_for_any_more_is_finished(place: Place) -> None:
    sandbox = place.sandbox(ports())
    await place.mapper.lead(sandbox, sandbox.published)
    moved = [msgspec.structs.replace(one, container_ip="172.17.0.9") for one in sandbox.published]
    place.sandboxes["web"] = after = msgspec.structs.replace(sandbox, published=moved)
    moving = asyncio.create_task(place.mapper.move(after, sandbox.published, moved))
    await asyncio.sleep(0)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    await place.mapper.settle()
    assert set(place.nft.elements["ip t tcp_any"].values()) == {"172.17.0.9 . 80"}


async def test_flows_that_followed_what_was_published_before_are_deleted(place: Place, kernel: FlowTable) -> None:
    stale, elsewhere = flow(53, "192.168.1.1"), flow(54, "192.168.1.1")
    kernel.flows = [stale, elsewhere, flow(53, IP)]
    sandbox = place.sandbox([port(53, "udp"), port(54)])
    await place.mapper.lead(sandbox, sandbox.published)
    await place.mapper.settle()
    assert kernel.flows == [elsewhere], "of the port that is one of UDP, all: they go by the maps again"
    # While the table was gone, some were answered by the host; those that go to the container may go on.
    kernel.flows = [stale, flow(53, IP), elsewhere]
    place.mapper.delete_untranslated_flows(sandbox.published)
    await place.mapper.settle()
    assert kernel.flows == [flow(53, IP), elsewhere]
    del place.sandboxes["web"]
    place.mapper.unmap_ended(sandbox.published)
    await place.mapper.settle()
    assert kernel.flows == [elsewhere]


async def test_a_kernel_that_lets_no_flow_be_deleted_fails_nobody(
    place: Place, kernel: FlowTable, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.failing = True
    sandbox = place.sandbox([port(53, "udp")])
    await place.mapper.lead(sandbox, sandbox.published)
    await place.mapper.settle()
    assert kernel.dumps == 1
    assert "old UDP flows may go on" in caplog.text


def record(mode: str = options.NAT, trusted: str = "") -> NetworkRecord:
    chosen = dict.fromkeys(options.GATEWAY_MODES.values(), mode) | {options.TRUSTED_INTERFACES: trusted}
    return NetworkRecord(
        id="b", name="n", driver="bridge", created_ns=1, options=chosen, internal=mode == options.ISOLATED
    )


@pytest.mark.parametrize(
    ("network", "translated", "opened"),
    [
        (record(), IP, ""),
        (record(options.NAT_UNPROTECTED), IP, ""),  # everything is let in anyway
        (record(options.ROUTED), "", IP),
        (record(options.ISOLATED), "", ""),
        (record(trusted="eth1"), IP, IP),
    ],
    ids=["nat", "nat-unprotected", "routed", "isolated", "trusted"],
)
async def test_what_a_port_is_by_the_network_s_gateway_mode(
    place: Place, network: NetworkRecord, translated: str, opened: str
) -> None:
    """Ports of the host that lead to the container, and the container's own that are let in: each of those once."""
    bindings = [PortBinding("127.0.0.1", ""), PortBinding("127.0.0.1", "")]
    wishes = PortWishes(ports={"80/tcp": bindings}, exposed=["81/tcp"])
    found, shown = await place.mapper.allocate(wishes, {4: network}, {4: IP, 6: ""})
    assert [bool(one.host_port) for one in found] == ([True] * 2 if translated else [False] * bool(opened))
    assert [one.direct for one in found].count(True) == bool(opened)
    assert {one.container_ip for one in found} == {translated or opened} - {""}
    assert shown["81/tcp"] is None
    assert len(shown["80/tcp"] or ()) == (2 if translated else 0)
    sandbox = place.sandbox(found)
    await place.mapper.lead(sandbox, sandbox.published)
    assert place.nft.elements.get("ip t open", {}).keys() == ({f"{IP} . tcp . 80"} if opened else set())
    await place.mapper.unmap_ports(found)
    assert place.led() == set()
