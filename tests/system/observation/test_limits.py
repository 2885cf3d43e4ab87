"""Every limit of the API, read back from the kernel's files; and what a container without memory tells."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Client, Engine, docker_program
from tests.support.waiting import wait_until
from tests.system.observation.support import limit, run

MIB = 1 << 20


def disk() -> str:
    """A block device of this host that has a disk behind it: limits name such ones."""
    for name in sorted(os.listdir("/sys/class/block")):
        if Path(f"/sys/class/block/{name}/device").exists() and Path(f"/dev/{name}").is_block_device():
            return f"/dev/{name}"
    pytest.skip("this host shows no disk in /dev")


@pytest.mark.parametrize(
    ("options", "v1", "v2", "expected"),
    [
        ("-m 64m", "memory/memory.memsw.limit_in_bytes", "memory.swap.max", {str(128 * MIB), str(64 * MIB)}),
        (
            "-m 64m --memory-swap 96m",
            "memory/memory.memsw.limit_in_bytes",
            "memory.swap.max",
            {str(96 * MIB), str(32 * MIB)},
        ),
        (
            "-m 64m --memory-swap -1",
            "memory/memory.memsw.limit_in_bytes",
            "memory.swap.max",
            {"9223372036854771712", "max"},
        ),
        ("--memory-reservation 32m", "memory/memory.soft_limit_in_bytes", "memory.low", {str(32 * MIB)}),
        ("--cpu-period 50000 --cpu-quota 25000", "cpu/cpu.cfs_quota_us", "cpu.max", {"25000", "25000 50000"}),
        ("--cpus 1.5", "cpu/cpu.cfs_quota_us", "cpu.max", {"150000", "150000 100000"}),
        ("--cpuset-mems 0", "cpuset/cpuset.mems", "cpuset.mems", {"0"}),
        ("--pids-limit -1", "pids/pids.max", "pids.max", {"max"}),
    ],
)
def test_a_limit_is_in_force(engine: Engine, options: str, v1: str, v2: str, expected: set[str]) -> None:
    assert limit(run(engine, "limited", *options.split()), v1, v2) in expected


@pytest.mark.parametrize(
    ("flag", "value", "v1", "v2"),
    [
        ("--device-read-bps", "1mb", "read_bps", "rbps=1048576"),
        ("--device-write-bps", "2mb", "write_bps", "wbps=2097152"),
        ("--device-read-iops", "100", "read_iops", "riops=100"),
        ("--device-write-iops", "200", "write_iops", "wiops=200"),
    ],
)
def test_rates_of_block_devices(engine: Engine, flag: str, value: str, v1: str, v2: str) -> None:
    device = disk()
    number = os.stat(device).st_rdev
    found = limit(run(engine, "slow", flag, f"{device}:{value}"), f"blkio/blkio.throttle.{v1}_device", "io.max")
    line = next(line for line in found.splitlines() if line.startswith(f"{os.major(number)}:{os.minor(number)} "))
    assert line.split()[1] == v2.partition("=")[2] or v2 in line.split()


def test_rates_of_block_devices_are_updated(engine: Engine) -> None:
    """A list replaces what is set, an empty one takes it away, and what is not named stays; also at the next start."""
    device = disk()
    number = f"{os.major(os.stat(device).st_rdev)}:{os.minor(os.stat(device).st_rdev)}"
    container = run(engine, "slow", "--device-read-bps", f"{device}:1mb", "--device-write-iops", f"{device}:7")

    def update(body: dict[str, Any]) -> None:
        answer = engine.api("POST", "/v1.55/containers/slow/update", body)
        assert (answer.status, answer.json()) == (200, {"Warnings": []})

    def rates() -> tuple[str, str]:
        """The rates for reads in bytes and for writes in operations, as the kernel has them."""
        files = [limit(container, f"blkio/blkio.throttle.{one}_device", "io.max") for one in ("read_bps", "write_iops")]
        words = [dict(line.split(" ", 1) for line in text.splitlines()).get(number, "") for text in files]
        named = [dict(word.split("=") for word in one.split() if "=" in word) for one in words]
        return named[0].get("rbps", words[0]), named[1].get("wiops", words[1])

    assert rates() == ("1048576", "7")
    update({"BlkioDeviceReadBps": [{"Path": device, "Rate": 2 << 20}], "BlkioDeviceWriteIOps": None})
    assert rates() == ("2097152", "7")
    update({"BlkioDeviceReadBps": [], "PidsLimit": 9})
    assert rates() in (("", "7"), ("max", "7"))
    host = engine.api("GET", "/containers/slow/json").json()["HostConfig"]
    assert host["BlkioDeviceReadBps"] is None
    assert host["BlkioDeviceWriteIOps"] == [{"Path": device, "Rate": 7}]
    refused = engine.api("POST", "/v1.55/containers/slow/update", {"BlkioDeviceReadBps": [{"Path": "/dev/zero"}]})
    assert (refused.status, "is not a block device" in refused.message) == (400, True)


def test_what_only_version_1_has(engine: Engine) -> None:
    """On version 2 they are discarded with docker's warnings."""
    done = engine.darse(
        *("run", "-d", "--name", "old", "-m", "64m", "--memory-swappiness", "13", "--oom-kill-disable"),
        *(BUSYBOX, "sleep", "1000"),
    ).ok()
    if engine.api("GET", "/info").json()["CgroupVersion"] == "2":
        assert "memory swappiness capabilities or the cgroup is not mounted" in done.err
        assert "Your kernel does not support OomKillDisable. OomKillDisable discarded." in done.err
        return
    container = engine.api("GET", "/containers/old/json").json()
    assert limit(container, "memory/memory.swappiness", "") == "13"
    assert "oom_kill_disable 1" in limit(container, "memory/memory.oom_control", "")


def test_kernel_memory_is_ignored_with_a_warning(engine: Engine) -> None:
    body = {"Image": BUSYBOX, "HostConfig": {"KernelMemory": 64 * MIB}}
    (warning,) = engine.api("POST", "/v1.41/containers/create", body).json()["Warnings"]
    assert warning.startswith("Your kernel does not support kernel memory limit capabilities")


def test_real_time_budgets(new_engine: Callable[..., Engine]) -> None:
    """Version 1 only: the engine's option gives containers' parent a budget, of which each container takes a part."""
    engine = new_engine("--cpu-rt-runtime", "2000")
    create = ("create", "--name", "punctual", "--cpu-rt-runtime", "1000", BUSYBOX, "sleep", "1000")
    if not Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists():
        refused = engine.darse(*create)
        assert refused.status == 1
        assert "Your kernel does not support CPU real-time scheduler" in refused.err
        return
    for client in [engine.darse, *([engine.docker] if docker_program() else [])]:
        flags = ("--cpu-rt-period", "500000", "--cpu-rt-runtime", "1000")
        client("run", "-d", "--name", "punctual", *flags, BUSYBOX, "sleep", "1000").ok()
        container = engine.api("GET", "/containers/punctual/json").json()
        assert limit(container, "cpu/cpu.rt_period_us", "") == "500000"
        assert limit(container, "cpu/cpu.rt_runtime_us", "") == "1000"
        client("update", "--cpu-rt-runtime", "500", "punctual").ok()
        assert limit(container, "cpu/cpu.rt_runtime_us", "") == "500"
        over = client("update", "--cpu-rt-runtime", "400000", "punctual")
        assert over.status == 1
        assert limit(container, "cpu/cpu.rt_runtime_us", "") == "500"
        client("rm", "-f", "punctual").ok()
        wrong = client("create", "--cpu-rt-runtime", "2000", "--cpu-rt-period", "1000", BUSYBOX)
        assert "cpu real-time runtime cannot be higher than cpu real-time period" in wrong.err
        greedy = client("run", "--rm", "--cpu-rt-runtime", "3000", BUSYBOX, "true")
        assert greedy.status == 125
        assert "rt_runtime_us" in greedy.err


def test_block_weights_are_in_force_or_warned_of(engine: Engine) -> None:
    done = engine.darse("run", "-d", "--name", "heavy", "--blkio-weight", "300", BUSYBOX, "sleep", "1000").ok()
    container = engine.api("GET", "/containers/heavy/json").json()
    if container["HostConfig"]["BlkioWeight"]:
        # io.weight counts to 10000, BFQ's as the API does.
        assert limit(container, "blkio/blkio.weight", "io.weight") in ("300", "default 300", "default 2930")
    else:
        assert "does not support Block I/O weight or the cgroup is not mounted. Weight discarded." in done.err
        told = engine.api("GET", "/info").json()["Warnings"] or []
        assert {"WARNING: No blkio weight support", "WARNING: No io.weight support"} & set(told)


def test_device_rules(engine: Engine) -> None:
    """Without the rule a device that the container makes itself cannot be opened."""
    if not Path("/dev/fuse").exists():
        pytest.skip("the kernel has no /dev/fuse to try it with")
    script = "mknod /made c 10 229 && : < /made"
    assert engine.darse("run", "--rm", BUSYBOX, "sh", "-c", script).status != 0
    engine.darse("run", "--rm", "--device-cgroup-rule", "c 10:229 rw", BUSYBOX, "sh", "-c", script).ok()


def test_cgroup_parent_and_namespace(engine: Engine) -> None:
    parent = f"darse-test-{os.getpid()}"
    try:
        container = run(engine, "child", "--cgroup-parent", f"/{parent}")
        lines = Path(f"/proc/{container['State']['Pid']}/cgroup").read_text()
        assert f"/{parent}/{container['Id']}" in lines
        engine.darse("rm", "-f", "child").ok()
        inside = engine.darse("run", "--rm", "--cgroupns", "private", BUSYBOX, "cat", "/proc/self/cgroup").ok().out
        assert all(line.endswith(":/") for line in inside.splitlines())
        outside = engine.darse("run", "--rm", "--cgroupns", "host", BUSYBOX, "cat", "/proc/self/cgroup").ok().out
        assert "/darse_" in outside
    finally:
        # The engine leaves a parent that was asked for: it may be an administrator's.
        for tree in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]:
            if (tree / parent).is_dir():
                subprocess.run(["rmdir", tree / parent], check=True)


def test_a_child_without_memory_is_told_of_at_once(cli: Client, engine: Engine) -> None:
    """The container goes on; `oom` is published, and OOMKilled says so now and after the end."""
    since = engine.api("GET", "/info").json()["SystemTime"]
    script = "(x=a; while :; do x=$x$x; done); echo $?; sleep 1000; :"
    cli("run", "-d", "--name", "greedy", "-m", "24m", "--memory-swap", "24m", BUSYBOX, "sh", "-c", script).ok()
    wait_until(lambda: cli("inspect", "-f", "{{.State.OOMKilled}}", "greedy").line == "true", 60, "the kernel's word")
    assert cli("inspect", "-f", "{{.State.Running}}", "greedy").line == "true"
    engine.restart()
    assert cli("inspect", "-f", "{{.State.OOMKilled}}", "greedy").line == "true"
    cli("kill", "greedy").ok()
    state = json.loads(cli("inspect", "-f", "{{json .State}}", "greedy").line)
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)
    until = engine.api("GET", "/info").json()["SystemTime"]
    told = cli(
        "events", "--since", since, "--until", until, "--filter", "event=oom", "--format", "{{.Actor.Attributes.name}}"
    )
    assert told.out == "greedy\n"


def test_devices_by_name(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    """The Container Device Interface: what a vendor's file describes is in the container."""
    device = {
        "name": "ballast",
        "containerEdits": {
            "env": ["BALLAST=heavy"],
            "deviceNodes": [{"path": "/dev/ballast", "hostPath": "/dev/zero"}],
            "mounts": [{"hostPath": str(tmp_path), "containerPath": "/vendor", "options": ["ro", "bind"]}],
        },
    }
    file = {"cdiVersion": "0.6.0", "kind": "harbour.test/dock", "devices": [device]}
    (tmp_path / "harbour.json").write_text(json.dumps(file))
    engine = new_engine("--cdi-spec-dir", str(tmp_path))
    script = "echo $BALLAST; head -c 3 /dev/ballast | wc -c; ls /vendor; touch /vendor/x 2>&1"
    for client in [engine.darse, *([engine.docker] if docker_program() else [])]:
        client.needs(25, "names of devices")
        done = client("run", "--rm", "--device", "harbour.test/dock=ballast", BUSYBOX, "sh", "-c", script)
        assert done.out.split()[:3] == ["heavy", "3", "harbour.json"], done.err
        assert "Read-only file system" in done.out
        missing = client("run", "--rm", "--device", "harbour.test/dock=anchor", BUSYBOX, "true")
        assert missing.status == 125
        assert "unresolvable CDI devices harbour.test/dock=anchor" in missing.err
        assert (
            'could not select device driver "" with capabilities: [[gpu]]'
            in client("run", "--rm", "--gpus", "all", BUSYBOX, "true").err
        )
    info = engine.api("GET", "/info").json()
    assert info["CDISpecDirs"] == [str(tmp_path)]
    assert info["DiscoveredDevices"] == [{"Source": "cdi", "ID": "harbour.test/dock=ballast"}]
    assert engine.api("GET", "/containers/json?all=1").json() == []
