"""macvlan on a link of the host; ipvlan and VLANs where the kernel has them, and what is said where it has not."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tests.system.networks.driver_suite import DriverSuite
from tests.system.networks.support import Echo, Host, Outside, ask, is_shut, run_inside

from darse.core.errors import Conflict, EngineError, InvalidParameter, SystemFault, Unavailable
from darse.linux.net.rtnetlink import Netlink
from darse.networks.drivers import Driver, IpvlanDriver, MacvlanDriver
from darse.networks.model import Holder, NetworkRecord, SubnetPool
from darse.wire.networks import IPAM, EndpointIPAMConfig, EndpointSettings, IPAMConfig, NetworkCreate


def kernel_has(kind: str) -> bool:
    """Whether this kernel has links of a kind."""
    if os.geteuid():
        return False
    netlink = Netlink()
    try:
        return netlink.has_kind(kind)
    finally:
        netlink.close()


NEEDS_MACVLAN = pytest.mark.skipif(not kernel_has("macvlan"), reason="the kernel has no macvlan")
NEEDS_IPVLAN = pytest.mark.skipif(not kernel_has("ipvlan"), reason="the kernel has no ipvlan")


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


@NEEDS_MACVLAN
async def test_a_vlan_of_a_link(host: Host, outside: Outside) -> None:
    short = outside.link[:9]
    subprocess.run(["ip", "link", "set", outside.link, "down"], check=True)
    subprocess.run(["ip", "link", "set", outside.link, "name", short, "up"], check=True)
    outside.link = short
    if not kernel_has("vlan"):
        with pytest.raises(EngineError, match=r"kernel has no VLANs \(802\.1q\)"):
            await host.network("net", driver="macvlan", parent=f"{short}.10")
        return
    await host.network("net", driver="macvlan", parent=f"{short}.10")
    assert os.path.exists(f"/sys/class/net/{short}.10")
    await host.service.remove_network("net")
    assert not os.path.exists(f"/sys/class/net/{short}.10")
