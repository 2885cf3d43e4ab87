"""Sandboxes of a host in memory: what fails in the middle leaves nothing, and what ends meanwhile is noticed."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from darse.core import events
from darse.core.config import EngineConfig
from darse.core.errors import Conflict, EngineError, Forbidden, NotFound
from darse.core.state import State
from darse.networks import sandboxes as module
from darse.networks import store as network_store
from darse.networks.endpoint_addresses import EndpointAddresses
from darse.networks.endpoint_reaper import EndpointReaper
from darse.networks.firewall import Firewall
from darse.networks.ipam import DefaultIPAM
from darse.networks.model import Endpoint, Holder, NetworkRecord, PortWishes, SandboxGone, SandboxRequest, SubnetPool
from darse.networks.port_mapper import PortMapper
from darse.networks.publishing import Publishing
from darse.networks.sandboxes import Sandbox, Sandboxes
from darse.networks.store import NetworkStore
from darse.plugins import PluginError
from darse.testing.networks import FakeNetlink, FakeNetnsPool, FakeNetnsThread, FakeNetworkDriver, FakeNftables
from darse.wire.host_config import PortBinding
from darse.wire.networks import EndpointSettings

CONTAINER = "c" * 64
PORTS = PortWishes(ports={"80/tcp": [PortBinding("127.0.0.1")]})
HOLDER = Holder(4711, 4710)


def fails(text: str = "it fails") -> Callable[[Endpoint], None]:
    def fail(_: Endpoint) -> None:
        raise PluginError(text)

    return fail


class Place:
    """Three networks: one whose ports the engine publishes, and two of a plugin."""

    def __init__(self, directory: Path) -> None:
        config = EngineConfig(data_root=directory, exec_root=directory / "exec")
        self.state = State(directory / "state.sqlite", (events.SCHEMA, network_store.SCHEMA))
        self.store = NetworkStore(self.state)
        #: Those of endpoints, with the names of their networks.
        self.events: list[str] = []
        self.driver = FakeNetworkDriver("bridge", publishes=True)
        self.plugin = FakeNetworkDriver("plugin", keeps_outside=True)
        drivers = {driver.name: driver for driver in (self.driver, self.plugin)}
        self.ipam = DefaultIPAM(config.default_address_pools, lambda: [], str(directory))
        self.addresses = EndpointAddresses({"default": self.ipam})
        self.nft = FakeNftables()
        self.firewall = Firewall(self.nft, self.nft, "t")  # type: ignore[arg-type]
        self.mapper = PortMapper(config, self.firewall, self.rebuild, self.store.sandboxes, lambda _: None)
        self.reaper = EndpointReaper(self.store, drivers, self.addresses)
        self.thread = FakeNetnsThread()
        self.pool = FakeNetnsPool(self.thread)
        self.sandboxes = Sandboxes(
            self.store,
            drivers,
            self.addresses,
            Publishing(self.store, drivers, self.mapper),
            self.reaper,
            self.pool,  # type: ignore[arg-type]
            self.thread,  # type: ignore[arg-type]
            lambda: None,
            lambda endpoint, action, _: self.events.append(f"{action} {endpoint.network_name}"),
        )
        for number, (name, driver) in enumerate((("front", "bridge"), ("back", "plugin"), ("side", "plugin"))):
            subnet = SubnetPool(subnet=f"10.{number}.0.0/29", gateway=f"10.{number}.0.1", id=f"10.{number}.0.0/29")
            self.store.save(NetworkRecord(id=f"{number:064x}", name=name, driver=driver, created_ns=1, pools=[subnet]))
            self.ipam.restore_pool(subnet, {})

    async def rebuild(self) -> None:
        """What the firewall is to have, made anew."""
        await self.firewall.rebuild(
            lambda: ([], [port for sandbox in self.store.sandboxes.values() for port in sandbox.published])
        )

    async def create(self, *networks: str, ports: PortWishes | None = None) -> Sandbox:
        """A sandbox that is on record, and whose container runs."""
        request = SandboxRequest(
            container_id=CONTAINER,
            container_name="web",
            endpoints={name: EndpointSettings() for name in networks},
            wishes=ports or PortWishes(),
        )
        sandbox = await self.sandboxes.create(request)
        with self.state.transaction():
            self.store.save_sandbox(sandbox.record)
            self.sandboxes.saved(sandbox.record)
        self.thread.of_processes[f"/proc/{HOLDER.pid}/ns/net"] = sandbox.netns  # type: ignore[assignment]
        self.sandboxes.started(CONTAINER)
        return sandbox

    def connected(self) -> list[str]:
        """The networks that the container is on, as it is on record."""
        sandbox = self.store.sandbox_of(CONTAINER)
        return [endpoint.network_name for endpoint in sandbox.endpoints] if sandbox is not None else []

    def leased(self) -> dict[str, int]:
        """How many addresses endpoints have, by network."""
        return {record.name: self.ipam.counts(record.pools[0])[0] - self._own for record in self.store}

    #: Addresses of a pool that no endpoint has: its edges, and the gateway.
    _own = 3

    def elements(self) -> dict[str, dict[str, str]]:
        return {name: found for name, found in self.nft.elements.items() if found}

    async def settle(self) -> None:
        await self.mapper.settle()
        for record in self.store:
            await self.reaper.settle(record.id)

    async def close(self) -> None:
        await self.reaper.close()
        await self.mapper.close()
        self.state.close()


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(module, "runs", lambda *_: True)
    made = Place(tmp_path)
    yield made
    await made.close()


def record(place: Place, name: str) -> NetworkRecord:
    return place.store.get(name)


async def test_ports_of_the_host_lead_to_the_network_that_leads_out(place: Place) -> None:
    sandbox = await place.create("front", "back", ports=PORTS)
    (port,) = sandbox.record.published
    assert (port.container_ip, port.container_port) == ("10.0.0.2", 80)
    assert place.elements() == {"ip t tcp_at": {f"127.0.0.1 . {port.host_port}": "10.0.0.2 . 80"}}
    assert sandbox.netns.netlink.interfaces.keys() == {"lo", "eth0", "eth1"}  # type: ignore[attr-defined]
    place.sandboxes.release_sandbox(CONTAINER)
    await place.settle()
    assert (place.connected(), place.elements()) == ([], {})
    assert place.leased() == {"front": 0, "back": 0, "side": 0}


@pytest.mark.parametrize(
    "failing", ["create_endpoint", "join", "program", "namespace", "configure", "firewall", "full"]
)
async def test_a_start_that_fails_in_the_middle_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Its second network is a plugin's, which hears of the end of all that it was told of."""
    networks = ["front", "back"]
    if failing == "namespace":
        place.pool.on_take = _raise_emfile
    elif failing == "configure":
        place.plugin.on["join"] = lambda endpoint: setattr(endpoint, "interface", "gone")
        monkeypatch.setattr(FakeNetlink, "link", lambda self, name: None if name == "gone" else self.interfaces[name])
    elif failing == "firewall":
        place.nft.failing = True
    elif failing == "full":
        for _ in range(5):
            await place.addresses.lease(record(place, "back"), _endpoint(), EndpointSettings(), "")
    else:
        networks = networks[::-1] if failing == "program" else networks
        place.plugin.on[failing] = fails()
    with pytest.raises(EngineError):
        await place.create(*networks, ports=PORTS)
    place.nft.failing = False
    await place.settle()
    assert place.connected() == []
    assert place.store.sandboxes == {}
    assert place.sandboxes.owners == {}
    assert place.elements() == {}
    assert place.leased() == {"front": 0, "back": 5 if failing == "full" else 0, "side": 0}
    assert place.plugin.endpoints == set()
    assert place.store.ended() == []
    assert all(netns.is_closed for netns in place.thread.made)


async def test_what_an_engine_was_killed_over_the_next_one_ends(place: Place) -> None:
    """The plugin is told of an endpoint before any sandbox is on record."""
    place.plugin.on["join"] = fails()
    endings = place.plugin.on["delete_endpoint"] = _Later()
    with pytest.raises(PluginError):
        await place.create("back")
    assert [endpoint.network_name for endpoint in place.store.ended()] == ["back"]
    assert place.leased()["back"] == 1, "as long as the plugin may know of it, nobody else gets its address"
    await place.settle()
    assert endings.count == 1
    assert (place.store.ended(), place.leased()["back"]) == ([], 0)


async def test_a_running_container_is_connected_once(place: Place) -> None:
    await place.create("front")
    await place.sandboxes.join(CONTAINER, HOLDER, record(place, "back"), EndpointSettings())
    with pytest.raises(Forbidden, match="endpoint with name web already exists in network back"):
        await place.sandboxes.join(CONTAINER, HOLDER, record(place, "back"), EndpointSettings())
    assert place.connected() == ["front", "back"]
    assert place.leased() == {"front": 1, "back": 1, "side": 0}


@pytest.mark.parametrize("failing", ["create_endpoint", "join", "program", "revoke"])
async def test_a_connection_that_fails_is_none(place: Place, failing: str) -> None:
    """`revoke` and `program` come when another network leads out from then on: the record has the new one by then."""
    await place.create("back", ports=PORTS)
    place.plugin.on[failing] = fails()
    with pytest.raises(PluginError, match="it fails"):
        await place.sandboxes.join(CONTAINER, HOLDER, record(place, "side"), EndpointSettings(GwPriority=1))
    await place.settle()
    assert place.connected() == ["back"]
    assert place.events == (["connect side", "disconnect side"] if failing == "revoke" else [])
    assert place.leased() == {"front": 0, "back": 1, "side": 0}
    assert len(place.plugin.endpoints) == 1
    assert place.store.ended() == []
    assert place.sandboxes.owners.keys() == {endpoint.link for endpoint in _endpoints(place)}
    assert all(netns.is_closed for netns in place.thread.made)


async def test_a_container_that_ends_while_it_is_connected_keeps_nothing(place: Place) -> None:
    await place.create("front")
    place.plugin.on["join"] = lambda _: place.sandboxes.release_sandbox(CONTAINER)
    with pytest.raises(Conflict, match="the container has ended meanwhile"):
        await place.sandboxes.join(CONTAINER, HOLDER, record(place, "back"), EndpointSettings())
    await place.settle()
    assert place.connected() == []
    assert place.leased() == {"front": 0, "back": 0, "side": 0}
    assert place.plugin.endpoints == set()
    assert place.sandboxes.owners == {}


async def test_the_namespace_of_another_process_with_the_pid_is_not_touched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.create("front")
    monkeypatch.setattr(module, "runs", lambda pid, parent: (pid, parent) != HOLDER)
    with pytest.raises(SandboxGone, match="is not running"):
        await place.sandboxes.join(CONTAINER, HOLDER, record(place, "back"), EndpointSettings())
    assert all(netns.is_closed for netns in place.thread.made)
    assert place.plugin.methods() == ["delete_endpoint"]
    assert (place.connected(), place.leased()["back"]) == (["front"], 0)


async def test_the_way_out_is_handed_over_and_back(place: Place) -> None:
    await place.create("back")
    place.plugin.calls.clear()
    await place.sandboxes.join(CONTAINER, HOLDER, record(place, "side"), EndpointSettings(GwPriority=1))
    made = ("create_endpoint", "join")
    assert [call for call in place.plugin.calls if call[0] not in made] == [("program", "side"), ("revoke", "back")]
    place.plugin.calls.clear()
    await place.sandboxes.leave(CONTAINER, HOLDER, record(place, "side"))
    assert place.plugin.calls == [
        ("program", "back"),
        ("revoke", "side"),
        ("leave", "side"),
        ("delete_endpoint", "side"),
    ]
    assert place.connected() == ["back"]


@pytest.mark.parametrize("failing", ["program", "leave", "delete_endpoint"])
async def test_a_plugin_that_fails_does_not_keep_a_container_on_its_network(
    place: Place, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    await place.create("back")
    await place.sandboxes.join(CONTAINER, HOLDER, record(place, "side"), EndpointSettings(GwPriority=1))
    place.plugin.on[failing] = fails("the plugin hangs")
    left = await place.sandboxes.leave(CONTAINER, HOLDER, record(place, "side"))
    assert left.network_name == "side"
    assert (place.connected(), place.leased()["side"]) == (["back"], 0)
    assert place.store.ended() == []
    assert "the plugin hangs" in caplog.text


async def test_ports_follow_the_network_that_leads_out_and_come_back(place: Place) -> None:
    sandbox = await place.create("front", ports=PORTS)
    before = place.elements()
    await place.sandboxes.join(CONTAINER, HOLDER, record(place, "back"), EndpointSettings(GwPriority=1))
    assert place.elements() == {}, "a plugin publishes by itself"
    assert place.plugin.methods(("create_endpoint", "join")) == ["program"]
    await place.sandboxes.leave(CONTAINER, HOLDER, record(place, "back"))
    (port,) = place.store.sandboxes[sandbox.record.sandbox_id].published
    assert place.elements().keys() == before.keys()
    assert port.container_ip == "10.0.0.2"


async def test_a_container_that_has_ended_leaves_its_network_all_the_same(place: Place) -> None:
    await place.create("front", "back")
    place.thread.of_processes.clear()
    await place.sandboxes.leave(CONTAINER, HOLDER, record(place, "back"))
    assert (place.connected(), place.leased()["back"]) == (["front"], 0)
    with pytest.raises(NotFound, match="is not connected to the network back"):
        await place.sandboxes.leave(CONTAINER, None, record(place, "back"))


async def test_a_link_that_somebody_has_deleted_is_made_anew_with_the_same_addresses(place: Place) -> None:
    sandbox = await place.create("front", "back")
    lost = _endpoints(place)[1]
    place.plugin.on["join"] = fails()
    with pytest.raises(PluginError):
        await place.sandboxes.replug(sandbox.record.sandbox_id, HOLDER, record(place, "back"), lost)
    assert _endpoints(place)[1] == lost, "it is tried again"
    del place.plugin.on["join"]
    sandbox.netns.netlink.interfaces.pop(lost.interface)  # type: ignore[attr-defined]
    await place.sandboxes.replug(sandbox.record.sandbox_id, HOLDER, record(place, "back"), lost)
    again = _endpoints(place)[1]
    assert (again.address, again.mac, again.interface) == (lost.address, lost.mac, lost.interface)
    assert place.sandboxes.owners[again.link] == sandbox.record.sandbox_id
    # Meanwhile it has left the network: what was made goes.
    place.plugin.on["join"] = lambda _: place.sandboxes.release_sandbox(CONTAINER)
    with pytest.raises(SandboxGone):
        await place.sandboxes.replug(sandbox.record.sandbox_id, HOLDER, record(place, "back"), again)
    await place.settle()
    assert (place.sandboxes.owners, place.plugin.endpoints) == ({}, set())


async def test_ports_that_cannot_come_back_do_not_keep_the_record_of_a_connection_that_failed(place: Place) -> None:
    """Its way out was to be the plugin's, which refuses; meanwhile the firewall has gone, too."""
    await place.create("back", ports=PORTS)

    def fail(_: Endpoint) -> None:
        place.nft.failing = True
        raise PluginError("it fails")

    place.plugin.on["revoke"] = fail
    with pytest.raises(PluginError):
        await place.sandboxes.join(CONTAINER, HOLDER, record(place, "front"), EndpointSettings(GwPriority=1))
    assert place.connected() == ["back"]
    assert place.leased() == {"front": 0, "back": 1, "side": 0}
    place.nft.failing = False
    await place.settle()


async def test_who_gives_up_a_connection_leaves_none(place: Place) -> None:
    """Cancelled after it is on record."""
    await place.create("back")
    joining: list[asyncio.Task[Endpoint]] = []
    place.plugin.on["revoke"] = lambda _: joining[0].cancel()
    settings = EndpointSettings(GwPriority=1)
    joining.append(asyncio.create_task(place.sandboxes.join(CONTAINER, HOLDER, record(place, "side"), settings)))
    with pytest.raises(asyncio.CancelledError):
        await joining[0]
    assert (place.connected(), place.leased()["side"]) == (["back"], 0)
    assert len(place.plugin.endpoints) == 1


def _endpoint() -> Endpoint:
    return Endpoint(network_id="", network_name="", endpoint_id="")


def _endpoints(place: Place) -> list[Endpoint]:
    sandbox = place.store.sandbox_of(CONTAINER)
    assert sandbox is not None
    return sandbox.endpoints


def _raise_emfile() -> None:
    raise OSError(errno.EMFILE, "Too many open files")


class _Later:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _: Endpoint) -> None:
        self.count += 1
