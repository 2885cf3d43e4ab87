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
