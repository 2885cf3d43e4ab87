"""The engine as a whole: version, info, disk usage, and which events a client wants."""

from __future__ import annotations

import asyncio
import functools
import os
import platform
import re
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import msgspec

from darse import __version__, revision
from darse.containers import ContainerService
from darse.containers.dependencies import Dependencies
from darse.containers.logs.drivers import drivers
from darse.containers.model import Status
from darse.core import executors
from darse.core.config import EngineConfig
from darse.core.errors import NotFound
from darse.core.events import Event
from darse.core.filters import Filters
from darse.core.ids import new_id
from darse.core.times import rfc3339
from darse.core.trace import Operation
from darse.engine import disk_usage, doctor
from darse.engine.builds import Builds
from darse.image_spec import platforms
from darse.images.pull_traces import PULL
from darse.images.snapshots.service import DRIVER
from darse.linux import sysctl
from darse.linux.fs.files import NotRegular, read_regular, write_atomically
from darse.recovery.startup import Recovery
from darse.runtime.init import find_init
from darse.runtime.monitor.launch import CONMON
from darse.runtime.oci.cdi import DRIVER as DRIVER_OF_NAMED_DEVICES
from darse.runtime.oci.cdi import Catalogue
from darse.runtime.sysinfo import SysInfo
from darse.wire.images import CheckMessage
from darse.wire.system import (
    Commit,
    Component,
    DeviceInfo,
    DiskUsage,
    EnginePlatform,
    Finding,
    FirewallBackend,
    ImportMessage,
    IndexConfig,
    Info,
    Plugins,
    Pool,
    RegistryConfig,
    Runtime,
    SwarmInfo,
    Version,
)

API_VERSION = "1.55"
MINIMUM_API_VERSION = "1.24"
# What an event may be about, by name or id.
_ACTOR_FILTERS = ("config", "container", "daemon", "image", "network", "node", "plugin", "secret", "service", "volume")
EVENT_FILTERS = (*_ACTOR_FILTERS, "event", "label", "scope", "type")
USAGE_TYPES = frozenset({"container", "image", "volume", "build-cache"})

_DOCKER_HUB = "docker.io"
_CREDENTIALS = re.compile(r"//[^/@]*@")


class SystemService:
    """Answers about the engine."""

    def __init__(
        self, dependencies: Dependencies, containers: ContainerService, builds: Builds, recovery: Recovery
    ) -> None:
        self._recovery = recovery
        self._dependencies = dependencies
        self._containers = containers
        self._builds = builds
        self.id = _engine_id(dependencies.config.data_root)
        # Of the files it was started from: an upgrade may replace them.
        self._commit, self._built = revision.identity()

    def trace(self, reference: str, name: str | None) -> Operation:
        """The last operation on a container, or the last pull of an image. Raises NotFound.

        name: which; without one a container's, and a pull where no container is called so.
        """
        pull = self._dependencies.images.pulls.last(reference)
        if name == PULL and pull is not None:
            return pull
        try:
            return self._containers.explain.last_operation(reference, name)
        except NotFound:
            if pull is None or name is not None:
                raise
            return pull

    def traced(self) -> list[dict[str, Any]]:
        """What operations are on record, the newest first, without their steps."""
        found = [*self._containers.explain.list_operations(), *self._dependencies.images.pulls.summary()]
        return sorted(found, key=lambda one: -int(one["started_at_ns"]))

    async def version(self) -> Version:
        """What the engine is made of."""
        details = {
            "ApiVersion": API_VERSION,
            "Arch": platforms.host().architecture,
            "BuildTime": self._built,
            "Experimental": str(self._dependencies.config.experimental).lower(),
            "GitCommit": self._commit,
            "GoVersion": f"python{platform.python_version()}",
            "KernelVersion": platform.release(),
            "MinAPIVersion": MINIMUM_API_VERSION,
            "Os": "linux",
        }
        programs = [("conmon", CONMON), (self._default_runtime, self._runtime_program)]
        return Version(
            Platform=EnginePlatform("darse"),
            Components=[
                Component("Engine", __version__, details),
                *[Component(name, await program_version(program), {"GitCommit": ""}) for name, program in programs],
            ],
            Version=__version__,
            ApiVersion=API_VERSION,
            MinAPIVersion=MINIMUM_API_VERSION,
            GitCommit=self._commit,
            GoVersion=details["GoVersion"],
            Os="linux",
            Arch=details["Arch"],
            KernelVersion=details["KernelVersion"],
            BuildTime=self._built,
            Experimental=self._dependencies.config.experimental,
        )

    @property
    def _default_runtime(self) -> str:
        return self._dependencies.config.default_runtime

    @property
    def _runtime_program(self) -> str:
        return self._dependencies.runtimes[self._default_runtime].program

    def _plugins(self) -> Plugins:
        """The drivers, and who is asked about requests."""
        dependencies = self._dependencies
        asked = list(dependencies.config.authorization_plugins) or None
        return Plugins(dependencies.volumes.driver_names, dependencies.networks.driver_names, asked, drivers())

    async def info(self) -> Info:
        """The state of the engine and its host."""
        dependencies, config, facts = self._dependencies, self._dependencies.config, self._dependencies.facts
        counts = dependencies.store.counts()
        total, running, paused = sum(counts.values()), counts[Status.RUNNING], counts[Status.PAUSED]
        init = config.init_path or find_init() or ""
        here = await executors.storage.run(_look_at_host, config)
        return Info(
            ID=self.id,
            Containers=total,
            ContainersRunning=running,
            ContainersPaused=paused,
            ContainersStopped=total - running - paused,
            Images=dependencies.images.count,
            Driver=DRIVER,
            DriverStatus=[["Backing Filesystem", here.file_system]],
            DockerRootDir=str(config.data_root),
            Plugins=self._plugins(),
            **_limits(facts),
            IPv4Forwarding=sysctl.read("net/ipv4/ip_forward") == "1",
            Debug=config.debug,
            NFd=here.descriptors,
            NGoroutines=len(asyncio.all_tasks()),
            SystemTime=rfc3339(time.time_ns()),
            LoggingDriver=config.log_driver,
            CgroupDriver="cgroupfs",
            CgroupVersion=str(facts.cgroup_version),
            NEventsListener=dependencies.events.listeners,
            KernelVersion=facts.kernel,
            OperatingSystem=_os_release().get("PRETTY_NAME", "Linux"),
            OSVersion=_os_release().get("VERSION_ID", ""),
            Architecture=facts.architecture,
            NCPU=facts.cpus,
            MemTotal=facts.memory,
            RegistryConfig=registry_config(config),
            HttpProxy=_CREDENTIALS.sub("//xxxxx:xxxxx@", config.http_proxy or os.environ.get("HTTP_PROXY", "")),
            HttpsProxy=_CREDENTIALS.sub("//xxxxx:xxxxx@", config.https_proxy or os.environ.get("HTTPS_PROXY", "")),
            NoProxy=config.no_proxy or os.environ.get("NO_PROXY", ""),
            Name=platform.node(),
            Labels=list(config.labels),
            ExperimentalBuild=config.experimental,
            ServerVersion=__version__,
            Runtimes={
                name: Runtime(one.program, list(one.arguments)) for name, one in sorted(dependencies.runtimes.items())
            },
            DefaultRuntime=self._default_runtime,
            Swarm=SwarmInfo(),
            LiveRestoreEnabled=config.live_restore,
            InitBinary=os.path.basename(init),
            ContainerdCommit=Commit(f"conmon {await program_version(CONMON)}"),
            RuncCommit=Commit(f"{self._default_runtime} {await program_version(self._runtime_program)}"),
            InitCommit=Commit(await program_version(init) if init else ""),
            SecurityOptions=self._security_options(),
            DefaultAddressPools=[Pool(pool.base, pool.size) for pool in config.default_address_pools],
            FirewallBackend=FirewallBackend("nftables" if config.iptables else "none"),
            CDISpecDirs=list(config.cdi_directories),
            DiscoveredDevices=here.devices or msgspec.UNSET,
            Warnings=[f"WARNING: {warning}" for warning in doctor.warnings(config, facts)] or None,
        )

    def _security_options(self) -> list[str]:
        config, facts = self._dependencies.config, self._dependencies.facts
        options = [f"name=seccomp,profile={config.seccomp_profile or 'builtin'}"]
        if facts.apparmor:
            options.insert(0, "name=apparmor")
        if self._dependencies.id_mapping.maps is not None:
            options.append("name=userns")
        if config.no_new_privileges:
            options.append("name=no-new-privileges")
        if facts.cgroup_version == 2:
            options.append("name=cgroupns")
        return options

    async def doctor(self) -> list[Finding]:
        """What the host has and lacks, and what to do about it."""
        dependencies = self._dependencies
        of_host = await executors.launch.run(
            doctor.examine, dependencies.config, dependencies.facts, dependencies.cgroups
        )
        left = [*doctor.left_in(dependencies.images.trash), *doctor.left_in(dependencies.volumes.trash)]
        troubles = await executors.storage.run(self._recovery.troubles)
        return [*of_host, *await dependencies.networks.examine(), *left, *doctor.of_data(troubles)]

    def import_docker(self, data_root: Path, *, dry_run: bool) -> AsyncIterator[ImportMessage]:
        """Take over what a dockerd has left in its data root; see `DockerImport.run`."""
        from darse.docker_import.service import DockerImport  # noqa: PLC0415 - few engines ever do

        return DockerImport(self._dependencies, self._containers, data_root, dry_run=dry_run).run()

    async def check_store(self, *, repair: bool) -> AsyncIterator[CheckMessage]:
        """Tell what is wrong with records and data, then hold the store of images against itself, and repair it.

        See `Recovery.troubles`, `darse.core.object_references` and `darse.images.gc.fsck`. The last message counts the
        findings.
        """
        troubles = await executors.storage.run(self._recovery.troubles)
        findings = [
            CheckMessage(level=one.level, subject=one.subject, finding=one.found, advice=one.advice) for one in troubles
        ]
        store = self._dependencies.store
        findings += [
            CheckMessage(
                level="problem",
                subject=f"container {one.container_id}",
                finding=f"its references are not those of its record: {one}",
                advice="" if repair else "`darse system check --repair` writes them anew, as the engine's start does",
                repaired=repair,
            )
            for one in (store.repair_references() if repair else store.reference_differences())
        ]
        for finding in findings:
            yield finding
        containers = [container.id for container in self._dependencies.store.visible()]
        async for message in self._dependencies.images.fsck.check(containers, repair=repair):
            if message.doing == "done":
                message.findings += len(findings)
                message.problems += sum(one.level == "problem" and not one.repaired for one in findings)
            yield message

    async def remove_orphans(self) -> AsyncIterator[CheckMessage]:
        """Remove for good what was moved aside; the last message counts what could not be removed."""
        orphans = self._recovery.orphans
        problems = 0
        found = await executors.storage.run(orphans.all)
        for one in found:
            text = "is removed"
            try:
                await executors.storage.run(orphans.remove_orphan, one)
            except OSError as error:
                text, problems = f"cannot be removed: {error.strerror or error}", problems + 1
            failed = text != "is removed"
            yield CheckMessage(
                level="problem" if failed else "note", subject=f"orphan {one.path}", finding=text, repaired=not failed
            )
        yield CheckMessage(doing="done", findings=len(found), problems=problems)

    async def disk_usage(self, types: set[str]) -> DiskUsage:
        """What takes how much room; only the `types` asked for are looked at."""
        dependencies = self._dependencies
        found = DiskUsage()
        if "image" in types:
            images = dependencies.images.views.list_images(Filters(), shared_size=True, containers=True)
            found.ImageUsage = disk_usage.of_images(images, await dependencies.images.disk_usage.total())
        if "container" in types:
            containers = await self._containers.listing.list_containers(Filters(), everything=True, limit=0, size=True)
            found.ContainerUsage = disk_usage.of_containers(containers)
        if "volume" in types:
            found.VolumeUsage = disk_usage.of_volumes(await dependencies.volumes.usage())
        if "build-cache" in types:
            found.BuildCacheUsage = await self._builds.disk_usage()
        return found


class _Host(NamedTuple):
    """What is looked for on the host: the file system of the data, open descriptors, devices of vendors' files."""

    file_system: str
    descriptors: int
    devices: list[DeviceInfo]


def _look_at_host(config: EngineConfig) -> _Host:
    """Blocks: an engine of a thousand containers has many descriptors, and mounts."""
    devices = [DeviceInfo(DRIVER_OF_NAMED_DEVICES, name) for name in Catalogue(config.cdi_directories).names]
    return _Host(_file_system(config.data_root), len(os.listdir("/proc/self/fd")) - 1, devices)


def registry_config(config: EngineConfig) -> RegistryConfig:
    """How registries are used, with what is always so: loopback needs no TLS."""
    mirrors = list(config.registry_mirrors)
    networks = [text for text in config.insecure_registries if "/" in text]
    hosts = [text for text in config.insecure_registries if "/" not in text]
    indices = {name: IndexConfig(name, [], Secure=False, Official=False) for name in hosts}
    indices[_DOCKER_HUB] = IndexConfig(_DOCKER_HUB, mirrors, Secure=True, Official=True)
    return RegistryConfig(["::1/128", "127.0.0.0/8", *networks], indices, mirrors)


def event_matches(event: Event, filters: Filters) -> bool:
    """Whether a client that gave `filters` wants the event."""
    attributes = event.Actor.Attributes
    if not (filters.exact("type", event.Type) and filters.exact("scope", event.scope)):
        return False
    requested = filters.values("event")
    # `exec_create` matches `exec_create: sh`.
    if requested and not any(event.Action == value or event.Action.startswith(f"{value}:") for value in requested):
        return False
    for kind in _ACTOR_FILTERS:
        values = filters.values(kind)
        if values and not _is_about(event, kind, values):
            return False
    return filters.labels(attributes)


def _is_about(event: Event, kind: str, values: list[str]) -> bool:
    attributes = event.Actor.Attributes
    if event.Type == kind:
        names = {event.Actor.ID, attributes.get("name", "")}
        if kind == "image":
            names |= {name.rpartition(":")[0] for name in list(names)}
        return any(value in names or (len(value) >= 4 and event.Actor.ID.startswith(value)) for value in values)
    if kind == "image" and event.Type == "container":
        # A container's events are also about its image.
        name = attributes.get("image", "")
        return any(value in (name, name.rpartition(":")[0]) for value in values)
    return False


class _Limits(TypedDict):
    MemoryLimit: bool
    SwapLimit: bool
    CpuCfsPeriod: bool
    CpuCfsQuota: bool
    CPUShares: bool
    CPUSet: bool
    PidsLimit: bool
    OomKillDisable: bool


def _limits(facts: SysInfo) -> _Limits:
    """Which limits the host's control groups have."""
    has = facts.controllers.__contains__
    return _Limits(
        MemoryLimit=has("memory"),
        SwapLimit=facts.swap_accounting,
        CpuCfsPeriod=has("cpu"),
        CpuCfsQuota=has("cpu"),
        CPUShares=has("cpu"),
        CPUSet=has("cpuset"),
        PidsLimit=has("pids"),
        OomKillDisable=has("memory") and facts.cgroup_version == 1,
    )


_versions: dict[str, str] = {}


async def program_version(program: str) -> str:
    """The version that a program prints, asked once; empty when it prints none."""
    if program not in _versions:
        _versions[program] = await executors.launch.run(_printed_version, program)
    return _versions[program]


def _printed_version(program: str) -> str:
    try:
        printed = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = printed.split()
    return words[words.index("version") + 1] if "version" in words[:-1] else ""


def _engine_id(data_root: Path) -> str:
    """An id that stays with the data."""
    path = data_root / "engine-id"
    try:
        if text := read_regular(path).decode("ascii").strip():
            return text
    except (FileNotFoundError, NotRegular, UnicodeDecodeError):
        pass
    made = new_id()
    write_atomically(path, made.encode())
    return made


@functools.cache
def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


@functools.cache
def _file_system(path: Path) -> str:
    """The type of the file system that holds `path`, in docker's words."""
    best, kind = "", "<unknown>"
    above = {str(path), *map(str, path.parents)}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, fstype, *_ = line.split(" ")
        if target in above and len(target) >= len(best):
            best, kind = target, fstype
    return "extfs" if kind in ("ext2", "ext3", "ext4") else kind
