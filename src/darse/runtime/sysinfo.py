"""What this host can do, read once when the engine starts.

Limits are those of the engine's own process: what it may not do, no container can be given.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import resource
from pathlib import Path

import msgspec

from darse.runtime.apparmor import load_default_profile
from darse.runtime.cgroups.hierarchies import Cgroups
from darse.runtime.oci.capabilities import ALL, present

# setrlimit(2)'s numbers by docker's names. `as` is missing on purpose: it would bind the runtime's own set-up.
RLIMITS = {
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}

_PROCESSORS = Path("/sys/devices/system/cpu")
# What a version 1 hierarchy can do, by the file that does it.
_V1_FEATURES = {
    "memory reservation": ("memory", "memory.soft_limit_in_bytes"),
    "memory swappiness": ("memory", "memory.swappiness"),
    "oom kill disable": ("memory", "memory.oom_control"),
    "cpu shares": ("cpu", "cpu.shares"),
    "cpu quota": ("cpu", "cpu.cfs_quota_us"),
    "cpu realtime": ("cpu", "cpu.rt_runtime_us"),
    "cpuset": ("cpuset", "cpuset.cpus"),
    "pids": ("pids", "cgroup.procs"),
    "block weight": ("blkio", "blkio.weight"),
    "block weight device": ("blkio", "blkio.weight_device"),
    "block throttle": ("blkio", "blkio.throttle.read_bps_device"),
}
_V2_FEATURES = {
    "memory": ("memory reservation",),
    "cpu": ("cpu shares", "cpu quota"),
    "cpuset": ("cpuset",),
    "pids": ("pids",),
    "io": ("block weight", "block weight device", "block throttle"),
}


class SysInfo(msgspec.Struct, frozen=True):
    """Facts that decide what a container may ask for; sizes in bytes, -1 for limits that are none."""

    cgroup_version: int
    controllers: frozenset[str]
    features: frozenset[str]
    capabilities: frozenset[str]
    cpus: int
    cpu_ids: frozenset[int]
    memory_nodes: frozenset[int]
    memory: int
    swap_accounting: bool
    apparmor: bool
    apparmor_profile: str
    open_files_hard: int
    limits: dict[str, int]
    open_files_ceiling: int
    lowest_oom_score: int
    kernel: str
    kernel_version: tuple[int, ...]
    architecture: str
    #: Directories of counters that tell what others do, by processor; there are some on real machines.
    thermal_counters: tuple[str, ...] = ()

    @property
    def may_raise_limits(self) -> bool:
        """Whether hard limits above the engine's own can be set."""
        return "CAP_SYS_RESOURCE" in self.capabilities

    @property
    def recursive_read_only(self) -> bool:
        """Whether mount_setattr(2) can make a bind read-only with all that is mounted below it."""
        return self.kernel_version >= (5, 12)

    def ceiling(self, limit: str) -> int:
        """The highest hard limit that setrlimit(2) lets us set, or -1."""
        own = -1 if self.may_raise_limits else self.limits.get(limit, -1)
        if limit == "nofile":
            # Above fs.nr_open it fails for everybody.
            return self.open_files_ceiling if own < 0 else min(own, self.open_files_ceiling)
        return own


def read_sysinfo(cgroups: Cgroups) -> SysInfo:
    """Look at /proc and /sys; where there is AppArmor, have our profile loaded."""
    if cgroups.unified:
        version = 2
        controllers = frozenset((cgroups.hierarchies[0].path / "cgroup.controllers").read_text().split())
        features = frozenset(name for controller in controllers for name in _V2_FEATURES.get(controller, ()))
        if not _has_block_weights(cgroups.hierarchies[0].path):
            features -= {"block weight", "block weight device"}
        swap = True
    else:
        version = 1
        trees = {name: tree.path for tree in cgroups.hierarchies for name in tree.controllers}
        controllers = frozenset(trees)
        features = frozenset(
            name
            for name, (controller, file) in _V1_FEATURES.items()
            if controller in trees and (trees[controller] / file).exists()
        )
        swap = "memory" in trees and (trees["memory"] / "memory.memsw.limit_in_bytes").exists()
    hard = {name: resource.getrlimit(number)[1] for name, number in RLIMITS.items()}
    capabilities = _own_capabilities()
    apparmor = _is_yes(Path("/sys/module/apparmor/parameters/enabled"))
    return SysInfo(
        cgroup_version=version,
        controllers=controllers,
        features=features,
        capabilities=capabilities,
        cpus=len(os.sched_getaffinity(0)),
        cpu_ids=_allowed("Cpus_allowed_list"),
        memory_nodes=_allowed("Mems_allowed_list"),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        swap_accounting=swap,
        apparmor=apparmor,
        apparmor_profile=load_default_profile() if apparmor else "",
        open_files_hard=hard["nofile"],
        limits=hard,
        open_files_ceiling=int(Path("/proc/sys/fs/nr_open").read_text()),
        lowest_oom_score=_lowest_oom_score(capabilities),
        kernel=platform.release(),
        kernel_version=release_numbers(platform.release()),
        architecture=platform.machine(),
        thermal_counters=find_thermal_counters(_PROCESSORS),
    )


def find_thermal_counters(processors: Path) -> tuple[str, ...]:
    """The directories of each processor's counters, in the order of the processors."""
    found = processors.glob("cpu[0-9]*/thermal_throttle")
    return tuple(str(path) for path in sorted(found, key=lambda path: int(path.parent.name.removeprefix("cpu"))))


def _has_block_weights(root: Path) -> bool:
    """Whether cgroups of version 2 have `io.weight` or `io.bfq.weight`: these are not in the root, unlike their kin."""
    return (root / "io.cost.qos").exists() or Path("/sys/module/bfq").exists()


def _own_capabilities() -> frozenset[str]:
    masks = [int(_own_status(key), 16) for key in ("CapEff", "CapBnd")]
    both = present(masks[0] & masks[1])
    return frozenset(name for name in ALL if name in both)


def _own_status(key: str) -> str:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return value.strip()
    return "0"


def _allowed(key: str) -> frozenset[int]:
    return numbers_in(_own_status(key))


def numbers_in(text: str) -> frozenset[int]:
    """Read the kernel's list format, `0-2,7`. Raises ValueError."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        numbers.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(numbers)


def release_numbers(release: str) -> tuple[int, ...]:
    """`6.1.0-13-amd64` as (6, 1)."""
    return tuple(int(number[:9]) for number in re.findall(r"[0-9]+", release.partition("-")[0])[:2])


def _lowest_oom_score(capabilities: frozenset[str]) -> int:
    """The lowest oom_score_adj that we may give to a child, from -1000 to 1000 (proc(5)).

    Without CAP_SYS_RESOURCE that is what a process with it has set last for us or for a parent of ours, which nothing
    shows; so it is tried, on ourselves. Inside Kubernetes it is above 0, and then docker's default would fail.
    """
    if "CAP_SYS_RESOURCE" in capabilities:
        return -1000
    path = Path("/proc/self/oom_score_adj")
    current = int(path.read_text())
    if current <= 0:
        return current
    try:
        path.write_text("0")
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
        return current
    path.write_text(str(current))
    return 0


def _is_yes(path: Path) -> bool:
    try:
        return path.read_text().strip() == "Y"
    except FileNotFoundError:
        return False
