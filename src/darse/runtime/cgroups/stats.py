"""What a container uses: its cgroups' counters and its network interfaces, read again and again while somebody looks.

The kernel writes these files anew for each read at offset 0, so they are opened once: a sample is a dozen pread(2)s.
The interfaces are in /proc/PID/net/dev, which shows the network namespace that the process was in when the file was
opened; nobody has to enter it.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Final

import msgspec

from darse.runtime.cgroups.hierarchies import Cgroups
from darse.wire.observation import (
    BlkioEntry,
    BlkioStats,
    CPUStats,
    CPUUsage,
    MemoryStats,
    NetworkStats,
    PidsStats,
    ThrottlingData,
)

_PIECE: Final = 8192
_NANOSECONDS: Final = 1_000_000_000
_TICK: Final = _NANOSECONDS // os.sysconf("SC_CLK_TCK")
# Files of a cgroup version 1 controller, by the names used here; of several, the first that exists.
_V1: Final = {
    "cpu": ("cpuacct", ("cpuacct.usage",)),
    "percpu": ("cpuacct", ("cpuacct.usage_percpu",)),
    "split": ("cpuacct", ("cpuacct.stat",)),
    "throttling": ("cpu", ("cpu.stat",)),
    "memory": ("memory", ("memory.usage_in_bytes",)),
    "memory max": ("memory", ("memory.max_usage_in_bytes",)),
    "memory fails": ("memory", ("memory.failcnt",)),
    "memory limit": ("memory", ("memory.limit_in_bytes",)),
    "memory stat": ("memory", ("memory.stat",)),
    "pids": ("pids", ("pids.current",)),
    "pids limit": ("pids", ("pids.max",)),
    "io bytes": ("blkio", ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes")),
    "io operations": ("blkio", ("blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced")),
}
_V2: Final = {
    "cpu": "cpu.stat",
    "memory": "memory.current",
    "memory limit": "memory.max",
    "memory stat": "memory.stat",
    "pids": "pids.current",
    "pids limit": "pids.max",
    "io": "io.stat",
}


class HostCPU(msgspec.Struct, frozen=True):
    """All processors of the host: nanoseconds of all states since boot, and how many are online."""

    total: int
    online: int


class CgroupUsage(msgspec.Struct, frozen=True):
    """One sample; `networks` is None where the container has the host's network."""

    taken_ns: int
    cpu: CPUStats
    memory: MemoryStats
    pids: PidsStats
    block_io: BlkioStats
    networks: dict[str, NetworkStats] | None


class HostCPUReader:
    """Reads /proc/stat: once for all the containers that are sampled at the same time."""

    def __init__(self) -> None:
        self._file = os.open("/proc/stat", os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> HostCPU:
        """As docker counts: user to softirq, without steal and guests (proc_stat(5))."""
        lines = _read(self._file).split(b"\n")
        online = 0
        while lines[online + 1].startswith(b"cpu"):
            online += 1
        return HostCPU(sum(map(int, lines[0].split()[1:8])) * _TICK, online)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


class UsageReader:
    """The open files of one running container. Its cgroups stay readable while they exist."""

    def __init__(self, cgroups: Cgroups, path: str, pid: int, memory: int) -> None:
        """`path` is the container's cgroup, `pid` its process, `memory` the host's in bytes.

        Raises OSError when it has ended. What the host has no controller for is read as nothing.
        """
        self._files: dict[str, int] = {}
        self._memory = memory
        self._is_unified = cgroups.unified
        try:
            if self._is_unified:
                directory = cgroups.hierarchies[0].path / path.lstrip("/")
                for name, file in _V2.items():
                    self._open(name, str(directory / file))
            else:
                trees = {controller: tree.path for tree in cgroups.hierarchies for controller in tree.controllers}
                for name, (controller, files) in _V1.items():
                    if controller in trees:
                        for file in files:
                            if self._open(name, str(trees[controller] / path.lstrip("/") / file)):
                                break
            if os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino:
                self._files["network"] = os.open(f"/proc/{pid}/net/dev", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            self.close()
            raise

    def _open(self, name: str, path: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            self._files[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return name in self._files

    def read(self, host: HostCPU) -> CgroupUsage:
        """Take a sample. Raises OSError when the cgroup is gone."""
        return CgroupUsage(
            time.time_ns(), *(self._unified(host) if self._is_unified else self._legacy(host)), self._networks()
        )

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _bytes(self, name: str) -> bytes:
        descriptor = self._files.get(name)
        return b"" if descriptor is None else _read(descriptor)

    def _number(self, name: str) -> int:
        """A file of one number; 0 for `max` and where there is no such file."""
        text = self._bytes(name).strip()
        return int(text) if text.isdigit() else 0

    def _table(self, name: str) -> dict[str, int]:
        return _pairs(self._bytes(name))

    def _limit(self) -> int:
        """The memory that the container may use: where it has no limit, the host's."""
        limit = self._number("memory limit")
        return limit if 0 < limit < self._memory else self._memory

    def _legacy(self, host: HostCPU) -> tuple[CPUStats, MemoryStats, PidsStats, BlkioStats]:
        split, throttling = self._table("split"), self._table("throttling")
        cpu = CPUStats(
            CPUUsage(
                total_usage=self._number("cpu"),
                percpu_usage=[int(number) for number in self._bytes("percpu").split()] or None,
                usage_in_kernelmode=split.get("system", 0) * _TICK,
                usage_in_usermode=split.get("user", 0) * _TICK,
            ),
            ThrottlingData(
                throttling.get("nr_periods", 0), throttling.get("nr_throttled", 0), throttling.get("throttled_time", 0)
            ),
            host.total,
            host.online,
        )
        memory = MemoryStats(
            usage=self._number("memory"),
            max_usage=self._number("memory max"),
            stats=self._table("memory stat"),
            failcnt=self._number("memory fails"),
            limit=self._limit(),
        )
        return cpu, memory, self._pids(), BlkioStats(self._io("io bytes"), self._io("io operations"))

    def _io(self, name: str) -> list[BlkioEntry] | None:
        """Lines such as `8:0 Read 4096`; the last one is the sum of all."""
        entries = []
        for line in self._bytes(name).splitlines():
            words = line.split()
            if len(words) == 3:
                major, _, minor = words[0].partition(b":")
                entries.append(BlkioEntry(int(major), int(minor), words[1].decode().lower(), int(words[2])))
        return entries or None

    def _pids(self) -> PidsStats:
        return PidsStats(self._number("pids"), self._number("pids limit"))

    def _unified(self, host: HostCPU) -> tuple[CPUStats, MemoryStats, PidsStats, BlkioStats]:
        used = self._table("cpu")
        cpu = CPUStats(
            CPUUsage(
                total_usage=used.get("usage_usec", 0) * 1000,
                usage_in_kernelmode=used.get("system_usec", 0) * 1000,
                usage_in_usermode=used.get("user_usec", 0) * 1000,
            ),
            ThrottlingData(
                used.get("nr_periods", 0), used.get("nr_throttled", 0), used.get("throttled_usec", 0) * 1000
            ),
            host.total,
            host.online,
        )
        memory = MemoryStats(usage=self._number("memory"), stats=self._table("memory stat"), limit=self._limit())
        return cpu, memory, self._pids(), self._unified_io()

    def _unified_io(self) -> BlkioStats:
        """Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`."""
        moved: list[BlkioEntry] = []
        done: list[BlkioEntry] = []
        for line in self._bytes("io").splitlines():
            device, *words = line.split()
            major, _, minor = device.partition(b":")
            for word in words:
                key, _, value = word.partition(b"=")
                for entries, read, write in ((moved, b"rbytes", b"wbytes"), (done, b"rios", b"wios")):
                    if key in (read, write):
                        op = "read" if key == read else "write"
                        entries.append(BlkioEntry(int(major), int(minor), op, int(value)))
        return BlkioStats(moved or None, done or None)

    def _networks(self) -> dict[str, NetworkStats] | None:
        """The interfaces but the loopback (proc_pid_net(5))."""
        descriptor = self._files.get("network")
        if descriptor is None:
            return None
        found = {}
        for line in _read_records(descriptor).splitlines()[2:]:
            name, _, counters = line.rpartition(b":")
            name = name.strip()
            if name == b"lo":
                continue
            numbers = [int(word) for word in counters.split()]
            found[name.decode(errors="replace")] = NetworkStats(*numbers[:4], *numbers[8:12])
        return found


def _read(descriptor: int) -> bytes:
    """The whole of a file that the kernel makes as one piece, anew for each read at offset 0."""
    data = piece = os.pread(descriptor, _PIECE, 0)
    while len(piece) == _PIECE:
        piece = os.pread(descriptor, _PIECE, len(data))
        data += piece
    return data


def _read_records(descriptor: int) -> bytes:
    """The whole of a file that the kernel makes record by record: a read may end after any of them."""
    data = b""
    while piece := os.pread(descriptor, _PIECE, len(data)):
        data += piece
    return data


def _pairs(text: bytes) -> dict[str, int]:
    words = text.decode().split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=False))
