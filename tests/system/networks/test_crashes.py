"""kill -9 at random instants of everything the network service does to the host."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time

import pytest
from tests.support.waiting import wait_until
from tests.system.networks.support import Host, bridge_ports

INSTANTS = 25

# Makes and removes networks and sandboxes for ever; the bridges' names begin as it is told.
BUSY = """
import asyncio, itertools, sys
from pathlib import Path
import msgspec
from darse.core.filters import Filters
from tests.system.networks.support import Host, host_port

async def main():
    host = Host(Path(sys.argv[1]))
    host.config = msgspec.structs.replace(host.config, exec_root=Path(sys.argv[2]))
    await host.start()
    print("ready", flush=True)
    for number in itertools.count():
        name = f"net{number % 3}"
        await host.network(name, **{"com.docker.network.bridge.name": f"{sys.argv[3]}{number % 3}"})
        await asyncio.gather(
            host.sandbox("one", ports=host_port(0)), host.sandbox("two", "bridge", name), host.sandbox("three", name)
        )
        for container in ("one", "two", "three"):
            host.service.sandbox_release(container)
        await host.service.remove(name)

asyncio.run(main())
"""


def elements(table: str) -> list[str]:
    """The published ports in the firewall."""
    listing = subprocess.run(["nft", "list", "table", "ip", table], capture_output=True, text=True, check=True).stdout
    return re.findall(r"[0-9]+ : [0-9.]+ \. [0-9]+", listing)


async def test_nothing_is_left_whenever_the_engine_dies(host: Host) -> None:
    chance = random.Random(os.getpid())
    prefix = f"crash{os.getpid() % 10000}n"
    default = host.service.store.get("bridge").bridge
    await host.stop()
    for _ in range(INSTANTS):
        victim = subprocess.Popen(
            [sys.executable, "-c", BUSY, str(host.root), str(host.config.exec_root), prefix],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert victim.stdout is not None
        assert victim.stderr is not None
        if victim.stdout.readline() != "ready\n":
            pytest.fail(victim.stderr.read())
        time.sleep(chance.uniform(0, 0.06))
        assert victim.poll() is None, victim.stderr.read()
        victim.kill()
        victim.wait()
        service = await host.start()
        assert service.store.sandboxes == {}
        there = {link for link in os.listdir("/sys/class/net") if link.startswith(prefix)}
        assert there == {record.bridge for record in service.store if record.bridge != default and record.bridge}
        assert elements(host.config.nft_table) == []
        for record in list(service.store):
            if record.bridge not in ("", default):
                await service.remove(record.id)
        await host.stop()
        wait_until(lambda: not bridge_ports(default), what="the end of all links")
        assert not [link for link in os.listdir("/sys/class/net") if link.startswith(prefix)]
