"""What `explain` says of the runtime's work: in parts, and as commands that can be typed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from darse.containers.explain.runtime_steps import ControlGroup, asked, in_parts
from darse.core import trace
from darse.core.trace import Step, named
from darse.runtime.monitor.launch import CREATES
from tests.unit.runtime.cgroups.test_update import trees

_MS = 1_000_000
_SPEC = {
    "process": {"args": ["sleep", "100"], "user": {"uid": 1, "gid": 2}},
    "root": {"path": "/run/x/rootfs"},
    "mounts": [
        {"type": "proc", "destination": "/proc", "source": "proc"},
        {"type": "bind", "destination": "/data", "source": "/srv/data", "options": ["rbind", "ro"]},
        {"type": "bind", "destination": "/sys", "source": "/sys", "options": ["remount", "bind", "ro"]},
    ],
    "linux": {
        "cgroupsPath": "/darse/c",
        "namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/7/fd/21"}],
    },
}


def _write(path: Path, at: int) -> None:
    path.write_text("")
    os.utime(path, ns=(at, at))


def test_the_commands_are_whole(tmp_path: Path) -> None:
    group = ControlGroup(trees(tmp_path, {"cpu.max": ""}, 2), "/c")
    steps = [Step(kind, said, command, 0, 0) for kind, said, command in asked(_SPEC, group)]
    typed = [" ".join(step.command) for step in named(steps, "0123456789ab")]
    assert {
        "unshare --fork --pid sleep 100",
        "nsenter --net=/run/netns/0123456789ab sleep 100",
        f"mkdir -p {tmp_path}/c",
        "mount -t proc proc /run/x/rootfs/proc",
        "mount -o rbind,ro /srv/data /run/x/rootfs/data",
        "mount -o remount,bind,ro /run/x/rootfs/sys",
        "setpriv --reuid=1 --regid=2 --clear-groups sleep 100",
    } <= set(typed)
    assert not [words for words in typed if "PROGRAM" in words or "CONTAINER" in words]


_RESOURCES = {
    "devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
    ],
    "memory": {"limit": 64, "swap": 128, "swappiness": 10, "disableOOMKiller": True},
    "cpu": {"shares": 512, "period": 100000, "quota": 50000, "cpus": "0-1"},
    "pids": {"limit": 40},
    "blockIO": {"weight": 300, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]},
}
_V1_FILES = {
    "memory": "limit_in_bytes memsw.limit_in_bytes swappiness oom_control".split(),
    "cpu": ["shares", "cfs_period_us", "cfs_quota_us"],
    "cpuset": ["cpus"],
    "pids": ["max"],
    "blkio": ["weight", "throttle.read_bps_device"],
    "devices": ["allow"],
}
_V2_FILES = "memory.max memory.swap.max cpu.weight cpu.max cpuset.cpus pids.max io.weight io.max".split()


def _typed(spec: dict[str, Any], group: ControlGroup) -> dict[str, list[str]]:
    """The commands of the steps of limits, by the word that their summaries begin with."""
    typed = {}
    for kind, said, command in asked(spec, group):
        if kind == "cgroup" and ":" in said:
            lines = " ".join(command).replace(f"{group.cgroups.hierarchies[0].path.parent}", "").split(" ; ")
            typed[said.partition(":")[0]] = [line.removeprefix("sh -c echo ") for line in lines]
    return typed


def test_limits_have_commands_with_version_1(tmp_path: Path) -> None:
    files = {f"{tree}/{tree}.{name}": "0" for tree, names in _V1_FILES.items() for name in names}
    spec = {"linux": {"cgroupsPath": "/c", "resources": _RESOURCES}}
    assert _typed(spec, ControlGroup(trees(tmp_path, files, 1), "/c")) == {
        "devices": [
            "'a *:* rwm' > /devices/c/devices.deny",
            "c 1:5 rwm > /devices/c/devices.allow",
            "'c *:* m' > /devices/c/devices.allow",
        ],
        "memory": [
            "128 > /memory/c/memory.memsw.limit_in_bytes",
            "64 > /memory/c/memory.limit_in_bytes",
            "10 > /memory/c/memory.swappiness",
            "1 > /memory/c/memory.oom_control",
        ],
        "cpu": [
            "512 > /cpu/c/cpu.shares",
            "100000 > /cpu/c/cpu.cfs_period_us",
            "50000 > /cpu/c/cpu.cfs_quota_us",
            "0-1 > /cpuset/c/cpuset.cpus",
        ],
        "pids": ["40 > /pids/c/pids.max"],
        "blockIO": ["300 > /blkio/c/blkio.weight", "8:0 5 > /blkio/c/blkio.throttle.read_bps_device"],
    }


def test_limits_have_commands_with_version_2(tmp_path: Path) -> None:
    """But for devices, which are a program there."""
    group = ControlGroup(trees(tmp_path / "v2", dict.fromkeys(_V2_FILES, ""), 2), "/c")
    spec = {"linux": {"cgroupsPath": "/c", "resources": _RESOURCES}}
    assert _typed(spec, group) == {
        "devices": [""],
        "memory": ["64 > /v2/c/memory.max", "64 > /v2/c/memory.swap.max"],
        "cpu": ["20 > /v2/c/cpu.weight", "50000 100000 > /v2/c/cpu.max", "0-1 > /v2/c/cpuset.cpus"],
        "pids": ["40 > /v2/c/pids.max"],
        "blockIO": ["2930 > /v2/c/io.weight", "8:0 rbps=5 > /v2/c/io.max"],
    }


def test_what_is_hidden_or_read_only_has_commands(tmp_path: Path) -> None:
    directory, file = tmp_path / "directory", tmp_path / "file"
    directory.mkdir()
    file.touch()
    linux = {"maskedPaths": [str(file), str(directory), f"{tmp_path}/none"], "readonlyPaths": [str(directory)]}
    group = ControlGroup(trees(tmp_path, {"cpu.max": ""}, 2), "/c")
    *_, (kind, said, command) = asked({"root": {"path": "/r"}, "linux": linux}, group)
    assert (kind, said) == ("mount", "3 paths are hidden, 1 are read-only")
    assert " ".join(command).split(" ; ") == [
        f"mount --bind /dev/null /r{file}",
        f"mount -t tmpfs -o ro tmpfs /r{directory}",
        f"mount --rbind /r{directory} /r{directory}",
        f"mount -o remount,bind,ro /r{directory}",
    ]


def test_the_runtimes_work_is_cut_where_its_files_were_written(tmp_path: Path) -> None:
    begin = 1_700_000_000_000_000_000
    step = Step("process", CREATES, ("crun", "create"), begin, 20 * _MS)
    for name, after in (("config.json", 4), ("seccomp.bpf", 10), ("pid", 18)):
        _write(tmp_path / name, begin + after * _MS)
    parts = in_parts([step], tmp_path, tmp_path / "pid")
    assert [(part.duration_ns // _MS, part.command) for part in parts] == [(4, ()), (6, ()), (8, step.command), (2, ())]
    assert parts[2].summary == CREATES
    assert sum(part.duration_ns for part in parts) == step.duration_ns


def test_files_of_another_time_cut_nothing(tmp_path: Path) -> None:
    step = Step("process", CREATES, ("crun", "create"), 1_700_000_000_000_000_000, 20 * _MS)
    assert in_parts([step], tmp_path, tmp_path / "pid") == [step]
    for at in (step.begin_ns - 50 * _MS, step.begin_ns + 21 * _MS):
        _write(tmp_path / "pid", at)
        assert in_parts([step], tmp_path, tmp_path / "pid") == [step]


def test_parts_shorter_than_a_clock_tick_are_told(tmp_path: Path) -> None:
    begin = 1_700_000_000_000_000_000
    step = Step("process", CREATES, ("crun", "create"), begin, 9 * _MS)
    for name, after in (("config.json", -1), ("seccomp.bpf", 3), ("pid", 3)):
        _write(tmp_path / name, begin + after * _MS)
    parts = in_parts([step], tmp_path, tmp_path / "pid")
    assert [part.duration_ns // _MS for part in parts] == [0, 3, 0, 6]
    assert [part.summary == CREATES for part in parts] == [False, False, True, False]


def test_what_was_made_ahead_costs_the_operation_nothing() -> None:
    with trace.begin("prepare", "") as made, trace.step("link", "a pair", "ip", "link"):
        pass
    with trace.begin("start", "c") as operation:
        trace.prepared(made.steps)
    (step,) = operation.steps
    assert (step.duration_ns, step.command) == (0, ("ip", "link"))
    assert step.begin_ns >= operation.started_at_ns
    assert step.summary.startswith("a pair (made ahead, in ")
