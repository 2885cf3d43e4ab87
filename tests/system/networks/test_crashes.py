"""kill -9 at random instants of everything the network service does to the host."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time

import pytest
from tests.support.waiting import wait_until
from tests.system.networks.support import Host, bridge_ports

from darse.networks.definition import PREDEFINED

INSTANTS = 25

# Makes and removes networks and sandboxes for ever; the bridges' names begin as it is told. The last words are the
# driver, and whether its networks have IPv6.
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
    driver, ipv6 = sys.argv[4], sys.argv[5] == "ipv6"
    print("ready", flush=True)
    for number in itertools.count():
        name = f"net{number % 3}"
        options = {"com.docker.network.bridge.name": f"{sys.argv[3]}{number % 3}"} if driver == "bridge" else {}
        await host.network(name, driver=driver, ipv6=ipv6, **options)
        await asyncio.gather(
            host.sandbox("one", ports=host_port(0)), host.sandbox("two", "bridge", name), host.sandbox("three", name)
        )
        for container in ("one", "two", "three"):
            host.service.sandbox_release(container)
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


@pytest.mark.parametrize(
    ("driver", "family"), [("bridge", "ipv4"), ("bridge", "ipv6"), ("macvlan", "ipv4"), ("macvlan", "ipv6")]
)
async def test_nothing_is_left_whenever_the_engine_dies(host: Host, driver: str, family: str) -> None:
    chance = random.Random(os.getpid())
    prefix = f"crash{os.getpid() % 10000}n"
    default = host.service.store.get("bridge").bridge
    await host.stop()
    for _ in range(INSTANTS):
        victim = subprocess.Popen(
            [sys.executable, "-c", BUSY, str(host.root), str(host.config.exec_root), prefix, driver, family],
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
        parents = {f"dm-{record.id[:12]}" for record in service.store if record.driver == "macvlan"}
        assert aliased(host.instance) == parents
        for record in list(service.store):
            if record.name not in PREDEFINED:
                await service.remove_network(record.id)
        await host.stop()
        wait_until(lambda: not bridge_ports(default), what="the end of all links")
        assert not [link for link in os.listdir("/sys/class/net") if link.startswith(prefix)]
        assert aliased(host.instance) == set()
