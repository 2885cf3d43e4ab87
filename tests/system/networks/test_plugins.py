"""Networks of plugins: the calls they get, and what becomes of those that hang, lie or end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.system.networks.fake_plugin import FakePlugin
from tests.system.networks.support import Host, ask, host_port, run_inside

from darse.core.errors import EngineError, NotFound
from darse.core.filters import Filters
from darse.networks.model import Holder
from darse.plugins import PluginError
from darse.wire.networks import IPAM, EndpointSettings, NetworkCreate


@pytest.fixture
async def plugin(host: Host) -> AsyncIterator[FakePlugin]:
    """A plugin called `fake`; the host's networks are gone when it ends."""
    made = FakePlugin(host.config.exec_root / "plugins" / "fake.sock")
    yield made
    made.released.set()
    made.answers.clear()
    await host.close()
    made.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait, with the event loop going on."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


async def test_containers_on_a_plugin_s_network(host: Host, plugin: FakePlugin) -> None:
    await host.network("net", "10.252.1.0/24", driver="fake", colour="blue")
    _, made = plugin.calls[-1]
    assert made["Options"]["com.docker.network.generic"] == {"colour": "blue"}
    assert made["IPv4Data"] == [
        {"AddressSpace": "", "Pool": "10.252.1.0/24", "Gateway": "10.252.1.1/24", "AuxAddresses": {}}
    ]
    one, two = await host.sandbox("one", "net", ports=host_port(8080)), await host.sandbox("two", "net")
    host.serve(two)
    assert ask(one.path, two.addresses[0], 80) == f"two {one.addresses[0]}"
    assert "203.0.113.0/24 dev eth0" in run_inside(one.path, "ip", "route")
    assert one.record.published == []
    host.service.sandbox_release("one")
    host.service.sandbox_release("two")
    await until(lambda: not plugin.endpoints, "the endpoints end")
    await host.service.remove_network("net")
    assert plugin.methods[-1] == "NetworkDriver.DeleteNetwork"
    assert host.service.store.ended() == []


async def test_connect_and_disconnect(host: Host, plugin: FakePlugin, holder: Callable[[str], int]) -> None:
    await host.network("net", driver="fake")
    one = await host.sandbox("one", "bridge")
    held = Holder(holder(one.path), os.getpid())
    await host.service.connect("net", "one", held, EndpointSettings(DriverOpts={"size": "3"}))
    asked = next(body for method, body in plugin.calls if method == "NetworkDriver.CreateEndpoint")
    assert asked["Options"]["com.docker.network.generic"] == {"size": "3"}
    assert "eth1" in run_inside(one.path, "ip", "-brief", "link")
    await host.service.disconnect("net", "one", held)
    assert "eth1" not in run_inside(one.path, "ip", "-brief", "link")
    assert plugin.methods[-2:] == ["NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"]


async def test_a_plugin_that_fails_at_the_end_keeps_no_container(
    host: Host, plugin: FakePlugin, holder: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    await host.network("net", driver="fake")
    one = await host.sandbox("one", "bridge", "net")
    held = Holder(holder(one.path), os.getpid())
    plugin.answers = {f"NetworkDriver.{name}": {"Err": "never"} for name in ("Leave", "DeleteEndpoint")}
    await host.service.disconnect("net", "one", held)
    assert "NetworkDriver.Leave: never" in caplog.text
    assert [endpoint.network_name for endpoint in one.record.endpoints] == ["bridge", "net"]
    record = host.service.sandbox("one")
    assert record is not None
    assert [endpoint.network_name for endpoint in record.endpoints] == ["bridge"]


async def test_addresses_of_a_plugin(host: Host, plugin: FakePlugin) -> None:
    request = NetworkCreate(Name="net", IPAM=IPAM(Driver="fake", Options={"a": "b"}))
    await host.service.create(request)
    asked = next(body for method, body in plugin.calls if method == "IpamDriver.RequestPool")
    assert (asked["AddressSpace"], asked["Options"], asked["V6"]) == ("here", {"a": "b"}, False)
    record = host.service.store.get("net")
    assert (record.subnet, record.gateway) == ("10.251.7.0/24", "10.251.7.1")
    one = await host.sandbox("one", "net")
    assert one.addresses == ["10.251.7.2"]
    assert plugin.leases == {"10.251.7.1", "10.251.7.2"}
    host.service.sandbox_release("one")
    await until(lambda: plugin.leases == {"10.251.7.1"}, "the address is released")
    await host.service.remove_network("net")
    assert plugin.leases == set()
    assert plugin.methods[-1] == "IpamDriver.ReleasePool"


async def test_one_that_hangs_delays_its_own_calls_only(host: Host, plugin: FakePlugin) -> None:
    await host.network("net", driver="fake")
    plugin.hanging = {"NetworkDriver.Join", "NetworkDriver.CreateNetwork"}
    started = asyncio.ensure_future(host.sandbox("one", "net"))
    made = asyncio.ensure_future(host.network("other", driver="fake"))
    await until(lambda: "NetworkDriver.Join" in plugin.methods, "the call that hangs")
    begun = time.monotonic()
    await host.network("mine")
    await host.sandbox("two", "mine")
    await host.sandbox("three", "bridge")
    assert len(host.service.list_networks(Filters())) == 6
    host.service.sandbox_release("two")
    await host.service.remove_network("mine")
    assert time.monotonic() - begun < 2
    assert not started.done()
    assert not made.done()
    plugin.released.set()
    await started
    await made


async def test_the_end_of_a_container_does_not_wait_for_a_plugin(host: Host, plugin: FakePlugin) -> None:
    await host.network("net", driver="fake")
    await host.sandbox("one", "net")
    plugin.hanging = {"NetworkDriver.Leave"}
    host.service.sandbox_release("one")
    assert host.service.sandbox("one") is None
    assert len(host.service.store.ended()) == 1
    plugin.released.set()
    await until(lambda: not host.service.store.ended(), "the endpoint's end")


async def test_an_end_that_the_engine_did_not_live_to_tell(host: Host, plugin: FakePlugin) -> None:
    await host.network("net", driver="fake")
    await host.sandbox("one", "net")
    await host.stop()
    before = len(plugin.calls)
    await host.start()
    await until(lambda: not plugin.endpoints, "the endpoint's end")
    assert plugin.methods[before + 1 :] == ["NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"]


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("NetworkDriver.Join", {"Err": "no room"}, "NetworkDriver.Join: no room"),
        ("NetworkDriver.Join", {"InterfaceName": {"SrcName": "lo"}}, "names no link"),
        ("NetworkDriver.Join", {"InterfaceName": {"SrcName": "nosuch0"}}, "which is not on this host"),
        ("NetworkDriver.Join", {"InterfaceName": {"SrcName": "x"}, "Gateway": "y"}, "gives no gateway"),
        ("NetworkDriver.Join", {"InterfaceName": 3}, "with what it cannot be"),
        ("NetworkDriver.CreateEndpoint", {"Interface": {"Address": "10.0.0.1/8"}}, "changes the Address"),
    ],
)
async def test_lies(host: Host, plugin: FakePlugin, method: str, answer: dict[str, Any], said: str) -> None:
    await host.network("net", driver="fake")
    plugin.answers[method] = answer
    with pytest.raises(EngineError, match=said):
        await host.sandbox("one", "net")
    assert host.service.sandbox("one") is None
    await until(lambda: not host.service.store.ended(), "the endpoint's end")


async def test_lies_about_addresses(host: Host, plugin: FakePlugin) -> None:
    request = NetworkCreate(Name="net", IPAM=IPAM(Driver="fake"))
    plugin.answers["IpamDriver.RequestPool"] = {"PoolID": "x", "Pool": "nonsense"}
    with pytest.raises(PluginError, match="gives no subnet"):
        await host.service.create(request)
    del plugin.answers["IpamDriver.RequestPool"]
    plugin.answers["IpamDriver.RequestAddress"] = {"Address": "192.0.2.1/24"}
    with pytest.raises(PluginError, match=r"gives 192\.0\.2\.1, which is not in 10\.251\.7\.0/24"):
        await host.service.create(request)
    assert host.service.store.by_name("net") is None
    assert "IpamDriver.ReleasePool" in plugin.methods


async def test_a_network_whose_plugin_is_gone_can_be_removed(host: Host, plugin: FakePlugin) -> None:
    await host.network("net", driver="fake")
    plugin.close()
    await host.service.remove_network("net")
    with pytest.raises(NotFound, match='plugin "fake" not found'):
        await host.network("net", driver="fake")


async def test_a_network_that_its_plugin_does_not_know_can_be_removed(
    host: Host, plugin: FakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a crash between the network's row and the plugin's call."""
    plugin.answers["NetworkDriver.CreateNetwork"] = {}
    await host.network("net", driver="fake")
    await host.service.remove_network("net")
    assert host.service.store.by_name("net") is None
    assert "not found" in caplog.text


async def test_interfaces_have_the_prefix_that_a_plugin_asks_for(
    host: Host, plugin: FakePlugin, holder: Callable[[str], int]
) -> None:
    plugin.prefix = "weave"
    await host.network("net", driver="fake")
    await host.network("other", driver="fake")
    one = await host.sandbox("one", "net", "bridge", "other")
    assert [endpoint.interface for endpoint in one.record.endpoints] == ["weave0", "eth1", "weave1"]
    assert "weave1" in run_inside(one.path, "ip", "-brief", "link")
    held = Holder(holder(one.path), os.getpid())
    await host.service.disconnect("net", "one", held)
    named = EndpointSettings(DriverOpts={"com.docker.network.endpoint.ifname": "mine"})
    await host.service.connect("net", "one", held, named)
    assert "mine" in run_inside(one.path, "ip", "-brief", "link")
    plugin.prefix = "a/b"
    with pytest.raises(PluginError, match="names no interface: 'a/b'"):
        await host.sandbox("two", "net")


async def test_an_ipam_plugin_that_remembers_nothing_is_asked_once_more(host: Host, plugin: FakePlugin) -> None:
    request = NetworkCreate(Name="net", IPAM=IPAM(Driver="fake", Options={"a": "b"}))
    await host.service.create(request)
    one = await host.sandbox("one", "net")
    recorded = host.service.store.get("net").pools[0].id
    host.running = {"one": os.getpid()}
    for replay in (True, False):
        await host.stop()
        plugin.answers["IpamDriver.GetCapabilities"] = {"RequiresRequestReplay": replay}
        before = len(plugin.calls)
        if replay:
            plugin.leases.clear()
            plugin.tag = "again"
        await host.start()
        two = await host.sandbox("two", "net")
        host.service.sandbox_release("two")
        assert two.addresses != one.addresses
        calls = plugin.calls[before:]
        pools = [body for method, body in calls if method == "IpamDriver.RequestPool"]
        assert [(body["Pool"], body["Options"]) for body in pools] == [("10.251.7.0/24", {"a": "b"})] * replay
        asked = [body["Address"] for method, body in calls if method == "IpamDriver.RequestAddress"]
        assert asked == (["10.251.7.1", *one.addresses, ""] if replay else [""])
        named = {body["PoolID"] for method, body in calls if method == "IpamDriver.RequestAddress"}
        assert named == ({"pool-again"} if replay else {recorded})
