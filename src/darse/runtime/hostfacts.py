"""What this host can do, read once when the engine starts."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path

from darse.runtime.capabilities import ALL, present
from darse.runtime.cgroups import Cgroups


@dataclass(frozen=True)
class HostFacts:
    """Facts that decide what a container may ask for; sizes in bytes."""

    cgroup_version: int
    controllers: frozenset[str]
    capabilities: frozenset[str]
    cpus: int
    memory: int
    swap_accounting: bool
    apparmor: bool
    open_files_hard: int
    limits: dict[str, int]
    kernel: str
    architecture: str

    @property
    def may_raise_limits(self) -> bool:
        """Whether hard limits above the engine's own can be set."""
        return "CAP_SYS_RESOURCE" in self.capabilities


RLIMITS = {
    name.lower().removeprefix("rlimit_"): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_")
}


def read_host_facts(cgroups: Cgroups) -> HostFacts:
    """Look at /proc and /sys."""
    if cgroups.unified:
        version = 2
        controllers = frozenset((cgroups.hierarchies[0].path / "cgroup.controllers").read_text().split())
        swap = True
    else:
        version = 1
        controllers = frozenset(name for tree in cgroups.hierarchies for name in tree.controllers)
        swap = any(
            (tree.path / "memory.memsw.limit_in_bytes").exists()
            for tree in cgroups.hierarchies
            if "memory" in tree.controllers
        )
    hard = {name: resource.getrlimit(number)[1] for name, number in RLIMITS.items()}
    status = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    bounding = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")), 16)
    return HostFacts(
        cgroup_version=version,
        controllers=controllers,
        capabilities=frozenset(name for name in ALL if name in present(effective & bounding)),
        cpus=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        swap_accounting=swap,
        apparmor=_is_yes(Path("/sys/module/apparmor/parameters/enabled")),
        open_files_hard=hard["nofile"],
        limits=hard,
        kernel=platform.release(),
        architecture=platform.machine(),
    )


def _is_yes(path: Path) -> bool:
    try:
        return path.read_text().strip() == "Y"
    except FileNotFoundError:
        return False
