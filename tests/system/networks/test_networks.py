"""Networks of the user's: made, listed, connected, removed; and the predefined ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator

import pytest
from tests.system.networks.support import Host, ask, bridge_ports, run_inside

from darse.core.config import AddressPool
from darse.core.errors import Conflict, EngineError, Forbidden, InvalidParameter, NotFound, Unavailable
from darse.core.filters import Filters
from darse.core.object_references import ObjectKind, ObjectReference
from darse.networks.model import Holder, SandboxGone
from darse.networks.options import ICC
from darse.wire.networks import IPAM, ConfigReference, EndpointIPAMConfig, EndpointSettings, IPAMConfig, NetworkCreate

MAC = "02:42:00:00:00:07"


def names(host: Host, **filters: list[str]) -> list[str]:
    return sorted(network.Name for network in host.service.list_networks(Filters(filters)))


def history(host: Host) -> list[tuple[str, str]]:
    """Action and network of the events so far."""
    return [
        (event.Action, event.Actor.Attributes["name"])
        for event in host.events.between(0, 1 << 62)
        if event.Type == "network"
    ]


async def test_predefined_networks_keep_their_ids(host: Host) -> None:
    before = {network.Name: (network.Id, network.Driver) for network in host.service.list_networks(Filters())}
    assert {name: driver for name, (_, driver) in before.items()} == {
        "bridge": "bridge",
        "host": "host",
        "none": "null",
    }
    await host.stop()
    await host.start()
    assert before == {n.Name: (n.Id, n.Driver) for n in host.service.list_networks(Filters())}
    for name in before:
        with pytest.raises(Forbidden, match=f"{name} is a pre-defined network and cannot be removed"):
            await host.service.remove_network(name)


async def test_create_inspect_remove(host: Host) -> None:
    created = await host.service.create(NetworkCreate(Name="net", Labels={"a": "b"}, Attachable=True))
    shown = host.service.inspect("net")
    assert (shown.Id, shown.Name, shown.Driver, shown.Scope) == (created.Id, "net", "bridge", "local")
    assert shown.Labels == {"a": "b"}
    assert shown.IPAM.Config is not None
    bridge = host.service.store.get("net").bridge
    assert shown.IPAM.Config[0].Gateway in run_inside("/proc/self/ns/net", "ip", "address", "show", bridge)
    assert host.service.inspect(created.Id[:12]).Name == "net"
    with pytest.raises(Conflict, match="network with name net already exists"):
        await host.network("net")
    await host.service.remove_network("net")
    assert not os.path.exists(f"/sys/class/net/{bridge}")
    with pytest.raises(NotFound, match="network net not found"):
        host.service.inspect("net")
    assert history(host) == [("create", "net"), ("destroy", "net")]


async def test_filters(host: Host) -> None:
    await host.service.create(NetworkCreate(Name="blue", Labels={"colour": "blue"}))
    await host.service.create(NetworkCreate(Name="red", Labels={"colour": "red"}))
    await host.sandbox("one", "red")
    id_ = host.service.store.get("blue").id
    assert names(host) == ["blue", "bridge", "host", "none", "red"]
    assert names(host, name=["b"]) == ["blue", "bridge"]
    assert names(host, name=["blue", "red"]) == ["blue", "red"]
    assert names(host, id=[id_[:8]]) == ["blue"]
    assert names(host, driver=["null", "host"]) == ["host", "none"]
    assert names(host, type=["custom"]) == ["blue", "red"]
    assert names(host, type=["builtin"]) == ["bridge", "host", "none"]
    assert names(host, label=["colour"]) == ["blue", "red"]
    assert names(host, label=["colour=red"]) == ["red"]
    assert names(host, scope=["swarm"]) == []
    assert names(host, dangling=["true"]) == ["blue"]
    assert names(host, dangling=["false"]) == ["bridge", "host", "none", "red"]
    for wrong in ({"type": ["x"]}, {"dangling": ["maybe"]}):
        with pytest.raises(InvalidParameter):
            names(host, **wrong)


async def test_a_used_network_stays(host: Host) -> None:
    await host.network("net")
    await host.sandbox("one", "net")
    with pytest.raises(Forbidden, match=r'network net has active endpoints \(name:"one" id:"one"\)'):
        await host.service.remove_network("net")
    host.service.sandbox_release("one")
    await host.service.remove_network("net")


async def test_prune(host: Host) -> None:
    for name, labels in (("used", {}), ("configured", {}), ("kept", {"keep": ""}), ("unused", {})):
        await host.service.create(NetworkCreate(Name=name, Labels=labels))
    await host.sandbox("one", "used")
    host.references.replace_references("stopped", [ObjectReference(ObjectKind.NETWORK, "configured")], running=False)
    assert (await host.service.prune(Filters({"label!": ["keep"], "until": ["1"]}))).NetworksDeleted is None
    assert (await host.service.prune(Filters({"until": ["24h"]}))).NetworksDeleted is None
    with pytest.raises(InvalidParameter):
        await host.service.prune(Filters({"until": ["tomorrow"]}))
    assert (await host.service.prune(Filters({"label!": ["keep"]}))).NetworksDeleted == ["unused"]
    assert names(host, type=["custom"]) == ["configured", "kept", "used"]
    host.references.delete_references("stopped")


async def test_networks_get_subnets_of_their_own(new_host: Callable[..., Awaitable[Host]]) -> None:
    host = await new_host(default_address_pools=(AddressPool("10.214.0.0/22", 24),))
    for name in ("net1", "net2", "net3"):
        await host.network(name)
    subnets = {record.subnet for record in host.service.store if record.subnet}
    assert subnets == {f"10.214.{number}.0/24" for number in range(4)}
    with pytest.raises(Conflict, match="all predefined address pools have been fully subnetted"):
        await host.network("net4")
    assert "net4" not in names(host)


async def test_two_engines_never_choose_the_same_subnet(new_host: Callable[..., Awaitable[Host]]) -> None:
    pools = (AddressPool("10.215.0.0/22", 24),)
    hosts = [await new_host(default_address_pools=pools) for _ in range(3)]
    assert len({host.service.store.get("bridge").subnet for host in hosts}) == 3


async def test_a_subnet_that_another_took_meanwhile_is_given_up(new_host: Callable[..., Awaitable[Host]]) -> None:
    pools = (AddressPool("10.216.0.0/22", 24),)
    first = await new_host(default_address_pools=pools)
    subnet = first.service.store.get("bridge").subnet
    await first.service.remove_networks_from_host()
    await first.stop()
    second = await new_host(default_address_pools=pools)
    assert second.service.store.get("bridge").subnet == subnet
    await first.start()
    assert first.service.store.get("bridge").subnet != subnet


async def test_connect_and_disconnect_a_running_container(host: Host, holder: Callable[[str], int]) -> None:
    await host.network("net", "10.217.0.0/24")
    one = await host.sandbox("one")
    pid = holder(one.path)
    held = Holder(pid, os.getpid())
    host.service.sandbox_started("one")
    path = f"/proc/{pid}/ns/net"
    settings = EndpointSettings(IPAMConfig=EndpointIPAMConfig(IPv4Address="10.217.0.77"), MacAddress=MAC)
    await host.service.connect("net", "one", held, settings)
    links = {link["ifname"]: link for link in json.loads(run_inside(path, "ip", "-j", "address"))}
    assert links["eth1"]["addr_info"][0]["local"] == "10.217.0.77"
    assert links["eth1"]["address"] == MAC
    assert host.service.inspect("net").Containers["one"].IPv4Address == "10.217.0.77/24"
    with pytest.raises(Forbidden, match="endpoint with name one already exists in network net"):
        await host.service.connect("net", "one", held, EndpointSettings())
    await host.service.disconnect("bridge", "one", held)
    assert "10.217.0.1" in run_inside(path, "ip", "route", "show", "default")
    await host.service.disconnect("net", "one", held)
    assert [link["ifname"] for link in json.loads(run_inside(path, "ip", "-j", "link"))] == ["lo"]
    with pytest.raises(NotFound, match="is not connected to the network net"):
        await host.service.disconnect("net", "one", held)
    assert history(host)[1:] == [
        ("connect", "bridge"),
        ("connect", "net"),
        ("disconnect", "bridge"),
        ("disconnect", "net"),
    ]


async def test_a_failed_connect_leaves_nothing(host: Host) -> None:
    await host.network("net", "10.217.1.0/24")
    await host.sandbox("one")
    for gone in (Holder(2**30, 1), Holder(os.getpid(), 2**30)):
        with pytest.raises(SandboxGone, match="container one is not running"):
            await host.service.connect("net", "one", gone, EndpointSettings())
    assert bridge_ports(host.service.store.get("net").bridge) == set()
    assert host.service.inspect("net").Containers == {}
    first = EndpointSettings(IPAMConfig=EndpointIPAMConfig(IPv4Address="10.217.1.2"))
    assert (await host.sandbox("two", "net", settings=first)).addresses == ["10.217.1.2"]


async def test_the_way_out_goes_by_priority(host: Host) -> None:
    await host.network("low", "10.218.1.0/24")
    await host.network("high", "10.218.2.0/24")
    one = await host.service.sandbox_create(
        host.request("one", {"low": EndpointSettings(), "high": EndpointSettings(GwPriority=5)})
    )
    assert "10.218.2.1" in run_inside(one.path, "ip", "route", "show", "default")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            EndpointSettings(IPAMConfig=EndpointIPAMConfig(IPv4Address="10.9.9.9")),
            "no configured subnet contains IP address",
        ),
        (EndpointSettings(IPAMConfig=EndpointIPAMConfig(IPv4Address="x")), "invalid IPv4 address: x"),
        (EndpointSettings(MacAddress="nonsense"), "invalid MAC address: nonsense"),
        (EndpointSettings(MacAddress="01:00:5e:00:00:01"), "invalid MAC address"),
        (EndpointSettings(MacAddress="00:00:00:00:00:00"), "invalid MAC address"),
    ],
)
async def test_settings_that_are_refused(host: Host, settings: EndpointSettings, said: str) -> None:
    await host.network("net", "10.219.0.0/24")
    with pytest.raises(InvalidParameter, match=said):
        host.service.check({"net": settings})


async def test_an_address_on_a_predefined_network_is_refused(host: Host) -> None:
    settings = EndpointSettings(IPAMConfig=EndpointIPAMConfig(IPv4Address="172.17.0.9"))
    with pytest.raises(InvalidParameter, match="user specified IP address is supported on user defined networks only"):
        host.service.check({"bridge": settings})


async def test_an_address_in_use_is_refused(host: Host) -> None:
    await host.network("net", "10.219.1.0/24")
    settings = EndpointSettings(IPAMConfig=EndpointIPAMConfig(IPv4Address="10.219.1.9"))
    await host.sandbox("one", "net", settings=settings)
    with pytest.raises(Forbidden, match="Address already in use"):
        await host.sandbox("two", "net", settings=settings)
    assert host.service.sandbox("two") is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("com.docker.network.driver.mtu", "67"),
        ("com.docker.network.driver.mtu", "many"),
        ("com.docker.network.driver.mtu", "9" * 30),
        ("com.docker.network.bridge.name", "../../x"),
        ("com.docker.network.bridge.name", "a" * 16),
        ("com.docker.network.bridge.name", "all"),
        ("com.docker.network.bridge.enable_icc", "perhaps"),
        ("com.docker.network.bridge.host_binding_ipv4", "nowhere"),
    ],
)
async def test_options_that_are_refused(host: Host, option: str, value: str) -> None:
    with pytest.raises(InvalidParameter):
        await host.network("net", **{option: value})
    assert "net" not in names(host)


async def test_any_name_that_a_link_may_have(host: Host) -> None:
    name = f"br-{os.getpid() % 100000}.x"
    await host.network("net", internal=True, **{"com.docker.network.bridge.name": name})
    assert os.path.exists(f"/sys/class/net/{name}")


async def test_a_link_of_somebody_else_s_is_not_taken(host: Host) -> None:
    with pytest.raises(Conflict, match="a link named lo exists on this host already"):
        await host.network("net", **{"com.docker.network.bridge.name": "lo"})


async def test_drivers_that_there_are_not(host: Host) -> None:
    with pytest.raises(NotFound, match='plugin "weave" not found; the engine itself has bridge, '):
        await host.service.create(NetworkCreate(Name="net", Driver="weave"))
    with pytest.raises(Unavailable, match="This node is not a swarm manager"):
        await host.service.create(NetworkCreate(Name="net", Driver="overlay"))
    with pytest.raises(Forbidden, match='only one instance of "host" network is allowed'):
        await host.service.create(NetworkCreate(Name="net", Driver="host"))


async def test_largest_packet(host: Host) -> None:
    await host.network("net", **{"com.docker.network.driver.mtu": "1400"})
    one = await host.sandbox("one", "net")
    assert "mtu 1400" in run_inside(one.path, "ip", "link", "show", "eth0")


async def test_bip_and_fixed_cidr(new_host: Callable[..., Awaitable[Host]]) -> None:
    host = await new_host(bip="10.220.0.254/24", fixed_cidr="10.220.0.64/26")
    one = await host.sandbox("one")
    assert one.addresses == ["10.220.0.64"]
    assert "10.220.0.254" in run_inside(one.path, "ip", "route", "show", "default")


@pytest.mark.parametrize("config", [{"bip": "10.0.0.0"}, {"bip": "x"}, {"bip": "10.0.0.0/24"}])
async def test_a_bip_that_is_none(new_host: Callable[..., Awaitable[Host]], config: dict[str, str]) -> None:
    host = await new_host()
    good = host.config
    await host.stop()
    host.config = __import__("msgspec").structs.replace(good, **config)
    with pytest.raises(InvalidParameter, match="invalid --bip"):
        await host.start()
    await host.stop()
    host.config = good


async def test_no_default_bridge(new_host: Callable[..., Awaitable[Host]]) -> None:
    host = await new_host(bridge="none")
    assert names(host) == ["host", "none"]
    assert host.service.default_bridge() is None


async def test_the_administrator_s_bridge_is_used_and_left_alone(
    new_host: Callable[..., Awaitable[Host]], bridge_of_admin: str
) -> None:
    host = await new_host(bridge=bridge_of_admin)
    one = await host.sandbox("one")
    host.serve(one)
    assert one.addresses == ["10.221.0.2"]
    assert ask(None, one.addresses[0], 80).startswith("one ")
    assert one.record.endpoints[0].link in bridge_ports(bridge_of_admin)
    await host.close()
    assert os.path.exists(f"/sys/class/net/{bridge_of_admin}")
    assert "10.221.0.1/24" in run_inside("/proc/self/ns/net", "ip", "address", "show", bridge_of_admin)


@pytest.fixture
def bridge_of_admin() -> Iterator[str]:
    name = f"adm{os.getpid() % 100000}"
    subprocess.run(["ip", "link", "add", name, "up", "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", "10.221.0.1/24", "dev", name], check=True)
    yield name
    subprocess.run(["ip", "link", "delete", name], check=True)


# Request, and docker's answer, as dockerd 20.10 gave it.
CONFIGURATIONS = [
    ({"ConfigFrom": ConfigReference("nosuch")}, 'configuration network "nosuch" does not exist'),
    ({"ConfigFrom": ConfigReference("bridge")}, 'configuration network "bridge" does not exist'),
    (
        {"ConfigFrom": ConfigReference("conf"), "IPAM": IPAM(Config=[IPAMConfig("10.98.0.0/24")])},
        "user specified configurations are not supported if the network depends on a configuration network",
    ),
    (
        {"ConfigFrom": ConfigReference("conf"), "Labels": {"b": "2"}},
        "user specified configurations are not supported if the network depends on a configuration network",
    ),
    (
        {"ConfigFrom": ConfigReference("conf"), "EnableIPv6": True},
        "user specified configurations are not supported if the network depends on a configuration network",
    ),
    (
        {"ConfigFrom": ConfigReference("conf"), "Options": {"a": "b"}},
        "network driver options are not supported if the network depends on a configuration network",
    ),
    (
        {"ConfigOnly": True, "ConfigFrom": ConfigReference("conf")},
        "a configuration network cannot depend on another configuration network",
    ),
    *(
        ({"ConfigOnly": True, **more}, "configuration network can only contain network specific fields")
        for more in ({"Internal": True}, {"Attachable": True}, {"Ingress": True}, {"Scope": "swarm"})
    ),
    ({"Ingress": True}, "Ingress network can only be global scope network"),
]


async def test_networks_made_from_a_configuration_network(host: Host) -> None:
    ranges = [IPAMConfig("10.97.1.0/24", "10.97.1.128/25", "10.97.1.9")]
    settings = NetworkCreate(
        Name="conf", ConfigOnly=True, IPAM=IPAM(Config=ranges), Options={ICC: "false"}, Labels={"a": "1"}
    )
    await host.service.create(settings)
    shown = host.service.inspect("conf")
    assert (shown.Driver, shown.ConfigOnly, shown.IPAM.Config, shown.Labels) == ("null", True, ranges, {"a": "1"})
    for members, said in CONFIGURATIONS:
        with pytest.raises(EngineError, match=re.escape(said)):
            await host.service.create(NetworkCreate(Name="x", **members))
    with pytest.raises(Forbidden, match="cannot create endpoint on configuration-only network"):
        await host.sandbox("one", "conf")
    await host.service.create(NetworkCreate(Name="net", ConfigFrom=ConfigReference("conf")))
    for _ in range(2):
        shown = host.service.inspect("net")
        assert (shown.Driver, shown.ConfigOnly, shown.ConfigFrom.Network) == ("bridge", False, "conf")
        assert (shown.IPAM.Config, shown.Labels, shown.Options) == (ranges, {"a": "1"}, {ICC: "false"})
        with pytest.raises(Forbidden, match='configuration network "conf" is in use'):
            await host.service.remove_network("conf")
        await host.stop()
        await host.start()
    one = await host.sandbox("one", "net")
    assert one.addresses == ["10.97.1.128"]
    host.service.sandbox_release("one")
    assert (await host.service.prune(Filters())).NetworksDeleted == ["net"]
    await host.service.remove_network("conf")


async def test_a_configuration_network_needs_neither_driver_nor_subnet(host: Host) -> None:
    await host.service.create(NetworkCreate(Name="conf", ConfigOnly=True, Driver="nosuch", Options={"parent": "no"}))
    assert host.service.inspect("conf").IPAM.Config == []
    await host.service.create(NetworkCreate(Name="net", ConfigFrom=ConfigReference("conf")))
    assert host.service.inspect("net").IPAM.Config
    await host.service.remove_network("net")
    await host.service.remove_network("conf")
