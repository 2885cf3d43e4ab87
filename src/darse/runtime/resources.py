"""`linux.resources` of the OCI spec: limits from the API's words to the runtime's.

The runtime translates them to cgroup version 1 or 2; what is left to do is docker's own arithmetic.
"""

from __future__ import annotations

from typing import Any

from darse.runtime.devices import device_rules, numbers_of
from darse.wire.containers import HostConfig, ThrottleDevice

_PERIOD = 100_000


def linux_resources(host: HostConfig, device_nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the resources object. Raises InvalidParameter for devices that are none."""
    resources: dict[str, Any] = {"devices": device_rules(host, device_nodes)}
    if memory := _memory(host):
        resources["memory"] = memory
    if cpu := _cpu(host):
        resources["cpu"] = cpu
    if host.PidsLimit is not None and host.PidsLimit > 0:
        resources["pids"] = {"limit": host.PidsLimit}
    if blkio := _block_io(host):
        resources["blockIO"] = blkio
    return resources


def _memory(host: HostConfig) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if host.Memory > 0:
        memory["limit"] = host.Memory
        # As docker: without a word about swap, as much again.
        memory["swap"] = host.MemorySwap if host.MemorySwap != 0 else host.Memory * 2
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
        cpu["shares"] = host.CpuShares
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
            {**numbers_of(device.Path), "weight": device.Weight} for device in host.BlkioWeightDevice
        ]

    def throttle(key: str, devices: list[ThrottleDevice] | None) -> None:
        if devices:
            block[key] = [{**numbers_of(device.Path), "rate": device.Rate} for device in devices]

    throttle("throttleReadBpsDevice", host.BlkioDeviceReadBps)
    throttle("throttleWriteBpsDevice", host.BlkioDeviceWriteBps)
    throttle("throttleReadIOPSDevice", host.BlkioDeviceReadIOps)
    throttle("throttleWriteIOPSDevice", host.BlkioDeviceWriteIOps)
    return block
