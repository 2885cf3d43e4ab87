"""macvlan on a link of the host; ipvlan and VLANs where the kernel has them, and what is said where it has not."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tests.system.networks.driver_suite import DriverSuite
from tests.system.networks.kernel import NEEDS_IPVLAN, NEEDS_MACVLAN, NEEDS_VLAN, kernel_has
from tests.system.networks.support import Echo, Host, Outside, ask, is_shut, run_inside

from darse.core.errors import Conflict, EngineError, InvalidParameter, SystemFault, Unavailable
from darse.networks.drivers import Driver, IpvlanDriver, MacvlanDriver
from darse.networks.model import Holder, NetworkRecord, SubnetPool
from darse.networks.sandboxes import Sandbox
from darse.wire.networks import IPAM, EndpointIPAMConfig, EndpointSettings, IPAMConfig, NetworkCreate


def record_of(driver: str, **options: str) -> NetworkRecord:
    """A network without a parent unless `options` name one."""
    number = secrets.randbelow(250)
    return NetworkRecord(
        id=secrets.token_hex(32),
        name="net",
        driver=driver,
        created_ns=0,
        pools=[SubnetPool(subnet=f"198.19.{number}.0/24", gateway=f"198.19.{number}.1")],
        options=options,
    )


@NEEDS_MACVLAN
class TestMacvlan(DriverSuite):
    @pytest.fixture
    def driver(self) -> Iterator[Driver]:
        driver = MacvlanDriver("", list)
        yield driver
        driver.close()

    @pytest.fixture
    def record(self) -> NetworkRecord:
        return record_of("macvlan")

    async def test_a_parent_of_its_own_goes_with_the_network(self, driver: Driver, record: NetworkRecord) -> None:
        link = f"/sys/class/net/dm-{record.id[:12]}"
        await driver.create_network(record)
        assert os.path.exists(link)
        await driver.delete_network(record)
        assert not os.path.exists(link)


@NEEDS_IPVLAN
class TestIpvlan(DriverSuite):
    @pytest.fixture
    def driver(self) -> Iterator[Driver]:
        driver = IpvlanDriver("", list)
        yield driver
        driver.close()

    @pytest.fixture
    def record(self) -> NetworkRecord:
        return record_of("ipvlan")


@pytest.mark.skipif(kernel_has("ipvlan"), reason="the kernel has ipvlan")
async def test_ipvlan_without_the_kernel_s_help(host: Host) -> None:
    with pytest.raises(Conflict, match="kernel has no ipvlan links"):
        await host.network("net", driver="ipvlan")


async def test_overlay_needs_a_cluster(host: Host) -> None:
    with pytest.raises(Unavailable, match="This node is not a swarm manager"):
        await host.network("net", driver="overlay")


@NEEDS_MACVLAN
async def test_neighbours_on_the_parent(host: Host, outside: Outside, holder: Callable[[str], int]) -> None:
    """Containers and another machine on the parent's wire reach each other; the host reaches neither way."""
    subnet = ".".join(outside.ip.split(".")[:3])
    subprocess.run(["ip", "address", "del", f"{outside.host_ip}/24", "dev", outside.link], check=True)
    await host.network("lan", f"{subnet}.0/24", driver="macvlan", parent=outside.link)
    one, two = await host.sandbox("one", "lan"), await host.sandbox("two", "lan")
    host.serve(two)
    host.servers.append(Echo(outside.path, 90, "machine"))
    first, second = (sandbox.record.endpoints[0].address for sandbox in (one, two))
    run_inside(outside.path, "ip", "address", "flush", "dev", "eth0")
    run_inside(outside.path, "ip", "address", "add", f"{subnet}.200/24", "dev", "eth0")
    assert ask(one.path, second, 80) == f"two {first}"
    assert ask(outside.path, second, 80) == f"two {subnet}.200"
    assert ask(one.path, f"{subnet}.200", 90) == f"machine {first}"
    assert is_shut(None, second, 80)
    held = Holder(holder(one.path), os.getpid())
    await host.service.disconnect("lan", "one", held)
    assert "eth0" not in run_inside(one.path, "ip", "-brief", "link")
    await host.service.connect("lan", "one", held, EndpointSettings())
    assert ask(one.path, second, 80).startswith("two ")


@NEEDS_MACVLAN
async def test_private_endpoints_do_not_reach_each_other(host: Host, outside: Outside) -> None:
    await host.network("lan", driver="macvlan", parent=outside.link, macvlan_mode="private")
    one, two = await host.sandbox("one", "lan"), await host.sandbox("two", "lan")
    host.serve(two)
    assert is_shut(one.path, two.record.endpoints[0].address, 80)


@NEEDS_MACVLAN
async def test_passthru_takes_the_parent_for_one_endpoint(host: Host, outside: Outside) -> None:
    await host.network("lan", driver="macvlan", parent=outside.link, macvlan_mode="passthru")
    with pytest.raises(Conflict, match="already using parent interface"):
        await host.network("other", driver="macvlan", parent=outside.link)
    await host.sandbox("one", "lan")
    with pytest.raises(SystemFault, match="cannot make the container's network"):
        await host.sandbox("two", "lan")


@NEEDS_MACVLAN
async def test_several_subnets_of_both_families(host: Host) -> None:
    ranges = [IPAMConfig("10.231.1.0/30"), IPAMConfig("10.231.2.0/24"), IPAMConfig("fd00:231::/64")]
    request = NetworkCreate(Name="lan", Driver="macvlan", IPAM=IPAM(Config=ranges), EnableIPv6=True)
    await host.service.create(request)
    first, second = await host.sandbox("one", "lan"), await host.sandbox("two", "lan")
    assert first.record.endpoints[0].address == "10.231.1.2"
    assert second.record.endpoints[0].address.startswith("10.231.2.")
    wanted = EndpointSettings(IPAMConfig=EndpointIPAMConfig("10.231.2.77", "fd00:231::77"))
    third = await host.sandbox("three", "lan", settings=wanted)
    assert third.addresses == ["10.231.2.77", "fd00:231::77"]


@NEEDS_MACVLAN
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"macvlan_mode": "nonsense"}, "requested macvlan mode 'nonsense' is not valid"),
        ({"parent": "lo"}, "loopback interface is not a valid parent link"),
        ({"parent": "a/b"}, "invalid parent"),
        ({"parent": "nosuch0"}, "there is no such link"),
        ({"parent": "nosuch0.10"}, "there is no such link"),
        ({"com.docker.network.driver.mtu": "1"}, "invalid MTU"),
    ],
)
async def test_options_that_are_refused(host: Host, options: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidParameter, match=said):
        await host.network("net", driver="macvlan", **options)


def shorten(outside: Outside) -> str:
    """Give the link to the other machine a name that leaves room for a VLAN's number."""
    short = outside.link[:9]
    subprocess.run(["ip", "link", "set", outside.link, "down"], check=True)
    subprocess.run(["ip", "link", "set", outside.link, "name", short, "up"], check=True)
    outside.link = short
    return short


@NEEDS_MACVLAN
@pytest.mark.skipif(kernel_has("vlan"), reason="the kernel has VLANs (802.1q)")
async def test_a_vlan_without_the_kernel_s_help(host: Host, outside: Outside) -> None:
    with pytest.raises(EngineError, match=r"kernel has no VLANs \(802\.1q\)"):
        await host.network("net", driver="macvlan", parent=f"{shorten(outside)}.10")


@NEEDS_VLAN
@pytest.mark.parametrize(
    "driver", [pytest.param("macvlan", marks=NEEDS_MACVLAN), pytest.param("ipvlan", marks=NEEDS_IPVLAN)]
)
async def test_vlans_of_a_link(host: Host, outside: Outside, driver: str) -> None:
    """Each network reaches the other machine in its own VLAN, and nothing untagged; its link goes with it."""
    short, octet = shorten(outside), secrets.randbelow(250)
    run_inside(outside.path, "ip", "address", "flush", "dev", "eth0")
    for number in (10, 20):
        vlan = f"eth0.{number}"
        run_inside(outside.path, "ip", "link", "add", "link", "eth0", "name", vlan, "type", "vlan", "id", str(number))
        run_inside(outside.path, "ip", "link", "set", vlan, "up")
        await host.network(f"net{number}", f"10.{number}.{octet}.0/24", driver=driver, parent=f"{short}.{number}")
    ten, twenty = await host.sandbox("ten", "net10"), await host.sandbox("twenty", "net20")
    for sandbox in (ten, twenty):
        host.serve(sandbox)

    def reach(interface: str, *reached: Sandbox) -> None:
        for number in (10, 20):
            run_inside(outside.path, "ip", "address", "add", f"10.{number}.{octet}.200/24", "dev", interface)
        for one in (ten, twenty):
            if one in reached:
                assert ask(outside.path, one.addresses[0], 80).startswith(f"{one.record.container_name} ")
            else:
                assert is_shut(outside.path, one.addresses[0], 80)
        run_inside(outside.path, "ip", "address", "flush", "dev", interface)

    reach("eth0.10", ten)
    reach("eth0.20", twenty)
    reach("eth0")
    assert is_shut(ten.path, twenty.addresses[0], 80)
    for number, name in ((10, "ten"), (20, "twenty")):
        assert os.path.exists(f"/sys/class/net/{short}.{number}")
        host.service.sandbox_release(name)
        await host.service.remove_network(f"net{number}")
        assert not os.path.exists(f"/sys/class/net/{short}.{number}")


@NEEDS_IPVLAN
@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
async def test_ipvlan_leads_out(host: Host, outside: Outside, mode: str) -> None:
    """In l2 by a gateway on the parent's wire; l3 and l3s are routed by the link, to its other networks, too."""
    octet, routed = secrets.randbelow(250), mode != "l2"
    for name, number in (("one", 33), ("two", 34)):
        subnet = f"10.{number}.{octet}.0/24"
        await host.network(name, subnet, driver="ipvlan", parent=outside.link, ipvlan_mode=mode)
        if routed:
            outside.route(subnet)
        else:
            gateway = host.service.store.get(name).gateway
            run_inside(outside.path, "ip", "address", "add", f"{gateway}/24", "dev", "eth0")
    first, second = await host.sandbox("first", "one"), await host.sandbox("second", "two")
    host.serve(second)
    host.servers.append(Echo(outside.path, 90, "machine"))
    parent = run_inside("/proc/self/ns/net", "cat", f"/sys/class/net/{outside.link}/address")
    for sandbox in (first, second):
        assert parent.strip() in run_inside(sandbox.path, "ip", "link", "show", "eth0")
        route = run_inside(sandbox.path, "ip", "route", "show", "default")
        assert ("via" in route) == (not routed), route
        assert ask(sandbox.path, outside.ip, 90) == f"machine {sandbox.addresses[0]}"
    assert (
        ask(outside.path, second.addresses[0], 80)
        == f"second {outside.ip if routed else host.service.store.get('two').gateway}"
    )
    assert is_shut(None, second.addresses[0], 80)
    if routed:
        assert ask(first.path, second.addresses[0], 80) == f"second {first.addresses[0]}"
