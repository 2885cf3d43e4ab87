"""Limits of a container that runs, changed by writing its cgroups' files, as the OCI runtime has written them.

What changes is the difference of two `linux.resources` objects, so a limit means the same at a start and in an update.
Either all of it is in force afterwards, or what was before.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from darse.core import trace
from darse.core.errors import Conflict, SystemFault
from darse.runtime.cgroups.hierarchies import Cgroups

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
    ("memory.swappiness", "memory", ("memory.swappiness",), "60"),
    ("memory.disableOOMKiller", "memory", ("memory.oom_control",), "0"),
    ("pids.limit", "pids", ("pids.max",), "max"),
    ("blockIO.weight", "blkio", ("blkio.weight", "blkio.bfq.weight"), "500"),
)
# Limits of single devices: key in the resources, file in version 1, name in version 2's io.max.
_THROTTLES: Final = (
    ("blockIO.throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("blockIO.throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("blockIO.throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("blockIO.throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)
_WEIGHTS: Final = "blockIO.weightDevice"
_MEMORY: Final = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")

Resources = Mapping[str, Any]


class Write(NamedTuple):
    """A text for a file; `undo` is what takes it back, by default what is in the file's first line."""

    file: Path
    text: str
    undo: str | None = None


Writes = list[Write]


def change_limits(cgroups: Cgroups, path: str, before: Resources, after: Resources) -> None:
    """Bring the cgroup `path` from one `linux.resources` object to another. Blocks: the kernel may reclaim memory.

    Raises Conflict when the container uses more than it may from now on, SystemFault for what else the kernel refuses.
    """
    old, new = _flat(before), _flat(after)
    undo: list[tuple[Path, str]] = []
    for file, text, was in _writes(cgroups, path, old, new):
        try:
            undo.append((file, file.read_text().partition("\n")[0] if was is None else was))
            _write(file, text)
        except OSError as error:
            for undone, before_it in reversed(undo):
                with contextlib.suppress(OSError):  # what was refused is as it was
                    _write(undone, before_it)
            raise _update_error(file, text, error) from error


def limits(cgroups: Cgroups, path: str, resources: Resources) -> list[tuple[Path, str]]:
    """The files of the cgroup `path` by which it gets all the limits of a `linux.resources` object, and their texts."""
    return [(file, text) for file, text, _ in _writes(cgroups, path, {}, _flat(resources))]


def _writes(cgroups: Cgroups, path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Writes:
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    if not changed:
        return []
    writes = _unified(cgroups, path, new, changed) if cgroups.unified else _legacy(cgroups, path, new, changed)
    return writes + _of_devices(cgroups, path, old, new)


def _flat(resources: Resources) -> dict[str, Any]:
    """The limits by names such as `cpu.quota`, of those kinds that can be changed."""
    return {
        f"{kind}.{name}": int(value) if isinstance(value, bool) else value
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


def _update_error(file: Path, text: str, error: OSError) -> Conflict | SystemFault:
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
            writes.append(Write(file, str(new.get(key, unlimited))))
    # The limit of memory may at no time be above that of memory and swap: the one that grows goes first.
    memory = [
        Write(file, str(new.get(key, -1)))
        for key, name in zip(("memory.limit", "memory.swap"), _MEMORY, strict=True)
        if key in changed and (file := file_of("memory", (name,))) is not None
    ]
    if len(memory) == 2:
        limit = int(memory[1].text)
        if limit < 0 or limit > int(memory[1].file.read_text()):
            memory.reverse()
    return memory + writes


def _unified(cgroups: Cgroups, path: str, new: Mapping[str, Any], changed: set[str]) -> Writes:
    directory = cgroups.hierarchies[0].path / path.lstrip("/")
    writes: Writes = []

    def write(name: str, text: str) -> None:
        writes.append(Write(directory / name, text))

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
            write("io.weight", str(_io_weight(weight)))
    return writes


def _io_weight(weight: int) -> int:
    """`io.weight` (1 to 10000) of version 1's weight (10 to 1000)."""
    return 1 + (weight - 10) * 9999 // 990


def _of_devices(cgroups: Cgroups, path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Writes:
    """What changes of the limits of single devices: a line for each, so that others keep theirs."""
    directory = cgroups.hierarchies[0].path / path.lstrip("/")
    if not cgroups.unified:
        of_blocks = [one.path for one in cgroups.hierarchies if "blkio" in one.controllers]
        if not of_blocks:
            return []
        directory = of_blocks[0] / path.lstrip("/")
    writes: Writes = []
    for key, file, name in _THROTTLES:
        for device, was, new_value in _changes(old.get(key, ()), new.get(key, ()), "rate"):
            if cgroups.unified:
                text, undo = (f"{device} {name}={rate or 'max'}" for rate in (new_value, was))
                writes.append(Write(directory / "io.max", text, undo))
            else:
                writes.append(Write(directory / file, f"{device} {new_value}", f"{device} {was}"))
    # The last of them is there only with the schedulers of kernels before 5.
    candidates = ("io.bfq.weight", "io.weight", "blkio.bfq.weight_device", "blkio.weight_device")
    weights = next((one for one in candidates if (directory / one).exists()), "")
    none = "0" if weights == "blkio.weight_device" else "default"
    for device, was, new_value in _changes(old.get(_WEIGHTS, ()), new.get(_WEIGHTS, ()), "weight"):
        texts = [str(_io_weight(one) if weights == "io.weight" else one) if one else none for one in (new_value, was)]
        if weights:
            writes.append(Write(directory / weights, f"{device} {texts[0]}", f"{device} {texts[1]}"))
    return writes


def _changes(
    old: Iterable[Mapping[str, int]], new: Iterable[Mapping[str, int]], member: str
) -> Iterator[tuple[str, int, int]]:
    """The devices (`major:minor`) whose limit differs, with what was and what is to be; 0 is none."""
    before, after = ({f"{one['major']}:{one['minor']}": one.get(member, 0) for one in limits} for limits in (old, new))
    for device in before | after:
        if (was := before.get(device, 0)) != (new_value := after.get(device, 0)):
            yield device, was, new_value


def cpu_weight(shares: int) -> int:
    """`cpu.weight` (1 to 10000) of version 1's shares (2 to 262144), as crun 1.8 and runc convert it."""
    return 1 + (shares - 2) * 9999 // 262142
