"""What the whole host uses: /proc/stat, /proc/meminfo, /proc/net/dev, /proc/diskstats (proc(5)), and statfs(2)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_SECTOR = 512
# Whole disks: their partitions, and what is stacked upon them, would count the same bytes again.
_DISK = re.compile(r"(?:sd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+)")


class HostCounters(NamedTuple):
    """Nanoseconds of processors that were busy, and how many there are; bytes of all else."""

    cpu: int
    cpus: int
    memory: int
    memory_total: int
    received: int
    sent: int
    read: int
    written: int
    disk: int
    disk_total: int


def read_host(data_root: Path) -> HostCounters:
    """Read all of it; the file system is that of `data_root`. Raises OSError."""
    file_system = os.statvfs(data_root)
    return HostCounters(
        *cpu(Path("/proc/stat").read_text()),
        *memory(Path("/proc/meminfo").read_text()),
        *network(Path("/proc/net/dev").read_text()),
        *disks(Path("/proc/diskstats").read_text()),
        (file_system.f_blocks - file_system.f_bfree) * file_system.f_frsize,
        file_system.f_blocks * file_system.f_frsize,
    )


def cpu(text: str) -> tuple[int, int]:
    """Busy nanoseconds of all processors, without idle and iowait; and how many there are."""
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    user, nice, system, _idle, _iowait, *rest = map(int, lines[0][1:8])
    return (user + nice + system + sum(rest)) * _TICK, len(lines) - 1


def memory(text: str) -> tuple[int, int]:
    """Bytes that are in use, and all."""
    table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines() if ":" in line}
    return table["MemTotal"] - table.get("MemAvailable", table["MemFree"]), table["MemTotal"]


def network(text: str) -> tuple[int, int]:
    """Bytes received and sent by interfaces that lead out: no loopback, bridges or containers' ends."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, counters = line.rpartition(":")
        if (Path("/sys/class/net") / name.strip() / "device").exists() or name.strip().startswith(("eth", "en")):
            numbers = counters.split()
            received, sent = received + int(numbers[0]), sent + int(numbers[8])
    return received, sent


def disks(text: str) -> tuple[int, int]:
    """Bytes read and written of whole disks."""
    read = written = 0
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 10 and _DISK.fullmatch(words[2]):
            read, written = read + int(words[5]) * _SECTOR, written + int(words[9]) * _SECTOR
    return read, written
