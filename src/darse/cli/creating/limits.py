"""Limits: those that `update` can change, too, and the others."""

from __future__ import annotations

from typing import Any

from darse.cli.creating.values import invalid, size
from darse.cli.errors import CliError
from darse.cli.flags import Options


def limits(options: Options) -> dict[str, Any]:
    """The limits that `update` can change, too. Raises CliError."""
    swap = -1 if options.memory_swap == "-1" else size(options.memory_swap, "memory-swap") if options.memory_swap else 0
    reservation = size(options.memory_reservation, "memory-reservation") if options.memory_reservation else 0
    kernel = {"KernelMemory": size(options.kernel_memory, "kernel-memory")} if options.kernel_memory else {}
    return {
        **kernel,
        "BlkioWeight": options.blkio_weight or 0,
        "CpuShares": options.cpu_shares or 0,
        "NanoCpus": _cpus(options.cpus),
        "CpuPeriod": options.cpu_period or 0,
        "CpuQuota": options.cpu_quota or 0,
        "CpuRealtimePeriod": options.cpu_rt_period or 0,
        "CpuRealtimeRuntime": options.cpu_rt_runtime or 0,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "Memory": size(options.memory, "memory") if options.memory else 0,
        "MemoryReservation": reservation,
        "MemorySwap": swap,
        "PidsLimit": options.pids_limit,
    }


def restart_policy(text: str) -> dict[str, Any]:
    """`on-failure:3`. Raises CliError."""
    name, separator, count = text.partition(":")
    if separator and not count.isdecimal():
        raise CliError("invalid restart policy format: maximum retry count must be an integer", 125)
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def _cpus(text: str) -> int:
    if not text:
        return 0
    try:
        return round(float(text) * 1_000_000_000)
    except ValueError:
        raise invalid(text, "cpus", f"failed to parse {text} as a rational number") from None


def ulimit(text: str) -> dict[str, Any]:
    name, equals, numbers = text.partition("=")
    soft, _, hard = numbers.partition(":")
    try:
        low = int(soft)
        high = int(hard) if hard else low
    except ValueError:
        raise invalid(text, "ulimit", f"invalid ulimit argument: {text}") from None
    if not equals:
        raise invalid(text, "ulimit", f"invalid ulimit argument: {text}")
    if high != -1 and low > high:
        raise invalid(text, "ulimit", f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    return {"Name": name, "Soft": low, "Hard": high}
