"""IPv6: addresses that are usable at once, ways out, published ports, and how networks are apart."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.system.networks.support import Echo, Host, Outside, ask, host_port, is_shut, run_inside

from darse.core.errors import InvalidParameter
from darse.linux import sysctl
from darse.networks.model import Holder
from darse.networks.options import GATEWAY_MODES, TRUSTED_INTERFACES
from darse.networks.sandboxes import Sandbox
from darse.wire.networks import IPAM, EndpointSettings, IPAMConfig, NetworkCreate


def ip6(sandbox: Sandbox, network: int = 0) -> str:
    """A sandbox's IPv6 address."""
    return sandbox.record.endpoints[network].address6


def port() -> int:
    """A port of the host that nobody is likely to have."""
    return 20000 + secrets.randbelow(10000)


async def test_an_address_is_usable_at_once(host: Host) -> None:
    await host.network("net", ipv6=True)
    one, two = await host.sandbox("one", "net"), await host.sandbox("two", "net")
    assert one.addresses == [one.record.endpoints[0].address, ip6(one)]
    shown = json.loads(run_inside(one.path, "ip", "-6", "-j", "address", "show", "eth0"))
    (given,) = [entry for entry in shown[0]["addr_info"] if entry["scope"] == "global"]
    assert given["local"] == ip6(one)
    assert "tentative" not in given
    host.serve(two, ip="::")
    assert ask(one.path, ip6(two), 80) == f"two {ip6(one)}"


async def test_without_ipv4(host: Host) -> None:
    await host.network("net", ipv4=False, ipv6=True)
    one, two = await host.sandbox("one", "net"), await host.sandbox("two", "net")
    assert one.addresses == [ip6(one)]
    host.serve(two, ip="::")
    assert ask(one.path, ip6(two), 80) == f"two {ip6(one)}"
    assert "default" not in run_inside(one.path, "ip", "-4", "route")
    record = host.service.inspect("net")
    assert (record.EnableIPv4, record.EnableIPv6, len(record.IPAM.Config or ())) == (False, True, 1)


async def test_networks_of_ipv4_get_none(host: Host) -> None:
    await host.network("six", ipv6=True)
    await host.network("four")
    one = await host.sandbox("one", "four", "six")
    assert run_inside(one.path, "ip", "-6", "-o", "address", "show", "eth0") == ""
    assert "default" in run_inside(one.path, "ip", "-6", "route")


def serve_outside(host: Host, outside: Outside) -> None:
    """Have a server on the other machine."""
    host.servers.append(Echo(outside.path, 90, "outer", ip="::"))


async def test_containers_get_out_translated(host: Host, outside: Outside) -> None:
    await host.network("net", ipv6=True)
    one = await host.sandbox("one", "net")
    serve_outside(host, outside)
    assert ask(one.path, outside.ip6, 90) == f"outer {outside.host_ip6}"


async def test_networks_are_apart(host: Host) -> None:
    await host.network("net", ipv6=True)
    await host.network("other", ipv6=True)
    one, two = await host.sandbox("one", "net"), await host.sandbox("two", "other")
    host.serve(two, ip="::")
    assert is_shut(one.path, ip6(two), 80)


async def test_internal_networks_lead_nowhere(host: Host, outside: Outside) -> None:
    await host.network("net", internal=True, ipv6=True)
    one, two = await host.sandbox("one", "net"), await host.sandbox("two", "net")
    host.serve(two, ip="::")
    serve_outside(host, outside)
    assert ask(one.path, ip6(two), 80) == f"two {ip6(one)}"
    assert is_shut(one.path, outside.ip6, 90)


@pytest.mark.parametrize("to", ["::1", "bridge", "127.0.0.1"])
async def test_a_published_port_from_the_host(host: Host, to: str) -> None:
    await host.network("net", ipv6=True)
    number = port()
    one = await host.sandbox("one", "net", ports=host_port(number))
    host.serve(one)
    host.serve(one, ip="::")
    record = host.service.store.get("net")
    address = {"bridge": record.pools[1].gateway}.get(to, to)
    assert ask(None, address, number).startswith("one ")


@pytest.mark.parametrize("udp", [False, True])
async def test_a_port_published_on_the_loopback_only(host: Host, outside: Outside, *, udp: bool) -> None:
    """On two networks: the kernel has a route to ::1 by the bridge of each."""
    number = port()
    for name in ("net", "other"):
        await host.network(name, ipv6=True)
        ports = host_port(number, "::1", "udp" if udp else "tcp")
        one = await host.sandbox(name, name, ports=ports)
        host.serve(one, udp=udp, ip=ip6(one))
        assert ask(None, "::1", number, udp=udp).startswith(f"{name} ")
        assert is_shut(None, outside.host_ip6, number, udp=udp)
        assert is_shut(outside.path, outside.host_ip6, number, udp=udp)
        host.service.sandbox_release(name)
        assert is_shut(None, "::1", number, udp=udp)


async def test_the_loopback_is_reached_after_others_deleted_the_bridge(
    host: Host, holder: Callable[[str], int]
) -> None:
    await host.network("net", ipv6=True)
    number = port()
    one = await host.sandbox("one", "net", ports=host_port(number, "::1"))
    host.serve(one, ip="::")
    host.running = {"one": holder(one.path)}
    subprocess.run(["ip", "link", "delete", host.service.store.get("net").bridge], check=True)
    deadline = time.monotonic() + 5
    while is_shut(None, "::1", number):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_no_container_reaches_the_hosts_loopback(host: Host) -> None:
    """Neither ports published there, nor programs of the host, whatever a container sends to its gateway."""
    await host.network("net", ipv6=True)
    number, own = port(), port()
    one, two = await host.sandbox("one", "net", ports=host_port(number, "::1")), await host.sandbox("two", "net")
    host.serve(one, ip="::")
    host.servers.append(Echo(None, own, "secret", ip="::1"))
    gateway = host.service.store.get("net").pools[1].gateway
    run_inside(two.path, "ip", "-6", "route", "add", "::1/128", "via", gateway, "dev", "eth0", "metric", "1")
    run_inside(two.path, "ip", "-6", "address", "delete", "::1/128", "dev", "lo")
    for to in ("::1", gateway):
        for number_ in (number, own):
            assert is_shut(two.path, to, number_)


async def test_a_published_port_from_elsewhere(host: Host, outside: Outside) -> None:
    await host.network("net", ipv6=True)
    await host.network("other", ipv6=True)
    number = port()
    one = await host.sandbox("one", "net", ports=host_port(number))
    two, three = await host.sandbox("two", "net"), await host.sandbox("three", "other")
    host.serve(one, ip="::")
    assert ask(outside.path, outside.host_ip6, number) == f"one {outside.ip6}"
    outside.route(host.service.store.get("net").pools[1].subnet)
    assert is_shut(outside.path, ip6(one), 80)
    for path in (one.path, two.path, three.path):
        assert ask(path, outside.host_ip6, number).startswith("one ")
    host.service.sandbox_release("one")
    assert is_shut(outside.path, outside.host_ip6, number)


@pytest.mark.parametrize("mtu", [1500, 1279])
async def test_ports_of_a_bridge_have_no_addresses_of_their_own(host: Host, mtu: int) -> None:
    """The kernel would look for another who has each, and have routes of each in the way of every change of a link."""
    await host.network("net", ipv6=mtu > 1279, **{"com.docker.network.driver.mtu": str(mtu)})
    one = await host.sandbox("one", "net")
    link = one.record.endpoints[0].link
    assert "inet6" not in run_inside("/proc/self/ns/net", "ip", "-o", "address", "show", link)
    assert "UP" in run_inside("/proc/self/ns/net", "ip", "-o", "link", "show", link)


async def test_udp_of_both_families(host: Host, outside: Outside) -> None:
    await host.network("net", ipv6=True)
    number = port()
    one = await host.sandbox("one", "net", ports=host_port(number, protocol="udp"))
    host.serve(one, udp=True)
    host.serve(one, udp=True, ip=ip6(one))
    assert ask(outside.path, outside.host_ip6, number, udp=True) == f"one {outside.ip6}"
    assert ask(outside.path, outside.host_ip, number, udp=True) == f"one {outside.ip}"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("mode", "open_", "shut"),
    [("nat", False, False), ("nat-unprotected", True, True), ("routed", True, False)],
)
async def test_gateway_modes(host: Host, outside: Outside, version: int, mode: str, open_: bool, shut: bool) -> None:
    """Reached directly at the container's address: its published port, and another one."""
    await host.network("net", ipv6=True, **{GATEWAY_MODES[version]: mode})
    number = port()
    one = await host.sandbox("one", "net", ports=host_port(number))
    address = ip6(one) if version == 6 else one.record.endpoints[0].address
    for at in (80, 81):
        host.serve(one, at, ip=address)
    outside.route(host.service.store.get("net").pools[0 if version == 4 else 1].subnet)
    to = outside.host_ip6 if version == 6 else outside.host_ip
    mine = outside.ip6 if version == 6 else outside.ip
    for ip, asked, leads in ((address, 80, open_), (address, 81, shut), (to, number, mode != "routed")):
        if leads:  # however long it takes, beside other tests
            assert ask(outside.path, ip, asked) == f"one {mine}"
        else:
            assert is_shut(outside.path, ip, asked)


async def test_trusted_interfaces_reach_published_ports_directly(host: Host, outside: Outside) -> None:
    await host.network("net", ipv6=True, **{TRUSTED_INTERFACES: outside.link})
    one = await host.sandbox("one", "net", ports=host_port(port()))
    host.serve(one)
    host.serve(one, 81)
    outside.route(host.service.store.get("net").subnet)
    assert ask(outside.path, one.record.endpoints[0].address, 80) == f"one {outside.ip}"
    assert is_shut(outside.path, one.record.endpoints[0].address, 81)


async def test_isolated_networks_have_no_address_on_the_host(host: Host) -> None:
    with pytest.raises(InvalidParameter, match="can only be used for an internal network"):
        await host.network("net", ipv6=True, **{GATEWAY_MODES[6]: "isolated"})
    both = {GATEWAY_MODES[4]: "isolated", GATEWAY_MODES[6]: "isolated"}
    await host.network("net", internal=True, ipv6=True, **both)
    bridge = host.service.store.get("net").bridge
    assert "global" not in run_inside("/proc/self/ns/net", "ip", "-o", "address", "show", bridge)
    one, two = await host.sandbox("one", "net"), await host.sandbox("two", "net")
    host.serve(two, ip="::")
    assert ask(one.path, ip6(two), 80) == f"two {ip6(one)}"


async def test_ports_follow_to_a_network_of_other_families(
    host: Host, holder: Callable[[str], int], outside: Outside
) -> None:
    await host.network("four")
    await host.network("both", ipv6=True)
    number = port()
    one = await host.sandbox("one", "four", ports=host_port(number))
    host.serve(one)
    host.serve(one, ip="::")
    held = Holder(holder(one.path), os.getpid())
    gateway = host.service.store.get("four").pools[0].gateway
    # By the relay: the engine of this test has its turn before somebody asks.
    await host.service._mapper.relay.statistics()
    assert ask(outside.path, outside.host_ip6, number) == f"one {gateway}"
    await host.service.connect("both", "one", held, EndpointSettings())
    assert ask(outside.path, outside.host_ip6, number) == f"one {outside.ip6}"
    await host.service.disconnect("four", "one", held)
    assert ask(outside.path, outside.host_ip, number) == f"one {outside.ip}"
    assert ask(outside.path, outside.host_ip6, number) == f"one {outside.ip6}"
    await host.service.disconnect("both", "one", held)
    assert is_shut(outside.path, outside.host_ip6, number)


async def test_what_others_take_away_comes_back(host: Host) -> None:
    await host.network("net", ipv6=True)
    record = host.service.store.get("net")
    gateway = record.pools[1].gateway
    table = ("nft", "list", "table", "ip6", host.config.nft_table)

    async def back(shown: tuple[str, ...], text: str) -> None:
        deadline = time.monotonic() + 3
        while text not in subprocess.run(shown, capture_output=True, text=True, check=False).stdout:
            assert time.monotonic() < deadline, text
            await asyncio.sleep(0.02)

    subprocess.run(["ip", "address", "del", f"{gateway}/64", "dev", record.bridge], check=True)
    await back(("ip", "-6", "address", "show", record.bridge), gateway)
    subprocess.run(["nft", "delete", "table", "ip6", host.config.nft_table], check=True)
    await back(table, record.pools[1].subnet)
    subprocess.run(["nft", "flush", "chain", "ip6", host.config.nft_table, "forward"], check=True)
    await back(table, "@to_bridge")


async def test_forwarding_that_the_first_network_switches_on_leaves_internal_ones_alone(host: Host) -> None:
    await host.network("inner", internal=True, ipv6=True)
    await host.network("net", ipv6=True)
    bridge = host.service.store.get("inner").bridge
    assert sysctl.read(f"net/ipv6/conf/{bridge}/forwarding") == "0"
    assert sysctl.read("net/ipv6/conf/all/forwarding") == "1"


async def test_the_default_bridge(new_host: Callable[..., Awaitable[Host]]) -> None:
    host = await new_host(ipv6=True, fixed_cidr_v6="fd00:247::/64")
    one, two = await host.sandbox("one"), await host.sandbox("two")
    assert ip6(one).startswith("fd00:247::")
    host.serve(two, ip="::")
    assert ask(one.path, ip6(two), 80) == f"two {ip6(one)}"
    await host.stop()
    await host.start()
    assert host.service.store.get("bridge").pools[1].subnet == "fd00:247::/64"


async def test_counts_of_a_large_subnet(host: Host) -> None:
    request = NetworkCreate(Name="net", EnableIPv6=True, IPAM=IPAM(Config=[IPAMConfig("fd00:248::/48")]))
    await host.service.create(request)
    shown = msgspec.json.decode(msgspec.json.encode(host.service.inspect("net")))
    assert shown["Status"]["IPAM"]["Subnets"]["fd00:248::/48"] == {
        "IPsInUse": 2,
        "DynamicIPsAvailable": 2**64 - 1,
    }
