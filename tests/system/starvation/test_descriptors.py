"""An engine without a descriptor left: clients are refused in words, exits are seen, nothing spins."""

from __future__ import annotations

import os
import resource
import time

import pytest
from tests.support.engine import BUSYBOX
from tests.support.http import connect
from tests.support.waiting import wait_until

_LIMIT = 192


@pytest.fixture
def small(new_engine):
    """An engine that may have few descriptors."""
    return new_engine(within=("prlimit", f"--nofile={_LIMIT}:{_LIMIT}"))


def _cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_connections_leave_descriptors_for_the_engine(small):
    small.docker("run", "-d", "--name", "ends", "-i", BUSYBOX, "sh", "-c", "sleep 1; exit 7").ok()
    idle = [connect(str(small.socket)) for _ in range(_LIMIT + 50)]
    answer = small.docker("ps", timeout=15)
    assert answer.status == 1
    assert "too many open files" in answer.err
    before, begun = _cpu_seconds(small.pid), time.monotonic()
    time.sleep(2)  # a loop that spins would use all of it
    assert _cpu_seconds(small.pid) - before < 0.5 * (time.monotonic() - begun)
    for one in idle:
        one.close()
    wait_until(lambda: small.docker("version").status == 0, what="an engine that answers")
    state = small.api("GET", "/containers/ends/json").json()["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 7)
    assert small.docker("run", "--rm", BUSYBOX, "echo", "well").ok().line == "well"
    assert "Traceback" not in small.log(1 << 20)


def test_ports_leave_descriptors_for_the_engine(small):
    small.docker("run", "-d", "--name", "wide", "-p", "21000-21399:1000-1399", BUSYBOX, "sleep", "100").ok()
    assert small.docker("exec", "wide", "echo", "hi").ok().line == "hi"
    assert small.docker("run", "--rm", BUSYBOX, "echo", "well").ok().line == "well"
    used = len(os.listdir(f"/proc/{small.pid}/fd"))
    assert used < _LIMIT - 48
    refused = small.docker("run", "--rm", "-p", "21399:1", BUSYBOX, "true")
    assert "port is already allocated" in refused.err


@pytest.mark.heavy
def test_twenty_thousand_ports(new_engine):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft <= hard
    # So many elements of nftables' maps are one transaction: half a second in which the engine does nothing else.
    engine = new_engine("--debug-loop-stalls=2000")
    engine.docker(
        "run", "-d", "--name", "wide", "-p", "20000-39999:20000-39999", BUSYBOX, "sleep", "1000", timeout=300
    ).ok()
    assert engine.docker("run", "--rm", BUSYBOX, "echo", "well").ok().line == "well"
    engine.docker("rm", "-f", "wide", timeout=300).ok()
