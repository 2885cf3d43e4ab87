"""Looking at containers: top, stats, changes and update (Docker Engine API v1.55, definitions of the same names)."""

from __future__ import annotations

import msgspec

from darse.wire.base import Wire
from darse.wire.host_config import Resources, RestartPolicy


class TopResponse(Wire):
    """Answer to a top."""

    Titles: list[str]
    Processes: list[list[str]]


class FilesystemChange(Wire):
    """A path that a container has changed (0), added (1) or removed (2)."""

    Path: str
    Kind: int


class UpdateRequest(Resources):
    """Body of an update: limits that are 0, empty or null stay as they are, but empty lists of devices' limits."""

    RestartPolicy: RestartPolicy = msgspec.field(default_factory=RestartPolicy)


class UpdateResponse(Wire):
    """Answer to an update."""

    Warnings: list[str]


class CPUUsage(Wire, omit_defaults=True, kw_only=True):
    """Processor time in nanoseconds; per processor on cgroup version 1."""

    total_usage: int
    percpu_usage: list[int] | None = None
    usage_in_kernelmode: int
    usage_in_usermode: int


class ThrottlingData(Wire):
    """How often, and for how many nanoseconds, a quota made the container wait."""

    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class CPUStats(Wire, omit_defaults=True):
    """What the container has used, and all of the host at the same time (nanoseconds since boot)."""

    cpu_usage: CPUUsage
    throttling_data: ThrottlingData
    system_cpu_usage: int = 0
    online_cpus: int = 0


class MemoryStats(Wire, omit_defaults=True):
    """Bytes; `stats` is the kernel's memory.stat."""

    usage: int = 0
    max_usage: int = 0
    stats: dict[str, int] | None = None
    failcnt: int | None = None
    limit: int = 0


class PidsStats(Wire, omit_defaults=True):
    """Processes and threads; the limit is 0 where there is none."""

    current: int = 0
    limit: int = 0


class BlkioEntry(Wire):
    """One counter of a block device."""

    major: int
    minor: int
    op: str
    value: int


class BlkioStats(Wire):
    """Bytes and operations of block devices; the others went with the kernel's CFQ scheduler."""

    io_service_bytes_recursive: list[BlkioEntry] | None = None
    io_serviced_recursive: list[BlkioEntry] | None = None
    io_queue_recursive: list[BlkioEntry] | None = None
    io_service_time_recursive: list[BlkioEntry] | None = None
    io_wait_time_recursive: list[BlkioEntry] | None = None
    io_merged_recursive: list[BlkioEntry] | None = None
    io_time_recursive: list[BlkioEntry] | None = None
    sectors_recursive: list[BlkioEntry] | None = None


class NetworkStats(Wire):
    """Counters of one interface, from the container's side."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


class StatsResponse(Wire, kw_only=True):
    """One sample."""

    name: str
    id: str
    os_type: str = "linux"
    read: str
    preread: str
    pids_stats: PidsStats
    blkio_stats: BlkioStats
    num_procs: int = 0
    storage_stats: dict[str, int]
    cpu_stats: CPUStats
    precpu_stats: CPUStats
    memory_stats: MemoryStats
    networks: dict[str, NetworkStats] | msgspec.UnsetType = msgspec.UNSET


class ContainerUsage(Wire):
    """What a running container has used since it began (nanoseconds, bytes), and what it holds now."""

    Id: str
    Name: str
    CPU: int
    Memory: int
    MemoryLimit: int
    Received: int
    Sent: int
    Read: int
    Written: int
    Processes: int


class HostUsage(Wire):
    """The same of the host since it booted; the file system is that of the engine's data."""

    CPU: int
    CPUs: int
    Memory: int
    MemoryTotal: int
    Received: int
    Sent: int
    Read: int
    Written: int
    Disk: int
    DiskTotal: int


class UsageSample(Wire):
    """What the host and its running containers use, at one moment (nanoseconds since the epoch)."""

    TakenAt: int
    Host: HostUsage
    Containers: list[ContainerUsage]
