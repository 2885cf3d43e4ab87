"""What a service's containers may use: processors, memory, block devices, devices, processes, files."""

from __future__ import annotations

from darse.compose.model.deploy import Resource, ServiceDeviceRequest
from darse.compose.model.service import BlockIO, Service, ThrottledDevice
from darse.wire.host_config import DeviceMapping, DeviceRequest, HostConfig, ThrottleDevice, Ulimit, WeightDevice

_BILLION = 1_000_000_000


def limits(host: HostConfig, service: Service) -> None:
    """Set the limits of a host configuration; those of `deploy` win."""
    host.CgroupParent = service.cgroup_parent
    host.CpuShares = service.cpu_shares
    host.CpuPeriod = service.cpu_period
    host.CpuQuota = service.cpu_quota
    host.CpuRealtimePeriod = service.cpu_rt_period
    host.CpuRealtimeRuntime = service.cpu_rt_runtime
    host.CpusetCpus = service.cpuset
    host.CpuCount = service.cpu_count
    host.CpuPercent = int(float(service.cpu_percent) * 100)
    host.NanoCpus = _nano(service.cpus)
    host.Memory = int(service.mem_limit)
    host.MemoryReservation = int(service.mem_reservation)
    host.MemorySwap = int(service.memswap_limit)
    host.MemorySwappiness = int(service.mem_swappiness) or None
    host.OomKillDisable = service.oom_kill_disable
    host.OomScoreAdj = service.oom_score_adj
    host.PidsLimit = service.pids_limit or None
    host.Ulimits = [
        Ulimit(name, one.single or one.soft, one.single or one.hard) for name, one in sorted(service.ulimits.items())
    ] or None
    host.Devices = [
        DeviceMapping(one.source, one.target or one.source, one.permissions or "rwm")
        for one in service.devices
        if not _is_named(one.source)
    ] or None
    host.DeviceCgroupRules = service.device_cgroup_rules or None
    _block_devices(host, service.blkio_config)
    resources = service.deploy.resources if service.deploy is not None else None
    reserved = resources.reservations if resources is not None else None
    if resources is not None:
        _deploy(host, resources.limits, reserved)
    host.DeviceRequests = _requests(service, reserved) or None


def _nano(processors: float) -> int:
    return round(float(f"{processors:.7g}") * _BILLION)


def _deploy(host: HostConfig, most: Resource | None, reserved: Resource | None) -> None:
    if most is not None:
        host.Memory = int(most.memory) or host.Memory
        host.NanoCpus = _nano(most.cpus) or host.NanoCpus
        host.PidsLimit = most.pids or host.PidsLimit
    if reserved is not None:
        host.MemoryReservation = int(reserved.memory) or host.MemoryReservation


def _requests(service: Service, reserved: Resource | None) -> list[DeviceRequest]:
    found = [_request(one, one.capabilities) for one in (reserved.devices if reserved is not None else ())]
    found += [_request(one, list(dict.fromkeys([*one.capabilities, "gpu"]))) for one in service.gpus]
    if named := [one.source for one in service.devices if _is_named(one.source)]:
        found.append(DeviceRequest(Driver="cdi", DeviceIDs=named))
    return found


def _is_named(source: str) -> bool:
    """Whether a device is a name of the Container Device Interface, `vendor.com/class=name`."""
    return "=" in source and not source.startswith("/")


def _request(one: ServiceDeviceRequest, capabilities: list[str]) -> DeviceRequest:
    return DeviceRequest(one.driver, int(one.count), one.device_ids or None, [capabilities], one.options or None)


def _block_devices(host: HostConfig, given: BlockIO | None) -> None:
    if given is None:
        return
    host.BlkioWeight = given.weight
    host.BlkioWeightDevice = [WeightDevice(one.path, one.weight) for one in given.weight_device] or None
    host.BlkioDeviceReadBps = _rates(given.device_read_bps)
    host.BlkioDeviceReadIOps = _rates(given.device_read_iops)
    host.BlkioDeviceWriteBps = _rates(given.device_write_bps)
    host.BlkioDeviceWriteIOps = _rates(given.device_write_iops)


def _rates(devices: list[ThrottledDevice]) -> list[ThrottleDevice] | None:
    return [ThrottleDevice(one.path, int(one.rate)) for one in devices] or None
