"""A host for tests: everything works, 4 processors, and the limits that a test names."""

from __future__ import annotations

from typing import Any

from darse.runtime.oci.capabilities import ALL
from darse.runtime.sysinfo import RLIMITS, SysInfo

_FEATURES = [
    "memory reservation",
    "memory swappiness",
    "oom kill disable",
    "cpu shares",
    "cpu quota",
    "cpuset",
    "pids",
    "block weight",
    "block weight device",
    "block throttle",
]


def facts(**changes: Any) -> SysInfo:
    """The host, with `changes`."""
    values: dict[str, Any] = {
        "cgroup_version": 1,
        "controllers": frozenset({"memory", "cpu", "cpuset", "pids", "blkio", "devices"}),
        "features": frozenset(_FEATURES),
        "capabilities": frozenset(ALL),
        "cpus": 4,
        "cpu_ids": frozenset(range(4)),
        "memory_nodes": frozenset({0}),
        "memory": 8 << 30,
        "swap_accounting": True,
        "apparmor": False,
        "apparmor_profile": "",
        "open_files_hard": 4096,
        "limits": dict.fromkeys(RLIMITS, -1) | {"nofile": 4096},
        "open_files_ceiling": 1 << 20,
        "lowest_oom_score": -1000,
        "kernel": "6.1.0",
        "kernel_version": (6, 1),
        "architecture": "x86_64",
    }
    return SysInfo(**{**values, **changes})


WEAK = facts(capabilities=frozenset(ALL) - {"CAP_SYS_RESOURCE"}, lowest_oom_score=0)
