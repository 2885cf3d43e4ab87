"""Who must not reach whom."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.system.networks.support import Echo, Host, Outside, ask, host_port, is_shut, run_inside

ICC = "com.docker.network.bridge.enable_icc"
FILTERS_BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


async def test_containers_of_different_networks_do_not_reach_each_other(host: Host) -> None:
    await host.network("net")
    one, two = await host.sandbox("one"), await host.sandbox("two", "net")
    host.serve(one)
    host.serve(two)
    assert is_shut(two.path, one.addresses[0], 80)
    assert is_shut(one.path, two.addresses[0], 80)
    assert ask(None, two.addresses[0], 80).startswith("two ")


async def test_containers_of_one_network_of_the_user_s_reach_each_other(host: Host, outside: Outside) -> None:
    await host.network("net", "10.213.7.0/24")
    one, two = await host.sandbox("one", "net"), await host.sandbox("two", "net")
    host.serve(one)
    assert one.addresses == ["10.213.7.2"]
    assert ask(two.path, one.addresses[0], 80) == f"one {two.addresses[0]}"
    internet = Echo(outside.path, 80, "internet")
    assert ask(two.path, outside.ip, 80) == f"internet {outside.host_ip}"
    internet.close()


async def test_an_internal_network_leads_nowhere(host: Host, outside: Outside) -> None:
    await host.network("inner", internal=True)
    one, two = await host.sandbox("one", "inner", ports=host_port(0)), await host.sandbox("two", "inner")
    host.serve(one)
    internet = Echo(outside.path, 80, "internet")
    assert ask(two.path, one.addresses[0], 80).startswith("one ")
    assert one.record.published == []
    assert run_inside(two.path, "ip", "route", "show", "default") == ""
    run_inside(two.path, "ip", "route", "add", "default", "via", host.service.store.get("inner").gateway)
    assert is_shut(two.path, outside.ip, 80)
    outside.route(host.service.store.get("inner").subnet)
    assert is_shut(outside.path, one.addresses[0], 80)
    internet.close()


async def without_icc(new_host: Callable[..., Awaitable[Host]]) -> None:
    host = await new_host(icc=False)
    one, two = await host.sandbox("one", ports=host_port(0)), await host.sandbox("two")
    host.serve(one)
    host_side = host.service.store.get("bridge").gateway
    assert is_shut(two.path, one.addresses[0], 80)
    assert ask(None, one.addresses[0], 80).startswith("one ")
    assert ask(two.path, host_side, one.record.published[0].host_port).startswith("one ")


async def test_without_inter_container_communication(new_host: Callable[..., Awaitable[Host]]) -> None:
    await without_icc(new_host)


async def test_containers_on_two_networks_reach_both(host: Host) -> None:
    await host.network("front")
    await host.network("back", internal=True)
    middle = await host.sandbox("middle", "back", "front")
    front, back = await host.sandbox("one", "front"), await host.sandbox("two", "back")
    host.serve(front)
    host.serve(back)
    assert ask(middle.path, front.addresses[0], 80).startswith("one ")
    assert ask(middle.path, back.addresses[0], 80).startswith("two ")
    assert [endpoint.network_name for endpoint in middle.record.endpoints] == ["front", "back"]


async def test_masquerading_can_be_switched_off(host: Host, outside: Outside) -> None:
    await host.network("plain", **{"com.docker.network.bridge.enable_ip_masquerade": "false"})
    one = await host.sandbox("one", "plain")
    internet = Echo(outside.path, 80, "internet")
    outside.route(host.service.store.get("plain").subnet)
    assert ask(one.path, outside.ip, 80) == f"internet {one.addresses[0]}"
    internet.close()


@pytest.mark.skipif(not FILTERS_BRIDGED.exists(), reason="the kernel has no br_netfilter")
def test_without_inter_container_communication_where_bridged_packets_are_not_filtered(tmp_path: Path) -> None:
    """The same in a network namespace of its own, which has this switch of its own."""
    test = f"{__file__}::test_without_inter_container_communication"
    command = (
        f"mount -t sysfs sysfs /sys && echo 0 >{FILTERS_BRIDGED} && exec python -m pytest -q -p no:cacheprovider {test}"
    )
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-ec", command.replace("python", f'"{__import__("sys").executable}"')],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_the_owner_s_rules_come_first_and_stay(host: Host, outside: Outside) -> None:
    number = 20000 + secrets.randbelow(10000)
    one = await host.sandbox("one", ports=host_port(number))
    host.serve(one)
    assert ask(outside.path, outside.host_ip, number) == f"one {outside.ip}"
    table = ("inet", f"{host.config.nft_table}-user")
    subprocess.run(["nft", "add", "rule", *table, "forward", "ip", "saddr", outside.ip, "drop"], check=True)
    try:
        assert is_shut(outside.path, outside.host_ip, number)
        await host.network("net")
        await host.stop()
        await host.start()
        listing = subprocess.run(["nft", "list", "table", *table], capture_output=True, text=True, check=True)
        assert f"ip saddr {outside.ip} drop" in listing.stdout
    finally:
        subprocess.run(["nft", "flush", "chain", *table, "forward"], check=True)
