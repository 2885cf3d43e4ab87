"""The host's own firewall, in a network namespace with one of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Starts a service where the host's firewall is as the commands have made it, and prints what it logs.
START = """
import asyncio, logging, sys, tempfile
from pathlib import Path
from tests.system.networks.support import Host

async def main():
    host = Host(Path(tempfile.mkdtemp()))
    await host.start()
    await host.close()

logging.basicConfig(stream=sys.stdout)
asyncio.run(main())
"""
DOCKERS = "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy %s; }"


@pytest.mark.parametrize(("policy", "warns"), [("drop", True), ("accept", False)])
def test_forwarding_that_dockerd_refuses_is_told(policy: str, warns: bool) -> None:
    command = 'mount -t sysfs sysfs /sys; ip link set lo up; nft "$1"; exec "$2" -c "$3"'
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-ec", command, "sh", DOCKERS % policy, sys.executable, START],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("iptables -I DOCKER-USER -i dz" in done.stdout) == warns


# Has as many descriptors as an engine with thousands of published ports, and makes rules.
MANY_DESCRIPTORS = """
import os, resource, threading
from darse.linux.net.nft import NftError, Nftables, run_here

resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
nft = Nftables()
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(3000)]

def make(number):
    for _ in range(20):
        run_here(f"add table ip x{number}")

# Others take descriptors, also low ones, as soon as they are free.
others = threading.Thread(target=lambda: [os.close(os.open(os.devnull, os.O_RDONLY)) for _ in range(20000)])
makers = [threading.Thread(target=make, args=(number,)) for number in range(3)]
for thread in (others, *makers):
    thread.start()
for thread in (others, *makers):
    thread.join()
print(sorted(nft.run("list tables").split()))
print(nft.address() > 0)
"""


def test_rules_are_made_beside_thousands_of_descriptors() -> None:
    """The library ends the process that has its socket at 1024 or above: select(2)."""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", MANY_DESCRIPTORS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "['ip', 'ip', 'ip', 'table', 'table', 'table', 'x0', 'x1', 'x2']\nTrue\n", done.stderr
