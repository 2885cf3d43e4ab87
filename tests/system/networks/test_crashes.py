"""kill -9 at random instants of everything the network service does to the host."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys

import pytest
from tests.support.waiting import wait_until
from tests.system.networks.fake_plugin import FakePlugin
from tests.system.networks.support import Host, bridge_ports

from darse.networks.definition import PREDEFINED

INSTANTS = 6
MANY_INSTANTS = 200

# Makes and removes networks and sandboxes for ever, and connects and disconnects one that runs; the bridges' names
# begin as it is told. The last words are the driver, and whether its networks have IPv6, or addresses of the plugin.
BUSY = """
import asyncio, itertools, os, subprocess, sys
from pathlib import Path
import msgspec
from darse.core.filters import Filters
from darse.networks.model import Holder
from darse.wire.networks import IPAM, EndpointSettings, NetworkCreate
from tests.system.networks.fake_plugin import FakePlugin
from tests.system.networks.support import Host, host_port

driver, kind = sys.argv[4], sys.argv[5]

async def make(host, name, number):
    options = {"com.docker.network.bridge.name": f"{sys.argv[3]}{number % 3}"} if driver == "bridge" else {}
    if kind == "ipam":
        await host.service.create(NetworkCreate(Name=name, Driver=driver, IPAM=IPAM(Driver=driver)))
    else:
        await host.network(name, driver=driver, ipv6=kind == "ipv6", **options)

async def connect(host, container, name):
    # It ends with this process, as a container does whose end the next engine finds.
    path = host.service.sandbox(container) and sandboxes[container].path
    holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={path}", "sleep", "infinity"])
    home = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{holder.pid}/ns/net") == home:
        await asyncio.sleep(0.001)
    held = Holder(holder.pid, os.getpid())
    await host.service.sandbox_attached(container, holder.pid)
    await host.service.connect(name, container, held, EndpointSettings())
    await host.service.disconnect(name, container, held)
    holder.kill()
    holder.wait()

sandboxes = {}

async def main():
    host = Host(Path(sys.argv[1]))
    host.config = msgspec.structs.replace(host.config, exec_root=Path(sys.argv[2]))
    await host.start()
    print("ready", flush=True)
    for number in itertools.count():
        fixed = driver in ("host", "null")
        name = {"host": "host", "null": "none"}.get(driver, f"net{number % 3}")
        if not fixed:
            await make(host, name, number)
        made = await asyncio.gather(
            host.sandbox("one", ports=host_port(0)),
            *([] if fixed else [host.sandbox("two", "bridge", name)]),
            host.sandbox("three", name),
        )
        for sandbox in made:
            sandboxes[sandbox.record.container_name] = sandbox
        if not fixed:
            await connect(host, "one", name)
        for container in ("one", "two", "three"):
            host.service.sandbox_release(container)
        if not fixed:
            await host.service.remove_network(name)

asyncio.run(main())
"""


def elements(table: str) -> list[str]:
    """The published ports in the firewall."""
    listing = subprocess.run(["nft", "list", "table", "ip", table], capture_output=True, text=True, check=True).stdout
    return re.findall(r"[0-9]+ : [0-9.]+ \. [0-9]+", listing)


def aliased(instance: str) -> set[str]:
    """The links that macvlan's driver has made for an engine."""
    shown = subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout
    return {one["ifname"] for one in json.loads(shown) if one.get("ifalias") == f"darse {instance}"}


DRIVERS = [
    *[("bridge", "ipv4"), ("bridge", "ipv6"), ("macvlan", "ipv4"), ("macvlan", "ipv6")],
    *[("host", ""), ("null", ""), ("fake", "ipv4"), ("fake", "ipam")],
]


@pytest.mark.parametrize(("driver", "kind"), DRIVERS)
async def test_nothing_is_left_whenever_the_engine_dies(host: Host, driver: str, kind: str) -> None:
    await crash(host, driver, kind, INSTANTS)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("driver", "kind"), DRIVERS)
async def test_nothing_is_left_of_many_deaths(host: Host, driver: str, kind: str) -> None:
    await crash(host, driver, kind, MANY_INSTANTS)


async def crash(host: Host, driver: str, kind: str, instants: int) -> None:
    """Kill a busy engine at as many random instants, and look each time for what is left."""
    plugin = FakePlugin(host.config.exec_root / "plugins" / "fake.sock") if driver == "fake" else None
    chance = random.Random(os.getpid())
    prefix = f"crash{os.getpid() % 10000}n"
    default = host.service.store.get("bridge").bridge
    await host.stop()
    for _ in range(instants):
        await kill_at_an_instant(host, [prefix, driver, kind], chance.uniform(0, 0.12))
        service = await host.start()
        assert service.store.sandboxes == {}
        there = {link for link in os.listdir("/sys/class/net") if link.startswith(prefix)}
        assert there == {record.bridge for record in service.store if record.bridge != default and record.bridge}
        assert elements(host.config.nft_table) == []
        parents = {f"dm-{record.id[:12]}" for record in service.store if record.driver == "macvlan"}
        assert aliased(host.instance) == parents
        async with asyncio.timeout(10):
            while service.store.ended():
                await asyncio.sleep(0.005)
        for record in list(service.store):
            for pool in record.pools:
                used = service.inspect(record.id).Status.IPAM.Subnets.get(pool.subnet)  # type: ignore[union-attr]
                assert used is None or used.IPsInUse == 3 - (pool.version == 6), (record.name, used)
            if record.name not in PREDEFINED:
                await service.remove_network(record.id)
        if plugin is not None:
            assert plugin.left() == set(), plugin.calls[-12:]
            plugin.drop_unclaimed()
        await host.stop()
        wait_until(lambda: not bridge_ports(default), what="the end of all links")
        assert not [link for link in os.listdir("/sys/class/net") if link.startswith(prefix)]
        assert aliased(host.instance) == set()
    if plugin is not None:
        plugin.close()


async def kill_at_an_instant(host: Host, words: list[str], seconds: float) -> None:
    """Start a process that is busy, and kill it so many seconds after it is ready."""
    command = [sys.executable, "-c", BUSY, str(host.root), str(host.config.exec_root), *words]
    victim = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    assert victim.stderr is not None
    if victim.stdout.readline() != "ready\n":
        pytest.fail(victim.stderr.read())
    await asyncio.sleep(seconds)
    assert victim.poll() is None, victim.stderr.read()
    victim.kill()
    victim.wait()
