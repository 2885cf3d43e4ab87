"""Which files of a cgroup a change of limits writes: both versions, on directories that look like cgroups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darse.core.errors import SystemFault
from darse.runtime.cgroups.hierarchies import Cgroups, Hierarchy
from darse.runtime.cgroups.update import change_limits, cpu_weight

MIB = 1 << 20
V2 = {
    "memory.max": "67108864",
    "memory.swap.max": "67108864",
    "memory.low": "0",
    "cpu.weight": "100",
    "cpu.max": "max 100000",
    "cpuset.cpus": "",
    "pids.max": "max",
    "io.weight": "default 100",
}
V1 = {
    "memory/memory.limit_in_bytes": str(64 * MIB),
    "memory/memory.memsw.limit_in_bytes": str(128 * MIB),
    "cpu/cpu.shares": "1024",
    "cpu/cpu.cfs_quota_us": "-1",
    "cpu/cpu.cfs_period_us": "100000",
    "pids/pids.max": "max",
}


def trees(root: Path, files: dict[str, str], version: int) -> Cgroups:
    """Hierarchies below `root`, each with a cgroup `c` that has the files."""
    cgroups = Cgroups.__new__(Cgroups)
    controllers = sorted({name.partition("/")[0] for name in files}) if version == 1 else [""]
    cgroups.hierarchies = tuple(
        Hierarchy(root / one, version, frozenset({one}) if one else frozenset()) for one in controllers
    )
    for name, text in files.items():
        controller, _, file = name.rpartition("/")
        path = root / controller / "c" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cgroups


@pytest.mark.parametrize(
    ("before", "after", "file", "text"),
    [
        ({"memory": {"limit": 64}}, {"memory": {"limit": 128, "swap": 300}}, "memory.max", "128"),
        ({"memory": {"limit": 64}}, {"memory": {"limit": 128, "swap": 300}}, "memory.swap.max", "172"),
        ({}, {"memory": {"limit": 128, "swap": -1}}, "memory.swap.max", "max"),
        ({}, {"memory": {"reservation": 7}}, "memory.low", "7"),
        ({}, {"cpu": {"shares": 512}}, "cpu.weight", "20"),
        ({}, {"cpu": {"quota": 50000, "period": 100000}}, "cpu.max", "50000 100000"),
        ({"cpu": {"quota": 5}}, {"cpu": {"quota": -1}}, "cpu.max", "max 100000"),
        ({}, {"cpu": {"cpus": "0-1"}}, "cpuset.cpus", "0-1"),
        ({"pids": {"limit": 5}}, {}, "pids.max", "max"),
        ({}, {"blockIO": {"weight": 1000}}, "io.weight", "10000"),
    ],
)
def test_version_2(tmp_path: Path, before: dict[str, Any], after: dict[str, Any], file: str, text: str) -> None:
    change_limits(trees(tmp_path, V2, 2), "/c", before, after)
    # Regular files are not truncated by a write, as a kernel's need not be.
    assert (tmp_path / "c" / file).read_text()[: len(text)] == text


def test_version_1_never_has_less_swap_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("darse.runtime.cgroups.update._write", lambda file, text: written.append(f"{file.name}={text}"))
    cgroups = trees(tmp_path, V1, 1)

    def write(limit: int, swap: int) -> list[str]:
        written.clear()
        before = {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}}
        change_limits(cgroups, "/c", before, {"memory": {"limit": limit, "swap": swap}})
        return [line.partition(".limit")[0] for line in written]

    assert write(256 * MIB, 512 * MIB) == ["memory.memsw", "memory"]
    assert write(256 * MIB, -1) == ["memory.memsw", "memory"]
    assert write(16 * MIB, 32 * MIB) == ["memory", "memory.memsw"]


def test_what_is_refused_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroups = trees(tmp_path, V1, 1)
    state = dict.fromkeys(V1, "")

    def write(file: Path, text: str) -> None:
        if file.name == "pids.max" and text == "7":
            raise OSError(22, "Invalid argument")
        state[f"{file.parent.parent.name}/{file.name}"] = text

    monkeypatch.setattr("darse.runtime.cgroups.update._write", write)
    with pytest.raises(SystemFault, match=r"pids\.max"):
        change_limits(cgroups, "/c", {}, {"cpu": {"shares": 2}, "pids": {"limit": 7}})
    assert (state["cpu/cpu.shares"], state["pids/pids.max"]) == ("1024", "max")


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (512, 20), (262144, 10000)])
def test_weights(shares: int, weight: int) -> None:
    assert cpu_weight(shares) == weight


BEFORE = {
    "blockIO": {
        "throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 100}, {"major": 7, "minor": 1, "rate": 5}],
        "throttleWriteIOPSDevice": [{"major": 7, "minor": 0, "rate": 9}],
        "weightDevice": [{"major": 7, "minor": 0, "weight": 10}],
    }
}
AFTER = {
    "blockIO": {
        "throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 200}, {"major": 7, "minor": 1, "rate": 5}],
        "weightDevice": [{"major": 7, "minor": 1, "weight": 1000}],
    }
}
THROTTLES = [f"blkio/blkio.throttle.{way}_device" for way in ("read_bps", "write_bps", "read_iops", "write_iops")]


@pytest.mark.parametrize(
    ("version", "files", "written"),
    [
        (
            2,
            ["io.max", "io.weight"],
            [
                "io.max: 7:0 rbps=200",
                "io.max: 7:0 wiops=max",
                "io.weight: 7:0 default",
                "io.weight: 7:1 10000",
            ],
        ),
        (
            2,
            ["io.max", "io.bfq.weight"],
            ["io.max: 7:0 rbps=200", "io.max: 7:0 wiops=max", "io.bfq.weight: 7:0 default", "io.bfq.weight: 7:1 1000"],
        ),
        (
            1,
            [*THROTTLES, "blkio/blkio.weight_device"],
            [
                "blkio.throttle.read_bps_device: 7:0 200",
                "blkio.throttle.write_iops_device: 7:0 0",
                "blkio.weight_device: 7:0 0",
                "blkio.weight_device: 7:1 1000",
            ],
        ),
    ],
)
def test_limits_of_single_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, files: list[str], written: list[str]
) -> None:
    cgroups = trees(tmp_path, dict.fromkeys(files, ""), version)
    seen: list[str] = []
    monkeypatch.setattr("darse.runtime.cgroups.update._write", lambda file, text: seen.append(f"{file.name}: {text}"))
    change_limits(cgroups, "/c", BEFORE, AFTER)
    assert seen == written


def test_a_refused_limit_of_a_device_leaves_the_others_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroups = trees(tmp_path, {"io.max": "7:5 rbps=1 wbps=max riops=max wiops=max\n"}, 2)
    seen: list[str] = []

    def write(_: Path, text: str) -> None:
        if text == "7:0 wiops=max":
            raise OSError(19, "No such device")
        seen.append(text)

    monkeypatch.setattr("darse.runtime.cgroups.update._write", write)
    with pytest.raises(SystemFault, match="No such device"):
        change_limits(cgroups, "/c", BEFORE, AFTER)
    assert seen == ["7:0 rbps=200", "7:0 wiops=9", "7:0 rbps=100"]
