"""`linux.resources` of the OCI spec: limits from the API's words to the runtime's.

The runtime translates them to cgroup version 1 or 2; what is left to do is docker's own arithmetic, and to keep
numbers within what the kernel's files take: beyond that a limit is none, and the write would fail the start.
"""

from __future__ import annotations

from typing import Any, Final

from darse.runtime.oci.devices import block_device, device_rules
from darse.runtime.sysinfo import SysInfo
from darse.wire.host_config import HostConfig, ThrottleDevice

_PERIOD: Final = 100_000
_LARGEST: Final = 2**63 - 1
# sched/core.c MIN_SHARES and MAX_SHARES, to which version 1 clamps; crun's conversion for version 2 does not.
_SHARES: Final = (2, 262_144)
# PID_MAX_LIMIT of 64-bit kernels: more is written as "max".
_MOST_PIDS: Final = 4_194_304


def linux_resources(host: HostConfig, device_nodes: list[dict[str, Any]], facts: SysInfo) -> dict[str, Any]:
    """Return the resources object. Raises InvalidParameter for devices that are none.

    What the host's cgroups cannot do is left out; `validate` has warned of it.
    """
    resources: dict[str, Any] = {"devices": device_rules(host, device_nodes)}
    if memory := _memory(host):
        resources["memory"] = memory
    if cpu := _cpu(host):
        resources["cpu"] = cpu
    if host.PidsLimit is not None and 0 < host.PidsLimit <= _MOST_PIDS and "pids" in facts.controllers:
        resources["pids"] = {"limit": host.PidsLimit}
    if blkio := _block_io(host):
        resources["blockIO"] = blkio
    return resources


def _memory(host: HostConfig) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if host.Memory > 0:
        memory["limit"] = host.Memory
        # As docker: without a word about swap, as much again.
        memory["swap"] = host.MemorySwap if host.MemorySwap != 0 else min(host.Memory * 2, _LARGEST)
    if host.MemoryReservation > 0:
        memory["reservation"] = host.MemoryReservation
    if host.MemorySwappiness is not None and host.MemorySwappiness >= 0:
        memory["swappiness"] = host.MemorySwappiness
    if host.OomKillDisable:
        memory["disableOOMKiller"] = True
    return memory


def _cpu(host: HostConfig) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    if host.CpuShares > 0:
        cpu["shares"] = min(max(host.CpuShares, _SHARES[0]), _SHARES[1])
    if host.NanoCpus > 0:
        cpu["period"] = _PERIOD
        cpu["quota"] = host.NanoCpus * _PERIOD // 1_000_000_000
    if host.CpuPeriod:
        cpu["period"] = host.CpuPeriod
    if host.CpuQuota:
        cpu["quota"] = host.CpuQuota
    if host.CpuRealtimePeriod:
        cpu["realtimePeriod"] = host.CpuRealtimePeriod
    if host.CpuRealtimeRuntime:
        cpu["realtimeRuntime"] = host.CpuRealtimeRuntime
    if host.CpusetCpus:
        cpu["cpus"] = host.CpusetCpus
    if host.CpusetMems:
        cpu["mems"] = host.CpusetMems
    return cpu


def _block_io(host: HostConfig) -> dict[str, Any]:
    block: dict[str, Any] = {}
    if host.BlkioWeight:
        block["weight"] = host.BlkioWeight
    if host.BlkioWeightDevice:
        block["weightDevice"] = [
            {**block_device(device.Path), "weight": device.Weight} for device in host.BlkioWeightDevice
        ]

    def throttle(key: str, devices: list[ThrottleDevice] | None) -> None:
        if devices:
            block[key] = [{**block_device(device.Path), "rate": device.Rate} for device in devices]

    throttle("throttleReadBpsDevice", host.BlkioDeviceReadBps)
    throttle("throttleWriteBpsDevice", host.BlkioDeviceWriteBps)
    throttle("throttleReadIOPSDevice", host.BlkioDeviceReadIOps)
    throttle("throttleWriteIOPSDevice", host.BlkioDeviceWriteIOps)
    return block
