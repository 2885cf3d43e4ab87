"""The engine as a whole: version, info, disk usage, and which events a client wants."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darse import __version__
from darse.containers.model import Status
from darse.engine import doctor
from darse.engine.events import Event
from darse.engine.filters import Filters
from darse.engine.ids import new_id
from darse.engine.times import rfc3339
from darse.images.snapshots import DRIVER
from darse.runtime.launch import CONMON
from darse.runtime.validate import LOG_DRIVERS
from darse.wire.system import Component, DiskUsage, Finding, Platform, Version

if TYPE_CHECKING:
    from darse.engine.engine import Engine

API_VERSION = "1.51"
MINIMUM_API_VERSION = "1.24"
EVENT_FILTERS = (
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
)


class SystemService:
    """Answers about the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.id = _engine_id(engine.config.data_root)

    def version(self) -> Version:
        """What the engine is made of."""
        components = [
            Component(
                "Engine",
                __version__,
                {
                    "ApiVersion": API_VERSION,
                    "Arch": go_architecture(),
                    "BuildTime": "",
                    "Experimental": "false",
                    "GitCommit": "",
                    "GoVersion": f"python{platform.python_version()}",
                    "KernelVersion": platform.release(),
                    "MinAPIVersion": MINIMUM_API_VERSION,
                    "Os": "linux",
                },
            )
        ]
        runtime = self._engine.runtimes[self._engine.config.default_runtime]
        for name, program in (("conmon", CONMON), (runtime.name, runtime.program)):
            components.append(Component(name, program_version(program), {"GitCommit": ""}))
        return Version(
            Platform=Platform("darse"),
            Components=components,
            Version=__version__,
            ApiVersion=API_VERSION,
            MinAPIVersion=MINIMUM_API_VERSION,
            GitCommit="",
            GoVersion=f"python{platform.python_version()}",
            Os="linux",
            Arch=go_architecture(),
            KernelVersion=platform.release(),
            BuildTime="",
        )

    def info(self) -> dict[str, Any]:
        """The state of the engine and its host, as the API's SystemInfo."""
        engine, config, facts = self._engine, self._engine.config, self._engine.facts
        counts = engine.context.store.counts()
        running, paused = counts[Status.RUNNING], counts[Status.PAUSED]
        total = sum(counts.values())
        has = facts.controllers.__contains__
        runtime = engine.runtimes[config.default_runtime]
        security = ["name=seccomp,profile=builtin"]
        if facts.apparmor:
            security.insert(0, "name=apparmor")
        if facts.cgroup_version == 2:
            security.append("name=cgroupns")
        return {
            "ID": self.id,
            "Containers": total,
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": total - running - paused,
            "Images": len(engine.images.store),
            "Driver": DRIVER,
            "DriverStatus": [
                ["Backing Filesystem", _file_system(config.data_root)],
                ["Supports d_type", "true"],
                ["Using metacopy", "false"],
                ["Native Overlay Diff", "true"],
                ["userxattr", "false"],
            ],
            "DockerRootDir": str(config.data_root),
            "Plugins": {
                "Volume": engine.volumes.driver_names,
                "Network": ["bridge", "host", "null"],
                "Authorization": None,
                "Log": list(LOG_DRIVERS),
            },
            "MemoryLimit": has("memory"),
            "SwapLimit": facts.swap_accounting,
            "CpuCfsPeriod": has("cpu"),
            "CpuCfsQuota": has("cpu"),
            "CPUShares": has("cpu"),
            "CPUSet": has("cpuset"),
            "PidsLimit": has("pids"),
            "OomKillDisable": has("memory") and facts.cgroup_version == 1,
            "IPv4Forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1",
            "Debug": config.debug,
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": 0,
            "NEventsListener": engine.events.listeners,
            "SystemTime": rfc3339(time.time_ns()),
            "LoggingDriver": "json-file",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": str(facts.cgroup_version),
            "KernelVersion": facts.kernel,
            "OperatingSystem": _operating_system(),
            "OSVersion": _os_release().get("VERSION_ID", ""),
            "OSType": "linux",
            "Architecture": facts.architecture,
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": {
                "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
                "IndexConfigs": {
                    "docker.io": {
                        "Name": "docker.io",
                        "Mirrors": list(config.registry_mirrors),
                        "Secure": True,
                        "Official": True,
                    }
                },
                "Mirrors": list(config.registry_mirrors),
            },
            "NCPU": facts.cpus,
            "MemTotal": facts.memory,
            "GenericResources": None,
            "HttpProxy": "",
            "HttpsProxy": "",
            "NoProxy": "",
            "Name": platform.node(),
            "Labels": list(config.labels),
            "ExperimentalBuild": False,
            "ServerVersion": __version__,
            "Runtimes": {name: {"path": one.program} for name, one in sorted(engine.runtimes.items())},
            "DefaultRuntime": config.default_runtime,
            "Swarm": {
                "NodeID": "",
                "NodeAddr": "",
                "LocalNodeState": "inactive",
                "ControlAvailable": False,
                "Error": "",
                "RemoteManagers": None,
            },
            "LiveRestoreEnabled": config.live_restore,
            "Isolation": "",
            "InitBinary": os.path.basename(config.init_path) or "catatonit",
            "ContainerdCommit": {"ID": f"conmon {program_version(CONMON)}"},
            "RuncCommit": {"ID": f"{runtime.name} {program_version(runtime.program)}"},
            "InitCommit": {"ID": ""},
            "SecurityOptions": security,
            "DefaultAddressPools": [{"Base": pool.base, "Size": pool.size} for pool in config.default_address_pools],
            "CDISpecDirs": [],
            "Warnings": self._warnings(),
        }

    def _warnings(self) -> list[str] | None:
        findings = [finding for finding in self.doctor() if finding.level == "problem"]
        return [f"WARNING: {finding.check}: {finding.found}" for finding in findings] or None

    def doctor(self) -> list[Finding]:
        """What the host has and lacks."""
        return doctor.examine(self._engine.config, self._engine.facts, self._engine.cgroups)

    async def disk_usage(self, types: set[str]) -> DiskUsage:
        """What takes how much room; only the `types` asked for are looked at."""
        engine = self._engine
        usage = DiskUsage()
        if "image" in types:
            usage.Images = engine.images.list_images(Filters(), shared_size=True)
            usage.LayersSize = engine.images.layers_size()
        if "container" in types:
            usage.Containers = await engine.containers.list_containers(Filters(), everything=True, limit=0, size=True)
        if "volume" in types:
            usage.Volumes = await engine.volumes.usage()
        if "build-cache" in types:
            usage.BuildCache = []
        return usage


def event_matches(event: Event, filters: Filters) -> bool:
    """Whether a client that gave `filters` wants the event."""
    attributes = event.Actor.Attributes
    if not (filters.exact("type", event.Type) and filters.exact("scope", event.scope)):
        return False
    wanted = filters.values("event")
    # `exec_create: sh` is wanted by whoever asks for `exec_create`.
    if wanted and not any(event.Action == value or event.Action.startswith(f"{value}:") for value in wanted):
        return False
    for kind in ("container", "image", "network", "volume", "daemon", "plugin"):
        values = filters.values(kind)
        if values and not (event.Type == kind and _is_about(event, values)):
            return False
    return filters.labels(attributes)


def _is_about(event: Event, values: list[str]) -> bool:
    names = {event.Actor.ID, event.Actor.Attributes.get("name", "")}
    names |= {name.rpartition(":")[0] for name in list(names)}
    return any(value in names or (len(value) >= 4 and event.Actor.ID.startswith(value)) for value in values)


def go_architecture() -> str:
    """This machine's architecture in Go's words."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@functools.cache
def program_version(program: str) -> str:
    """The version that a program prints; empty when it prints none."""
    try:
        printed = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except OSError:
        return ""
    words = printed.split()
    return words[words.index("version") + 1] if "version" in words[:-1] else ""


def _engine_id(data_root: Path) -> str:
    """An id that stays with the data."""
    path = data_root / "engine-id"
    if not path.exists():
        path.write_text(new_id())
    return path.read_text().strip()


@functools.cache
def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _operating_system() -> str:
    return _os_release().get("PRETTY_NAME", sys.platform)


def _file_system(path: Path) -> str:
    """The type of the file system that holds `path`, by its longest mount point."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, fstype, *_ = line.split(" ")
        inside = str(path) == target or str(path).startswith(target.rstrip("/") + "/")
        if inside and len(target) >= len(best):
            best, kind = target, fstype
    return "extfs" if kind in ("ext2", "ext3", "ext4") else kind
