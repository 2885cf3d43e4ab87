"""One reading of all counters of a container, for many containers one after the other.

`darse.runtime.cgroups.stats` keeps the files of a few containers open, for clients that watch; here a thousand
containers are read each quarter of a minute, so the files are opened, read and closed (5 µs each; kept open they would
take 4 kB each of the kernel's memory). A file that the host has not is not asked for again. Limits are not read: the
container's record has them.

The counters are those of cgroups(7): cgroup-v2.rst, and cgroup-v1/memory.rst, blkio-controller.rst, cpuacct.rst;
pressure is psi.rst's, of version 2 alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from darse.runtime.cgroups.hierarchies import Cgroups

_PIECE: Final = 16384
# Files that come record by record end a read where the next record does not fit into a page: such a short one is whole.
_SHORT: Final = 2048
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_MICROSECONDS: Final = 1e6
_NANOSECONDS: Final = 1e9
# Files of version 1, by controller.
_V1: Final = {
    "usage": ("cpuacct", "cpuacct.usage"),
    "split": ("cpuacct", "cpuacct.stat"),
    "throttling": ("cpu", "cpu.stat"),
    "memory": ("memory", "memory.usage_in_bytes"),
    "memory peak": ("memory", "memory.max_usage_in_bytes"),
    "memory fails": ("memory", "memory.failcnt"),
    "memory stat": ("memory", "memory.stat"),
    "oom": ("memory", "memory.oom_control"),
    "threads": ("pids", "pids.current"),
    "processes": ("pids", "cgroup.procs"),
    "io bytes": ("blkio", "blkio.throttle.io_service_bytes_recursive"),
    "io operations": ("blkio", "blkio.throttle.io_serviced_recursive"),
}
_V2: Final = {
    "cpu": "cpu.stat",
    "memory": "memory.current",
    "memory peak": "memory.peak",
    "memory stat": "memory.stat",
    "swap": "memory.swap.current",
    "memory events": "memory.events",
    "threads": "pids.current",
    "processes": "cgroup.procs",
    "io": "io.stat",
    "cpu pressure": "cpu.pressure",
    "memory pressure": "memory.pressure",
    "io pressure": "io.pressure",
}
_PRESSURES: Final = ("cpu pressure", "memory pressure", "io pressure")


class Throttling(msgspec.Struct, gc=False):
    """Periods of the CPU limit, those in which it was hit, and the seconds lost by that."""

    periods: int
    throttled: int
    seconds: float


class DeviceIO(msgspec.Struct, gc=False):
    """What went from and to one block device: bytes and operations."""

    read_bytes: int = 0
    written_bytes: int = 0
    reads: int = 0
    writes: int = 0


class ContainerCounters(msgspec.Struct):
    """One reading. Times are seconds, sizes bytes; `pressure` (waiting, stalled) is None where the kernel has none."""

    cpu: float
    cpu_user: float
    cpu_system: float
    throttling: Throttling
    memory: int
    memory_peak: int
    memory_fails: int
    working_set: int
    rss: int
    cache: int
    mapped_file: int
    swap: int
    page_faults: int
    major_faults: int
    oom_kills: int
    processes: int
    threads: int
    devices: dict[str, DeviceIO]
    #: By interface: received bytes, packets, errors, drops, then the same of what was sent. None: the host's network.
    networks: dict[str, tuple[int, ...]] | None
    pressure: dict[str, tuple[float, float]]


class CounterReader:
    """Reads containers; not for several threads at once."""

    def __init__(self, cgroups: Cgroups, proc: Path = Path("/proc")) -> None:
        """Look which hierarchy has which file."""
        self._proc = str(proc)
        self._is_unified = cgroups.unified
        if self._is_unified:
            root = str(cgroups.hierarchies[0].path)
            self._places = {name: (root, file) for name, file in _V2.items()}
        else:
            trees = {controller: str(tree.path) for tree in cgroups.hierarchies for controller in tree.controllers}
            self._places = {name: (trees[tree], file) for name, (tree, file) in _V1.items() if tree in trees}
        self._path = ""
        self._unlimited: frozenset[str] = frozenset()
        self._devices: dict[str, str] = {}
        self._own_network = os.stat("/proc/self/ns/net").st_ino

    def read(self, path: str, pid: int, unlimited: frozenset[str] = frozenset()) -> ContainerCounters:
        """Read the cgroup `path` (absolute within each hierarchy) and the network of process `pid`.

        unlimited: `cpu` and `memory` where these have no limit, so that what counts how often it was reached is 0; such
        a file is not opened. Raises OSError when the container has ended.
        """
        self._path = path
        self._unlimited = unlimited
        return self._unified(pid) if self._is_unified else self._legacy(pid)

    def _bytes(self, name: str) -> bytes:
        """A file of the cgroup; empty where the host has none such. Raises OSError when the cgroup is gone."""
        place = self._places.get(name)
        if place is None:
            return b""
        directory = place[0] + self._path
        try:
            return _read(f"{directory}/{place[1]}")
        except OSError:
            if not os.path.isdir(directory):
                raise
            # Pressure may be switched off by the kernel's command line: the file is there, and no read succeeds.
            del self._places[name]
            return b""

    def _number(self, name: str) -> int:
        text = self._bytes(name).strip()
        return int(text) if text.isdigit() else 0

    def _table(self, name: str) -> dict[bytes, bytes]:
        words = self._bytes(name).split()
        return dict(zip(words[::2], words[1::2], strict=False))

    def _processes(self, threads: int) -> int:
        """One thread is one process; only more of them are looked for in a file."""
        return 1 if threads == 1 else self._bytes("processes").count(b"\n")

    def _legacy(self, pid: int) -> ContainerCounters:
        split, memory = self._table("split"), self._table("memory stat")
        throttling = {} if "cpu" in self._unlimited else self._table("throttling")
        usage, threads = self._number("memory"), self._number("threads")
        return ContainerCounters(
            cpu=self._number("usage") / _NANOSECONDS,
            cpu_user=int(split.get(b"user", 0)) / _TICKS,
            cpu_system=int(split.get(b"system", 0)) / _TICKS,
            throttling=Throttling(
                int(throttling.get(b"nr_periods", 0)),
                int(throttling.get(b"nr_throttled", 0)),
                int(throttling.get(b"throttled_time", 0)) / _NANOSECONDS,
            ),
            memory=usage,
            memory_peak=self._number("memory peak"),
            memory_fails=0 if "memory" in self._unlimited else self._number("memory fails"),
            working_set=max(0, usage - int(memory.get(b"total_inactive_file", 0))),
            rss=int(memory.get(b"total_rss", 0)),
            cache=int(memory.get(b"total_cache", 0)),
            mapped_file=int(memory.get(b"total_mapped_file", 0)),
            swap=int(memory.get(b"total_swap", 0)),
            page_faults=int(memory.get(b"total_pgfault", 0)),
            major_faults=int(memory.get(b"total_pgmajfault", 0)),
            oom_kills=int(self._table("oom").get(b"oom_kill", 0)),
            processes=self._processes(threads),
            threads=threads,
            devices=self._legacy_io(),
            networks=self._networks(pid),
            pressure={},
        )

    def _legacy_io(self) -> dict[str, DeviceIO]:
        """Lines such as `8:0 Read 4096`."""
        found: dict[str, DeviceIO] = {}
        for name, read, write in (("io bytes", "read_bytes", "written_bytes"), ("io operations", "reads", "writes")):
            if name == "io operations" and not found:
                break  # no byte has been read or written
            for line in self._bytes(name).splitlines():
                words = line.split()
                if len(words) == 3 and words[1] in (b"Read", b"Write"):
                    counted = found.setdefault(self._device(words[0]), DeviceIO())
                    setattr(counted, read if words[1] == b"Read" else write, int(words[2]))
        return found

    def _unified(self, pid: int) -> ContainerCounters:
        cpu, memory, events = self._table("cpu"), self._table("memory stat"), self._table("memory events")
        usage, threads = self._number("memory"), self._number("threads")
        return ContainerCounters(
            cpu=int(cpu.get(b"usage_usec", 0)) / _MICROSECONDS,
            cpu_user=int(cpu.get(b"user_usec", 0)) / _MICROSECONDS,
            cpu_system=int(cpu.get(b"system_usec", 0)) / _MICROSECONDS,
            throttling=Throttling(
                int(cpu.get(b"nr_periods", 0)),
                int(cpu.get(b"nr_throttled", 0)),
                int(cpu.get(b"throttled_usec", 0)) / _MICROSECONDS,
            ),
            memory=usage,
            memory_peak=self._number("memory peak"),
            memory_fails=int(events.get(b"max", 0)),
            working_set=max(0, usage - int(memory.get(b"inactive_file", 0))),
            rss=int(memory.get(b"anon", 0)),
            cache=int(memory.get(b"file", 0)),
            mapped_file=int(memory.get(b"file_mapped", 0)),
            swap=self._number("swap"),
            page_faults=int(memory.get(b"pgfault", 0)),
            major_faults=int(memory.get(b"pgmajfault", 0)),
            oom_kills=int(events.get(b"oom_kill", 0)),
            processes=self._processes(threads),
            threads=threads,
            devices=self._unified_io(),
            networks=self._networks(pid),
            pressure={
                name.partition(" ")[0]: found
                for name in _PRESSURES
                if (found := _pressure(self._bytes(name))) is not None
            },
        )

    def _unified_io(self) -> dict[str, DeviceIO]:
        """Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`."""
        found = {}
        for line in self._bytes("io").splitlines():
            device, *words = line.split()
            counts = dict(word.partition(b"=")[::2] for word in words)
            found[self._device(device)] = DeviceIO(
                *(int(counts.get(key, 0)) for key in (b"rbytes", b"wbytes", b"rios", b"wios"))
            )
        return found

    def _device(self, number: bytes) -> str:
        """The path of a block device's node; the number itself where the host names none."""
        text = number.decode()
        name = self._devices.get(text)
        if name is None:
            try:
                name = f"/dev/{os.path.basename(os.readlink(f'/sys/dev/block/{text}'))}"
            except OSError:
                name = text
            self._devices[text] = name
        return name

    def _networks(self, pid: int) -> dict[str, tuple[int, ...]] | None:
        """The interfaces but the loopback (proc_pid_net(5)); None where it is the host's network."""
        if os.stat(f"{self._proc}/{pid}/ns/net").st_ino == self._own_network:
            return None
        found = {}
        for line in _read(f"{self._proc}/{pid}/net/dev").splitlines()[2:]:
            name, _, counters = line.rpartition(b":")
            name = name.strip()
            if name != b"lo":
                numbers = [int(word) for word in counters.split()]
                found[name.decode(errors="replace")] = (*numbers[:4], *numbers[8:12])
        return found


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _PIECE)
        if len(data) < _SHORT:
            return data
        while piece := os.read(descriptor, _PIECE):
            data += piece
        return data
    finally:
        os.close(descriptor)


def _pressure(text: bytes) -> tuple[float, float] | None:
    """Seconds in which some, and in which all tasks waited: lines such as `some avg10=0.00 … total=1234` (µs)."""
    totals = {
        line.split(b" ", 1)[0]: int(line.rpartition(b"total=")[2]) for line in text.splitlines() if b"total=" in line
    }
    if b"some" not in totals:
        return None
    return totals[b"some"] / _MICROSECONDS, totals.get(b"full", 0) / _MICROSECONDS
