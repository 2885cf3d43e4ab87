"""Documents of what containers do and use."""

from __future__ import annotations

from typing import TypedDict

from darse.client.documents.host_config import ResourcesDocument, RestartPolicyDocument


class TopResponseDocument(TypedDict, total=False):
    """Answer to a top."""

    Titles: list[str]
    Processes: list[list[str]]


class FilesystemChangeDocument(TypedDict, total=False):
    """A path that a container has changed (0), added (1) or removed (2)."""

    Path: str
    Kind: int


class PidsStatsDocument(TypedDict, total=False):
    """Processes and threads; the limit is 0 where there is none."""

    current: int
    limit: int


class BlkioEntryDocument(TypedDict, total=False):
    """One counter of a block device."""

    op: str
    value: int


class BlkioStatsDocument(TypedDict, total=False):
    """Bytes and operations of block devices; the others went with the kernel's CFQ scheduler."""

    io_service_bytes_recursive: list[BlkioEntryDocument] | None


class CPUUsageDocument(TypedDict, total=False):
    """Processor time in nanoseconds; per processor on cgroup version 1."""

    total_usage: int
    percpu_usage: list[int] | None


class CPUStatsDocument(TypedDict, total=False):
    """What the container has used, and all of the host at the same time (nanoseconds since boot)."""

    cpu_usage: CPUUsageDocument
    system_cpu_usage: int
    online_cpus: int


class MemoryStatsDocument(TypedDict, total=False):
    """Bytes; `stats` is the kernel's memory.stat."""

    usage: int
    stats: dict[str, int] | None
    limit: int


class NetworkStatsDocument(TypedDict, total=False):
    """Counters of one interface, from the container's side."""

    rx_bytes: int
    tx_bytes: int


class StatsResponseDocument(TypedDict, total=False):
    """One sample."""

    name: str
    id: str
    pids_stats: PidsStatsDocument
    blkio_stats: BlkioStatsDocument
    cpu_stats: CPUStatsDocument
    precpu_stats: CPUStatsDocument
    memory_stats: MemoryStatsDocument
    networks: dict[str, NetworkStatsDocument]


class UpdateRequestDocument(ResourcesDocument, total=False):
    """Body of an update: limits that are 0, empty or null stay as they are, but empty lists of devices' limits."""

    RestartPolicy: RestartPolicyDocument


class UpdateResponseDocument(TypedDict, total=False):
    """Answer to an update."""

    Warnings: list[str]
