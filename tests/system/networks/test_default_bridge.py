"""Containers on the default bridge: what they have, whom they reach."""

from __future__ import annotations

import json

from tests.support.waiting import wait_until
from tests.system.networks.support import Echo, Host, Outside, ask, bridge_ports, inside, is_shut, run_inside


async def test_a_sandbox_has_address_route_and_hardware_address(host: Host) -> None:
    sandbox = await host.sandbox("one")
    network = host.service.store.get("bridge")
    links = {link["ifname"]: link for link in json.loads(run_inside(sandbox.path, "ip", "-j", "address"))}
    assert set(links) == {"lo", "eth0"}
    assert "UP" in links["lo"]["flags"]
    (address,) = links["eth0"]["addr_info"]
    endpoint = sandbox.record.endpoints[0]
    assert (address["local"], address["prefixlen"]) == (endpoint.address, network.pools[0].network.prefixlen)
    assert address["broadcast"] == str(network.pools[0].network.broadcast_address)
    assert (
        links["eth0"]["address"]
        == endpoint.mac
        == "02:42:" + ":".join(f"{int(octet):02x}" for octet in endpoint.address.split("."))
    )
    routes = json.loads(run_inside(sandbox.path, "ip", "-j", "route", "show", "default"))
    assert [route["gateway"] for route in routes] == [network.gateway]
    assert endpoint.link in bridge_ports(network.bridge)


async def test_none_is_a_loopback_that_works(host: Host) -> None:
    sandbox = await host.sandbox("one", "none")
    assert [link["ifname"] for link in json.loads(run_inside(sandbox.path, "ip", "-j", "link"))] == ["lo"]
    server = Echo(sandbox.path, 80)
    assert ask(sandbox.path, "127.0.0.1", 80) == "echo 127.0.0.1"
    server.close()


async def test_containers_reach_each_other_and_the_host_reaches_them(host: Host) -> None:
    one, two = await host.sandbox("one"), await host.sandbox("two")
    host.serve(one)
    host.serve(one, udp=True)
    address = one.addresses[0]
    assert ask(two.path, address, 80) == f"one {two.addresses[0]}"
    assert ask(two.path, address, 80, udp=True) == f"one {two.addresses[0]}"
    assert ask(None, address, 80).startswith("one ")


async def test_the_way_out_is_masqueraded(host: Host, outside: Outside) -> None:
    one = await host.sandbox("one")
    server = Echo(outside.path, 80, "internet")
    assert ask(one.path, outside.ip, 80) == f"internet {outside.host_ip}"
    server.close()


async def test_nobody_outside_reaches_what_is_not_published(host: Host, outside: Outside) -> None:
    one = await host.sandbox("one", ports={})
    host.serve(one)
    outside.route(str(host.service.store.get("bridge").subnet))
    assert is_shut(outside.path, one.addresses[0], 80)


async def test_a_released_sandbox_is_gone(host: Host) -> None:
    sandbox = await host.sandbox("one")
    link = sandbox.record.endpoints[0].link
    bridge = host.service.store.get("bridge").bridge
    host.service.sandbox_release("one")
    wait_until(lambda: link not in bridge_ports(bridge), what="the end of the link")
    assert host.service.sandbox("one") is None
    host.service.sandbox_release("one")
    host.service.sandbox_release("never was")


async def test_no_ipv6_address_of_its_own_making(host: Host) -> None:
    sandbox = await host.sandbox("one")
    assert "inet6" not in run_inside(sandbox.path, "ip", "address", "show", "eth0")


async def test_hardware_address_asked_for(host: Host) -> None:
    sandbox = await host.sandbox("one", mac="02:00:00:00:00:07")
    assert inside(sandbox.path, lambda: open("/proc/thread-self/net/dev").read())  # noqa: SIM115
    assert "02:00:00:00:00:07" in run_inside(sandbox.path, "ip", "link", "show", "eth0")
