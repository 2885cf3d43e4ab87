"""Limits of a container that runs, changed by writing its cgroups' files, as the OCI runtime has written them.

What changes is the difference of two `linux.resources` objects, so a limit means the same at a start and in an update.
Either all of it is in force afterwards, or what was before.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from darse.engine.errors import Conflict, SystemFault
from darse.linux import trace
from darse.runtime.cgroups import Cgroups

# In this order, and for version 1: key in the resources, controller, files (the first that exists), text for no limit.
_V1: Final = (
    ("cpu.shares", "cpu", ("cpu.shares",), "1024"),
    ("cpu.period", "cpu", ("cpu.cfs_period_us",), "100000"),
    ("cpu.quota", "cpu", ("cpu.cfs_quota_us",), "-1"),
    ("cpu.realtimePeriod", "cpu", ("cpu.rt_period_us",), "1000000"),
    ("cpu.realtimeRuntime", "cpu", ("cpu.rt_runtime_us",), "0"),
    ("cpu.cpus", "cpuset", ("cpuset.cpus",), ""),
    ("cpu.mems", "cpuset", ("cpuset.mems",), ""),
    ("memory.reservation", "memory", ("memory.soft_limit_in_bytes",), "-1"),
    ("pids.limit", "pids", ("pids.max",), "max"),
    ("blockIO.weight", "blkio", ("blkio.weight", "blkio.bfq.weight"), "500"),
)
_MEMORY: Final = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")

Resources = Mapping[str, Any]
Writes = list[tuple[Path, str]]


def change_limits(cgroups: Cgroups, path: str, before: Resources, after: Resources) -> None:
    """Bring the cgroup `path` from one `linux.resources` object to another. Blocks: the kernel may reclaim memory.

    Raises Conflict when the container uses more than it may from now on, SystemFault for what else the kernel refuses.
    """
    old, new = _flat(before), _flat(after)
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    if not changed:
        return
    writes = _unified(cgroups, path, new, changed) if cgroups.unified else _legacy(cgroups, path, new, changed)
    undo: Writes = []
    for file, text in writes:
        try:
            undo.append((file, file.read_text().partition("\n")[0]))
            _write(file, text)
        except OSError as error:
            for undone, was in reversed(undo):
                with contextlib.suppress(OSError):  # what was refused is as it was
                    _write(undone, was)
            raise _refusal(file, text, error) from error


def _flat(resources: Resources) -> dict[str, Any]:
    """The limits by names such as `cpu.quota`, of those kinds that can be changed."""
    return {
        f"{kind}.{name}": value
        for kind in ("cpu", "memory", "pids", "blockIO")
        for name, value in resources.get(kind, {}).items()
    }


def _write(file: Path, text: str) -> None:
    with trace.step("cgroup", f"{file.name}: {text or 'none'}", "sh", "-c", f"echo {text} > {file}"):
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, (text or "\n").encode())
        finally:
            os.close(descriptor)


def _refusal(file: Path, text: str, error: OSError) -> Conflict | SystemFault:
    if error.errno == errno.EBUSY and file.name in _MEMORY:
        used = (file.parent / "memory.usage_in_bytes").read_text().strip()
        return Conflict(f"unable to set memory limit to {text} (current usage: {used})")
    return SystemFault(f"cannot write {text!r} to {file}: {error.strerror}")


def _legacy(cgroups: Cgroups, path: str, new: Mapping[str, Any], changed: set[str]) -> Writes:
    trees = {controller: tree.path for tree in cgroups.hierarchies for controller in tree.controllers}

    def file_of(controller: str, names: tuple[str, ...]) -> Path | None:
        if controller not in trees:
            return None
        candidates = [trees[controller] / path.lstrip("/") / name for name in names]
        return next((one for one in candidates if one.exists()), None)

    writes: Writes = []
    for key, controller, names, unlimited in _V1:
        if key in changed and (file := file_of(controller, names)) is not None:
            writes.append((file, str(new.get(key, unlimited))))
    # The limit of memory may at no time be above that of memory and swap: the one that grows goes first.
    memory = [
        (file, str(new.get(key, -1)))
        for key, name in zip(("memory.limit", "memory.swap"), _MEMORY, strict=True)
        if key in changed and (file := file_of("memory", (name,))) is not None
    ]
    if len(memory) == 2:
        wanted = int(memory[1][1])
        if wanted < 0 or wanted > int(memory[1][0].read_text()):
            memory.reverse()
    return memory + writes


def _unified(cgroups: Cgroups, path: str, new: Mapping[str, Any], changed: set[str]) -> Writes:
    directory = cgroups.hierarchies[0].path / path.lstrip("/")
    writes: Writes = []

    def write(name: str, text: str) -> None:
        writes.append((directory / name, text))

    if changed & {"memory.limit", "memory.swap"}:
        limit, swap = new.get("memory.limit", -1), new.get("memory.swap", -1)
        write("memory.max", str(limit) if limit > 0 else "max")
        if (directory / "memory.swap.max").exists():
            # Version 2 counts swap by itself, the API with the memory.
            write("memory.swap.max", str(max(0, swap - max(limit, 0))) if swap >= 0 else "max")
    if "memory.reservation" in changed:
        write("memory.low", str(new.get("memory.reservation", 0)))
    if "cpu.shares" in changed:
        write("cpu.weight", str(cpu_weight(new.get("cpu.shares", 1024))))
    if changed & {"cpu.quota", "cpu.period"}:
        quota = new.get("cpu.quota", -1)
        write("cpu.max", f"{quota if quota > 0 else 'max'} {new.get('cpu.period', 100_000)}")
    for key, name in (("cpu.cpus", "cpuset.cpus"), ("cpu.mems", "cpuset.mems")):
        if key in changed:
            write(name, new.get(key, ""))
    if "pids.limit" in changed:
        write("pids.max", str(new.get("pids.limit", "max")))
    if "blockIO.weight" in changed:
        weight = new.get("blockIO.weight", 100)
        if (directory / "io.bfq.weight").exists():
            write("io.bfq.weight", str(weight))
        elif (directory / "io.weight").exists():
            write("io.weight", str(1 + (weight - 10) * 9999 // 990))
    return writes


def cpu_weight(shares: int) -> int:
    """`cpu.weight` (1 to 10000) of version 1's shares (2 to 262144), as crun 1.8 and runc convert it."""
    return 1 + (shares - 2) * 9999 // 262142
