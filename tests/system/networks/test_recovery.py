"""What the next engine finds, after the last one ended at any instant."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest
from tests.support.ports import free_port
from tests.support.waiting import wait_until
from tests.system.networks.support import Host, ask, bridge_ports, host_port, inside, is_shut

from darse.core.errors import Conflict
from darse.linux.proc.process import parent_of
from darse.networks.model import Holder
from darse.networks.pool import READY

# Starts a service on the given root, makes two sandboxes, lets a process of each hold it, says so, and waits.
VICTIM = """
import asyncio, subprocess, sys
from pathlib import Path
from tests.system.networks.support import Host, host_port
import msgspec

async def main():
    host = Host(Path(sys.argv[1]))
    host.config = msgspec.structs.replace(host.config, exec_root=Path(sys.argv[2]))
    await host.start()
    await host.network("net")
    holders = {}
    for name in ("one", "two"):
        sandbox = await host.sandbox(name, ports=host_port(int(sys.argv[3]) + len(host.service.store.sandboxes)))
        holder = subprocess.Popen(["nsenter", f"--net={sandbox.path}", "sleep", "infinity"], stdout=subprocess.DEVNULL)
        await asyncio.sleep(0)
        holders[name] = holder.pid
        print(holder.pid, flush=True)
    sys.stdin.readline()
    for name, pid in holders.items():
        await host.service.sandbox_attached(name, pid)
        host.service.sandbox_started(name)
    await asyncio.sleep(0)
    while len(host.service.pool) < 4:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_after_a_crash_the_living_are_kept_and_the_dead_forgotten(host: Host) -> None:
    bridge = host.service.store.get("bridge").bridge
    await host.stop()
    wait_until(lambda: not bridge_ports(bridge), what="the end of the prepared namespaces")
    port = free_port()
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(host.root), str(host.config.exec_root), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdin is not None
    assert victim.stdout is not None
    pids = [int(victim.stdout.readline()) for _ in range(2)]
    try:
        home = os.readlink("/proc/self/ns/net")
        wait_until(lambda: all(os.readlink(f"/proc/{pid}/ns/net") != home for pid in pids), what="two containers")
        victim.stdin.write("\n")
        victim.stdin.flush()
        assert victim.stdout.readline() == "ready\n"
        assert len(bridge_ports(bridge)) == 6
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        wait_until(lambda: len(bridge_ports(bridge)) == 2, what="the end of the pool with its engine")
        os.kill(pids[1], signal.SIGKILL)
        wait_until(lambda: len(bridge_ports(bridge)) == 1, what="the end of the second container's link")
        wait_until(lambda: not listens_ipv6(port + 1), what="the relay, which gives its port back without an engine")

        host.running = {"one": pids[0]}
        service = await host.start()
        assert len(service.store.sandboxes) == 1
        record = service.sandbox("one")
        assert record is not None
        assert service.inspect("net").Name == "net"
        path = f"/proc/{pids[0]}/ns/net"
        host.servers.append(_echo(path))
        assert ask(None, "127.0.0.1", record.published[0].host_port).startswith("one ")
        assert is_shut(None, "127.0.0.1", port + 1)
        third = await host.sandbox("three", ports=host_port(port + 1))
        assert third.addresses[0] not in (record.endpoints[0].address,)
        service.sandbox_release("three")
        await service.disconnect("bridge", "one", Holder(pids[0], parent_of(pids[0]) or 0))
        record = service.sandbox("one")
        assert record is not None
        assert record.endpoints == []
        assert "eth0" not in inside(path, lambda: open("/proc/thread-self/net/dev").read())  # noqa: SIM115
    finally:
        victim.kill()
        victim.wait()
        for pid in pids:
            subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)


def listens_ipv6(port: int) -> bool:
    """Whether a program has a TCP port of all IPv6 addresses."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(("::", port))
        except OSError:
            return True
    return False


def _echo(path: str):  # type: ignore[no-untyped-def]
    from tests.system.networks.support import Echo

    return Echo(path, 80, "one")


async def test_starting_again_changes_nothing(host: Host, holder: Callable[[str], int]) -> None:
    one = await host.sandbox("one", ports=host_port(0))
    host.serve(one)
    pid = holder(one.path)
    host.running = {"one": pid}
    for _ in range(3):
        await host.stop()
        await host.start()
    assert ask(None, "127.0.0.1", one.record.published[0].host_port).startswith("one ")
    assert (await host.sandbox("two")).addresses != one.addresses


async def test_another_bip_waits_for_the_containers_that_run(
    host: Host, holder: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    one = await host.sandbox("one")
    host.serve(one)
    host.running = {"one": holder(one.path)}
    await host.stop()
    before, host.config = host.config, msgspec.structs.replace(host.config, bip="10.222.0.1/24")
    await host.start()
    assert "count from the next start without running containers" in caplog.text
    assert ask(None, one.addresses[0], 80).startswith("one ")
    host.service.sandbox_release("one")
    await host.stop()
    host.running = {}
    await host.start()
    assert host.service.store.get("bridge").subnet == "10.222.0.0/24"
    host.config = before


async def test_no_default_bridge_waits_for_the_containers_that_run(host: Host, holder: Callable[[str], int]) -> None:
    one = await host.sandbox("one", ports=host_port(0))
    host.serve(one)
    host.running = {"one": holder(one.path)}
    bridge = host.service.store.get("bridge").bridge
    await host.stop()
    host.config = msgspec.structs.replace(host.config, bridge="none")
    await host.start()
    assert ask(None, one.addresses[0], 80).startswith("one ")
    host.service.sandbox_release("one")
    await host.stop()
    host.running = {}
    await host.start()
    assert host.service.default_bridge() is None
    assert not os.path.exists(f"/sys/class/net/{bridge}")


async def test_a_deleted_bridge_comes_back_with_its_ports(host: Host, holder: Callable[[str], int]) -> None:
    one = await host.sandbox("one")
    host.serve(one)
    host.running = {"one": holder(one.path)}
    await host.stop()
    bridge = host.service.store.get("bridge").bridge
    subprocess.run(["ip", "link", "delete", bridge], check=True)
    await host.start()
    assert ask(None, one.addresses[0], 80).startswith("one ")


async def test_a_bridge_that_is_gone_is_told_and_one_that_was_made_anew_is_used(host: Host) -> None:
    """Before the engine has heard of either: it makes the bridge anew itself as soon as it does."""
    async with asyncio.timeout(5):
        while len(host.service.pool) < READY:
            await asyncio.sleep(0.002)
    await host.service.repair.close()
    network = host.service.store.get("bridge")
    subprocess.run(["ip", "link", "delete", network.bridge], check=True)
    with pytest.raises(Conflict, match=f"bridge {network.bridge} of network bridge was deleted"):
        await host.sandbox("one")
    assert host.service.sandbox("one") is None
    subprocess.run(["ip", "link", "add", network.bridge, "up", "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", f"{network.gateway}/16", "dev", network.bridge], check=True)
    one = await host.sandbox("one")
    host.serve(one)
    assert ask(None, one.addresses[0], 80).startswith("one ")


async def test_a_network_that_cannot_be_had_keeps_no_other_from_starting(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    await host.network("net")
    bridge = host.service.store.get("net").bridge
    await host.service.remove_networks_from_host()
    await host.stop()
    subprocess.run(["ip", "link", "add", bridge, "type", "veth", "peer", "name", f"p{bridge}"[:15]], check=True)
    try:
        await host.start()
        assert "network net is not on the host" in caplog.text
        await host.sandbox("one")
        with pytest.raises(Conflict, match="is no bridge"):
            await host.sandbox("two", "net")
        await host.service.remove_network("net")
        assert os.path.exists(f"/sys/class/net/{bridge}")
    finally:
        subprocess.run(["ip", "link", "delete", bridge], check=True)


async def test_a_network_whose_making_was_interrupted_is_there_or_not(host: Host) -> None:
    """Only its row was written: the start makes the bridge."""
    await host.network("net")
    bridge = host.service.store.get("net").bridge
    subprocess.run(["ip", "link", "delete", bridge], check=True)
    await host.stop()
    await host.start()
    assert os.path.exists(f"/sys/class/net/{bridge}")
