"""Limits that a container asks for: contradictions and absurd numbers are refused, what the host cannot do is dropped.

Texts, and the order of the checks, are moby's (daemon/daemon_unix.go).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from darse.core.errors import InvalidParameter
from darse.runtime.oci.devices import block_device, device_nodes, device_rules
from darse.runtime.sysinfo import RLIMITS, SysInfo, numbers_in
from darse.wire.host_config import HostConfig

_MINIMUM_MEMORY: Final = 6 * 1024 * 1024
_LARGEST: Final = 2**63 - 1
# sched/core.c: max_bw, in microseconds.
_LARGEST_QUOTA: Final = 2**44 - 1
_CPU_LIST = re.compile(r"[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*\Z")


def check_resources(host: HostConfig, facts: SysInfo, warnings: list[str], *, update: bool = False) -> None:
    """Raise InvalidParameter, or take out of `host` what this host cannot do and say so in `warnings`.

    With `update`, `host` has only what is to change, and a limit of memory and swap may come without one of memory.
    """
    _check_bounds(host)
    _check_memory(host, facts, warnings, update=update)
    _check_cpu(host, facts, warnings)
    _check_block_io(host, facts, warnings)
    _check_ulimits(host, facts, warnings)
    if host.PidsLimit is not None and host.PidsLimit > 0 and "pids" not in facts.controllers:
        warnings.append(_unsupported("PIDs limit capabilities", "PIDs limit"))
        host.PidsLimit = None
    if host.OomScoreAdj < facts.lowest_oom_score and host.OomScoreAdj != 0:
        warnings.append(
            f"Your engine may not set an oom-score-adj below {facts.lowest_oom_score} (it lacks CAP_SYS_RESOURCE). "
            f"{facts.lowest_oom_score} is used."
        )
    device_rules(host, device_nodes(host) if host.Devices else [])


def _unsupported(what: str, discarded: str) -> str:
    return f"Your kernel does not support {what} or the cgroup is not mounted. {discarded} discarded."


def _check_bounds(host: HostConfig) -> None:
    for name in [
        "Memory",
        "MemorySwap",
        "MemoryReservation",
        "NanoCpus",
        "CpuShares",
        "CpuPeriod",
        "CpuQuota",
        "CpuRealtimePeriod",
        "CpuRealtimeRuntime",
        "ShmSize",
        "BlkioWeight",
        "OomScoreAdj",
    ]:
        value = getattr(host, name)
        if not -_LARGEST <= value <= _LARGEST:
            raise InvalidParameter(f"invalid {name}: {value} is out of range")
    if not -1000 <= host.OomScoreAdj <= 1000:
        raise InvalidParameter(f"Invalid value {host.OomScoreAdj}, range for oom score adj is [-1000, 1000]")
    if host.ShmSize < 0:
        raise InvalidParameter("SHM size can not be less than 0")
    if host.PidsLimit is not None and abs(host.PidsLimit) > _LARGEST:
        raise InvalidParameter(f"invalid PidsLimit: {host.PidsLimit}")


def _check_memory(host: HostConfig, facts: SysInfo, warnings: list[str], *, update: bool) -> None:
    if host.Memory and "memory" not in facts.controllers:
        warnings.append(_unsupported("memory limit capabilities", "Limitation"))
        host.Memory, host.MemorySwap = 0, -1
    if host.Memory < 0 or 0 < host.Memory < _MINIMUM_MEMORY:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    if host.Memory and not facts.swap_accounting and host.MemorySwap != -1:
        warnings.append(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
            "Memory limited without swap."
        )
        host.MemorySwap = -1
    if host.MemorySwap < -1:
        raise InvalidParameter("Invalid value for memory swap, it must be -1 or more")
    if host.MemorySwap > 0 and host.Memory == 0 and not update:
        raise InvalidParameter("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < host.MemorySwap < host.Memory:
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if host.MemorySwappiness is not None:
        if not -1 <= host.MemorySwappiness <= 100:
            raise InvalidParameter(f"Invalid value: {host.MemorySwappiness}, valid memory swappiness range is 0-100")
        if host.MemorySwappiness >= 0 and "memory swappiness" not in facts.features:
            warnings.append(_unsupported("memory swappiness capabilities", "Memory swappiness"))
            host.MemorySwappiness = None
    if host.MemoryReservation < 0 or 0 < host.MemoryReservation < _MINIMUM_MEMORY:
        raise InvalidParameter("Minimum memory reservation allowed is 6MB")
    if host.MemoryReservation and "memory reservation" not in facts.features:
        warnings.append(_unsupported("memory soft limit capabilities", "Limitation"))
        host.MemoryReservation = 0
    if 0 < host.Memory < host.MemoryReservation:
        raise InvalidParameter("Minimum memory limit can not be less than memory reservation limit, see usage")
    for name, what in (("KernelMemory", "kernel memory limit"), ("KernelMemoryTCP", "kernel memory TCP limit")):
        if getattr(host, name):
            warnings.append(_unsupported(f"{what} capabilities", "Limitation"))
        setattr(host, name, msgspec.UNSET)
    if host.OomKillDisable:
        if "oom kill disable" not in facts.features:
            warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
            host.OomKillDisable = None
        elif not host.Memory:
            warnings.append(
                "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
                "running out of resources."
            )


def _check_cpu(host: HostConfig, facts: SysInfo, warnings: list[str]) -> None:
    if host.NanoCpus and (host.CpuPeriod or host.CpuQuota):
        other = "CPU Period" if host.CpuPeriod else "CPU Quota"
        raise InvalidParameter(f"Conflicting options: Nano CPUs and {other} cannot both be set.")
    if host.NanoCpus and "cpu quota" not in facts.features:
        raise InvalidParameter(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted"
        )
    # Below a hundredth of a processor the quota is less than the kernel's least of a millisecond.
    if host.NanoCpus and not 10_000_000 <= host.NanoCpus <= facts.cpus * 1_000_000_000:
        raise InvalidParameter(
            f"range of CPUs is from 0.01 to {facts.cpus}.00, as there are only {facts.cpus} CPUs available"
        )
    if host.CpuShares < 0:
        raise InvalidParameter(f"invalid CPU shares ({host.CpuShares}): value must be a positive integer")
    if host.CpuShares and "cpu shares" not in facts.features:
        warnings.append(_unsupported("CPU shares", "Shares"))
        host.CpuShares = 0
    if (host.CpuPeriod or host.CpuQuota) and "cpu quota" not in facts.features:
        warnings.append(_unsupported("CPU cfs quota", "Quota"))
        host.CpuPeriod = host.CpuQuota = 0
    if host.CpuPeriod and not 1000 <= host.CpuPeriod <= 1_000_000:
        raise InvalidParameter("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host.CpuQuota < 1000:
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host.CpuQuota < -1 or host.CpuQuota > _LARGEST_QUOTA:
        raise InvalidParameter(f"invalid CPU cfs quota: {host.CpuQuota}")
    _check_realtime(host, facts)
    _check_cpuset(host, facts, warnings)


def _check_realtime(host: HostConfig, facts: SysInfo) -> None:
    if not (host.CpuRealtimePeriod or host.CpuRealtimeRuntime):
        return
    if "cpu realtime" not in facts.features:
        raise InvalidParameter("Your kernel does not support CPU real-time scheduler")
    # sched/rt.c: periods from 1 to 2**32 - 1 microseconds.
    if not 0 <= host.CpuRealtimePeriod < 2**32 or not 0 <= host.CpuRealtimeRuntime < 2**32:
        raise InvalidParameter("cpu real-time period and runtime must be from 0 to 4294967295 microseconds")
    if host.CpuRealtimePeriod and host.CpuRealtimeRuntime > host.CpuRealtimePeriod:
        raise InvalidParameter("cpu real-time runtime cannot be higher than cpu real-time period")


def _check_cpuset(host: HostConfig, facts: SysInfo, warnings: list[str]) -> None:
    if (host.CpusetCpus or host.CpusetMems) and "cpuset" not in facts.features:
        warnings.append(_unsupported("cpuset", "Cpuset"))
        host.CpusetCpus = host.CpusetMems = ""
    for requested, available, kind, plural in (
        (host.CpusetCpus, facts.cpu_ids, "cpus", "CPUs"),
        (host.CpusetMems, facts.memory_nodes, "mems", "memory nodes"),
    ):
        if not requested:
            continue
        numbers = numbers_in(requested) if _CPU_LIST.match(requested) else frozenset()
        if not numbers:
            raise InvalidParameter(f"Invalid value {requested} for cpuset {kind}")
        if not numbers <= available:
            raise InvalidParameter(
                f"Requested {plural} are not available - requested {requested}, "
                f"available: {','.join(str(number) for number in sorted(available))}"
            )


def _check_block_io(host: HostConfig, facts: SysInfo, warnings: list[str]) -> None:
    if host.BlkioWeight and "block weight" not in facts.features:
        warnings.append(_unsupported("Block I/O weight", "Weight"))
        host.BlkioWeight = 0
    if host.BlkioWeight and not 10 <= host.BlkioWeight <= 1000:
        raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    for device in host.BlkioWeightDevice or ():
        block_device(device.Path)
        if device.Weight and not 10 <= device.Weight <= 1000:
            raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    if host.BlkioWeightDevice and "block weight device" not in facts.features:
        warnings.append(_unsupported("Block I/O weight_device", "Weight-device"))
        host.BlkioWeightDevice = None
    for name, what, limit in (
        ("BlkioDeviceReadBps", "BPS Block I/O read limit", "Block I/O BPS read limit"),
        ("BlkioDeviceWriteBps", "BPS Block I/O write limit", "Block I/O BPS write limit"),
        ("BlkioDeviceReadIOps", "IOPS Block read limit", "Block I/O IOPS read limit"),
        ("BlkioDeviceWriteIOps", "IOPS Block write limit", "Block I/O IOPS write limit"),
    ):
        devices = getattr(host, name)
        for device in devices or ():
            block_device(device.Path)
            # The kernel keeps operations per second in 32 bits.
            if not 0 <= device.Rate <= (2**32 - 1 if "IOps" in name else _LARGEST):
                raise InvalidParameter(f"invalid rate for {device.Path}: {device.Rate}")
        if devices and "block throttle" not in facts.features:
            warnings.append(_unsupported(what, limit))
            setattr(host, name, None)


def _check_ulimits(host: HostConfig, facts: SysInfo, warnings: list[str]) -> None:
    for ulimit in host.Ulimits or ():
        if ulimit.Name not in RLIMITS:
            raise InvalidParameter(f"invalid ulimit type: {ulimit.Name}")
        if min(ulimit.Soft, ulimit.Hard) < -1 or max(ulimit.Soft, ulimit.Hard) > _LARGEST:
            raise InvalidParameter(f"invalid ulimit value for {ulimit.Name}: {ulimit.Soft}:{ulimit.Hard}")
        if ulimit.Hard != -1 and (ulimit.Soft == -1 or ulimit.Soft > ulimit.Hard):
            raise InvalidParameter(
                f"ulimit soft limit must be less than or equal to hard limit: {ulimit.Soft} > {ulimit.Hard}"
            )
        ceiling = facts.ceiling(ulimit.Name)
        if ceiling >= 0 and (ulimit.Hard == -1 or ulimit.Hard > ceiling):
            warnings.append(
                f"Your engine may not raise the limit {ulimit.Name} above {ceiling}. The limit is lowered to that."
            )
