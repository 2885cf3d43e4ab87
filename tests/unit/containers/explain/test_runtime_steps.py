"""What `explain` says of the runtime's work: in parts, and as commands that can be typed."""

from __future__ import annotations

import os
from pathlib import Path

from darse.containers.explain.runtime_steps import asked, in_parts
from darse.core import trace
from darse.core.trace import Step, named
from darse.runtime.monitor.launch import CREATES

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


def test_the_commands_are_whole() -> None:
    steps = [Step(kind, said, command, 0, 0) for kind, said, command in asked(_SPEC, [Path("/sys/fs/cgroup/darse/c")])]
    typed = [" ".join(step.command) for step in named(steps, "0123456789ab")]
    assert {
        "unshare --fork --pid sleep 100",
        "nsenter --net=/run/netns/0123456789ab sleep 100",
        "mkdir -p /sys/fs/cgroup/darse/c",
        "mount -t proc proc /run/x/rootfs/proc",
        "mount -o rbind,ro /srv/data /run/x/rootfs/data",
        "mount -o remount,bind,ro /run/x/rootfs/sys",
        "setpriv --reuid=1 --regid=2 --clear-groups sleep 100",
    } <= set(typed)
    assert not [words for words in typed if "PROGRAM" in words or "CONTAINER" in words]


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
        trace.ahead(made.steps)
    (step,) = operation.steps
    assert (step.duration_ns, step.command) == (0, ("ip", "link"))
    assert step.begin_ns >= operation.started_at_ns
    assert step.summary.startswith("a pair (made ahead, in ")
