"""The pool of prepared namespaces, and what a start tells of itself."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from tests.support.waiting import wait_until
from tests.system.networks.support import Host, bridge_ports, run_inside

from darse.core import trace
from darse.networks.model import NameLookup
from darse.networks.pool import READY
from darse.wire.networks import EndpointSettings


async def full(host: Host) -> None:
    """Wait until the pool is."""
    async with asyncio.timeout(5):
        while len(host.service.pool) < READY:
            await asyncio.sleep(0.002)


async def test_starts_take_prepared_namespaces_and_the_pool_fills_again(host: Host) -> None:
    await full(host)
    for number in range(READY):
        await host.sandbox(f"c{number}")
    assert host.service.pool.statistics.taken == READY
    assert host.service.pool.statistics.made_on_demand == 0
    await full(host)


async def test_starts_on_named_networks_take_namespaces_that_have_a_name_servers_sockets(host: Host) -> None:
    await full(host)
    await host.network("net")
    await host.sandbox("first", "net")
    assert host.service.pool.statistics.made_on_demand == 1
    async with asyncio.timeout(5):
        while host.service.pool.ready_with_name_server < READY:
            await asyncio.sleep(0.002)
    taken = await host.sandbox("second", "net")
    assert taken.name_server
    assert "127.0.0.11" in run_inside(taken.path, "nft", "list", "ruleset")
    assert "127.0.0.11:" in run_inside(taken.path, "ss", "-Hlun")
    assert host.service.pool.statistics.made_on_demand == 1


async def test_a_prepared_namespace_has_what_containers_find_in_theirs(host: Host) -> None:
    await full(host)
    sandbox = await host.sandbox("c")
    assert run_inside(sandbox.path, "sysctl", "-n", "net.ipv4.ip_unprivileged_port_start").strip() == "0"
    assert run_inside(sandbox.path, "sysctl", "-n", "net.ipv4.ping_group_range").split() == ["0", "2147483647"]
    assert run_inside(sandbox.path, "sysctl", "-n", "net.ipv6.conf.default.disable_ipv6").strip() == "1"


async def test_more_starts_at_once_than_are_prepared(host: Host) -> None:
    await full(host)
    sandboxes = await asyncio.gather(*(host.sandbox(f"c{number}") for number in range(3 * READY)))
    assert len({sandbox.addresses[0] for sandbox in sandboxes}) == 3 * READY
    assert host.service.pool.statistics.made_on_demand == 2 * READY
    await full(host)


async def test_nothing_is_left_of_the_pool(host: Host) -> None:
    await full(host)
    bridge = host.service.store.get("bridge").bridge
    assert len(bridge_ports(bridge)) == READY
    descriptors = len(os.listdir("/proc/self/fd"))
    await host.stop()
    wait_until(lambda: not bridge_ports(bridge), what="the end of the prepared namespaces")
    assert len(os.listdir("/proc/self/fd")) <= descriptors - 2 * READY


async def test_a_start_that_is_given_up_gives_its_namespace_back(host: Host) -> None:
    await host.network("net")
    bridge = host.service.store.get("net").bridge
    descriptors = len(os.listdir("/proc/self/fd"))
    await full(host)
    for _ in range(20):
        starting = asyncio.create_task(host.sandbox("one", "net"))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        assert host.service.sandbox("one") is None
    # Each prepared namespace has two, those for named networks besides the sockets of a name server.
    ready = 2 * READY + 4 * READY
    async with asyncio.timeout(5):
        while bridge_ports(bridge) or len(os.listdir("/proc/self/fd")) > descriptors + ready:
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("stage", ["namespace", "interface", "name server"])
async def test_a_start_is_given_up_at_once_beside_a_thread_that_hangs(host: Host, stage: str) -> None:
    """The thread that goes into namespaces hangs before one is made, before its interface is, before its sockets."""
    await host.network("net", ipv6=stage == "interface")
    await full(host)
    if stage != "namespace":
        await host.sandbox("first", "net")
        async with asyncio.timeout(5):
            while host.service.pool.ready_with_name_server < READY:
                await asyncio.sleep(0.002)
    bridge = host.service.store.get("net").bridge
    ports, descriptors = bridge_ports(bridge), len(os.listdir("/proc/self/fd"))
    goes_on, hangs = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> None:
        loop.call_soon_threadsafe(hangs.set)
        goes_on.wait(30)

    hanging = asyncio.create_task(host.service._thread.run(hang))
    await hangs.wait()
    request = host.request("one", {"net": EndpointSettings()}, dns=NameLookup(servers=["192.0.2.53"]))
    try:
        starting = asyncio.create_task(host.service.sandbox_create(request))
        async with asyncio.timeout(5):
            while stage == "interface" and bridge_ports(bridge) == ports:
                await asyncio.sleep(0.002)
            while host.service.sandbox("one") is None or not host.service._thread._executor._jobs:
                await asyncio.sleep(0.002)
        assert not starting.done()
        starting.cancel()
        async with asyncio.timeout(2):
            await asyncio.gather(starting, return_exceptions=True)
        assert starting.cancelled()
        assert host.service.sandbox("one") is None
    finally:
        goes_on.set()
    await hanging
    async with asyncio.timeout(5):
        await full(host)
        while stage != "namespace" and host.service.pool.ready_with_name_server < READY:
            await asyncio.sleep(0.002)
        # Another READY of those with a name server's sockets at the most.
        while bridge_ports(bridge) != ports or len(os.listdir("/proc/self/fd")) > descriptors + 4 * READY:
            await asyncio.sleep(0.002)
    assert (await host.service.sandbox_create(request)).addresses


async def test_a_start_s_story(host: Host) -> None:
    await full(host)
    with trace.begin("start", "one") as operation:
        await host.sandbox("one")
    told = [" ".join(step.command) for step in operation.steps]
    assert told[0].startswith(f"ip netns add {trace.NETNS} ;")
    assert any(command.startswith("ip link add dv") for command in told), "; ".join(told)
    assert any(" address add " in command and " route replace default via " in command for command in told), "; ".join(
        told
    )
    await host.network("net")
    with trace.begin("start", "two") as operation:
        await host.sandbox("two", "net")
    kinds = [step.kind for step in operation.steps]
    assert kinds[0] == "namespace"
    assert "link" in kinds
