"""The composition root: every service, made once, in the order in which they stand on each other.

Recovery has an order too. First what was never acknowledged is undone, then each container is brought together with
its monitor, then networks, volumes and images learn which containers there are and which of them run.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import msgspec

from darse.build import tables as build_tables
from darse.containers import ContainerService
from darse.containers import store as container_store
from darse.containers.dependencies import Dependencies
from darse.containers.layout import FileLayout
from darse.containers.running import RunningContainers
from darse.containers.store import ContainerStore
from darse.core import events, executors, object_references, unfinished
from darse.core.config import EngineConfig
from darse.core.errors import SystemFault
from darse.core.events import EventLog
from darse.core.exhaustion import Roots
from darse.core.state import State
from darse.engine.builds import Builds
from darse.engine.checks import check
from darse.engine.system import SystemService
from darse.images import ImageService
from darse.images import store as image_store
from darse.images.layers import disk_usage, store
from darse.images.snapshots import service, snapshotter
from darse.images.transfer.service import RegistryService
from darse.linux.fs.mounts import MNT_DETACH, NamespaceThreads, is_mount_point, private_bind, unmount
from darse.linux.service_manager import machine_stops
from darse.managed_plugins import ManagedPlugins
from darse.managed_plugins import model as managed_plugins_model
from darse.managed_plugins.store import PluginStore
from darse.networks import NetworkService
from darse.networks import store as network_store
from darse.plugins import SOCKETS, PluginClient
from darse.recovery.backup import Backup
from darse.recovery.records import RecordFiles
from darse.recovery.reserve import Reserves
from darse.recovery.startup import Recovery, refuse_irregular, refuse_new, refuse_older
from darse.runtime.cgroups.hierarchies import Cgroups
from darse.runtime.monitor.launch import Conmon
from darse.runtime.monitor.null_device import NullDevice
from darse.runtime.oci import OCIRuntime
from darse.runtime.oci.program import PATH, oci_runtime
from darse.runtime.remapping import IdentityMapping, IdMapping, Remapping, unmount_mapped
from darse.runtime.subordinate_ids import find_subordinates, make_default_user, read_maps
from darse.runtime.sysinfo import SysInfo, read_sysinfo
from darse.volumes import VolumeService
from darse.volumes import service as volume_service

SCHEMAS = (
    events.SCHEMA,
    image_store.SCHEMA,
    store.SCHEMA,
    disk_usage.SCHEMA,
    service.SCHEMA,
    snapshotter.SCHEMA,
    network_store.SCHEMA,
    volume_service.SCHEMA,
    container_store.SCHEMA,
    object_references.SCHEMA,
    unfinished.SCHEMA,
    build_tables.SCHEMA,
    managed_plugins_model.SCHEMA,
)
#: The database's name in the data root.
DATABASE = "state.sqlite"
# Launches at once; each takes a core while the runtime works, so more would only wait.
_LAUNCH_THREADS = 8
# How long work in threads may go on when the engine stops.
_DRAIN_SECONDS = 10.0
# Directories of the data root that hold what containers with user namespaces see.
_SHOWN_TO_REMAPPED = (
    "images",
    "snapshots",
    "snapshots-active",
    "snapshots-committed",
    "snapshots-empty",
    "cache-mounts",
    "containers",
    "volumes",
)
_REMAPPED = "remapped"
_log = logging.getLogger("darse.engine")


class Engine:
    """All of the engine but its listeners."""

    def __init__(self, config: EngineConfig) -> None:
        """Open the database and make the services; nothing on the host changes yet. Raises SystemFault."""
        self.config = config
        check(config)
        config.make_roots()
        database = config.data_root / DATABASE
        self.reserves = Reserves(config.data_root, config.exec_root, database)
        Roots.watch(config.data_root, config.exec_root)
        self.reserves.tend()
        self.state = open_state(config)
        self.reserves.serve(self.state)
        self.recovery = Recovery(config.data_root, self.state)
        self._records = RecordFiles(config.data_root, self.state)
        self._backup = Backup(self.state.path)
        self.events = EventLog(self.state)
        self.cgroups = Cgroups()
        self._mounted = self.cgroups.prepare()
        self.facts: SysInfo = read_sysinfo(self.cgroups)
        self.runtimes = find_runtimes(config)
        self.images = ImageService(config.data_root, self.state, self.events, keep_layer_blobs=config.keep_layer_blobs)
        self.registries = RegistryService(config, self.images, self.events)
        self.id_mapping = _id_mapping(config)
        plugin_store = PluginStore(config, self.state)
        self.plugins = PluginClient((config.exec_root / "plugins", SOCKETS), managed=plugin_store)
        self.volumes = VolumeService(config.data_root, self.state, self.events, self.id_mapping, plugins=self.plugins)
        containers = ContainerStore(self.state)
        self.running = RunningContainers(containers)
        self.networks = NetworkService(
            config, self.state, self.events, self.running, self.plugins, self.id_mapping.maps
        )
        self._threads = NamespaceThreads(_LAUNCH_THREADS)
        self._null = NullDevice(self._threads)
        self._files = FileLayout(config.data_root, config.exec_root)
        self.dependencies = Dependencies(
            config=config,
            database=self.state,
            store=containers,
            events=self.events,
            images=self.images,
            snapshots=self.images.snapshots,
            networks=self.networks,
            volumes=self.volumes,
            runtimes=self.runtimes,
            monitor=Conmon(self._threads),
            cgroups=self.cgroups,
            facts=self.facts,
            threads=self._threads,
            null=self._null,
            files=self._files,
            plugins=self.plugins,
            seccomp_profile=_seccomp_profile(config),
            id_mapping=self.id_mapping,
        )
        self.containers = ContainerService(self.dependencies)
        self.execs = self.containers.execs
        self.managed_plugins = ManagedPlugins(self.dependencies, plugin_store, self.containers.hidden, self.registries)
        self.builds = Builds(self.dependencies, self.containers, self.registries)
        self.system = SystemService(self.dependencies, self.containers, self.builds, self.recovery)

    async def start(self) -> None:
        """Bring the database and the host together. Raises SystemFault when the host lacks what is needed."""
        # The kernel takes 10 ms for it, and nothing else waits for that.
        favoring = executors.kernel.begin(self._set_favordynmods)
        try:
            await self._start()
        finally:
            await favoring

    async def _start(self) -> None:
        for controller in self._mounted:
            _log.info("mounted the %s controller as cgroup version 1", controller)
        self.reserves.open()
        await self.containers.recovery.sweep(self.recovery)
        # Mounts made below are no business of anybody else's namespace, and this one is left again at the end.
        private_bind(self._files.bundles)
        self._null.prepare(self.config.exec_root)
        self._install_runtimes()
        self.images.open(self.containers.recovery.known | self.recovery.strays, self.recovery)
        self.builds.open()
        await self.images.recover()
        await self.containers.recovery.recover(self.recovery)
        await self.networks.start(
            self.running.pids().keys() | self.recovery.unattended,
            [bytes(copy.sandbox) for copy in self.recovery.containers_beside()],
            self.recovery.recorded("networks", ""),
        )
        self.volumes.open(self.recovery)
        unmount_mapped(self.config.exec_root / _REMAPPED)
        self.id_mapping.open([self.config.data_root / name for name in _SHOWN_TO_REMAPPED])
        await self.containers.recovery.remove_finished()
        # Before the containers that may need them.
        await self.managed_plugins.open()
        await self.containers.open()
        self.images.trash.empty_in_background()
        self.volumes.trash.empty_in_background()
        self._records.open(self._backup.changed)
        self._backup.open()
        self.recovery.open()

    async def close(self) -> None:
        """Stop; containers go on, unless live restore is off, or the machine goes down.

        systemd has every process end then, with SIGTERM, which few commands heed as a container's first process; after
        ninety seconds it kills them.
        """
        await self.registries.close()
        run_on = self.config.live_restore and not await machine_stops()
        await self.containers.close(None if run_on else self.config.shutdown_timeout)
        self.events.close()
        if not self._in_use():
            # Nobody needs them; the next start brings them back.
            await self.networks.remove_networks_from_host()
        await self.networks.close()
        await self.volumes.mounting.close()
        await self.managed_plugins.close()
        await self.plugins.close()
        self._threads.close()
        if not await executors.drain(_DRAIN_SECONDS):
            _log.warning("work on a disk, or of another program, has not ended, and is left behind")
        self.dependencies.inotify.close()
        await self.images.trash.close()
        await self.volumes.trash.close()
        await self.images.close()
        self._leave_host()
        if not self._in_use():
            self.cgroups.remove_parent(self.config.cgroup_parent)
        self.events.flush()
        await self.recovery.close()
        await self._records.close()
        await self._backup.close()
        self.reserves.close()
        await self.state.settled()
        self.state.close()
        self.reserves.keep()  # of what the database's log has given back

    def _in_use(self) -> bool:
        """Whether containers run, those without a sound record included."""
        return bool(self.running.pids() or self.recovery.unattended)

    def _install_runtimes(self) -> None:
        directory = self.config.exec_root / "bin"
        directory.mkdir(mode=0o700, exist_ok=True)
        for runtime in self.runtimes.values():
            runtime.install(directory)

    def reload(self, newer: EngineConfig) -> dict[str, Any]:
        """Take over what may change while the engine runs; return what did. Raises SystemFault, and changes nothing.

        A runtime that is no option any more stays for the containers that have it.
        """
        found = find_runtimes(msgspec.structs.replace(self.config, **newer.reloadable()))
        changed = self.config.reload(newer)
        used = {container.record.runtime for container in self.dependencies.store}
        for name in self.runtimes.keys() - found.keys() - used:
            del self.runtimes[name]
        self.runtimes.update(found)
        self._install_runtimes()
        return changed

    def _set_favordynmods(self) -> None:
        """See `Cgroups.set_favordynmods`. A file says that it was us who switched it on, also after a crash."""
        if self.config.cgroup_favordynmods and self.cgroups.set_favordynmods(on=True):
            self._favored.touch()

    @property
    def _favored(self) -> Path:
        return self.config.exec_root / "favordynmods"

    def _leave_host(self) -> None:
        """Take back the mounts and the switch that no running container needs."""
        self.id_mapping.close()
        if is_mount_point(self._files.bundles):
            unmount(str(self._files.bundles), MNT_DETACH)
        for runtime in self.runtimes.values():
            runtime.uninstall()
        if self._favored.exists():
            self.cgroups.set_favordynmods(on=False)
            self._favored.unlink()


def open_state(config: EngineConfig) -> State:
    """Open the database of a data root. Raises SystemFault when it cannot be used, or does not suit the data there."""
    path = config.data_root / DATABASE
    refuse_irregular(path)
    refuse_older(config.data_root, path)
    return State(path, SCHEMAS, on_new=lambda: refuse_new(config.data_root, path))


def find_runtimes(config: EngineConfig) -> dict[str, OCIRuntime]:
    """The OCI runtimes there are, by name. Raises SystemFault when the default one is missing."""
    programs = {"crun": "crun", "runc": "runc", **config.runtimes}
    found = {}
    for name, program in programs.items():
        path = shutil.which(program, path=PATH)
        if path is not None:
            root = config.exec_root / f"runtime-{name}"
            root.mkdir(mode=0o700, exist_ok=True)
            found[name] = oci_runtime(name, path, root, config.runtime_arguments.get(name, ()))
    if config.default_runtime not in found:
        raise SystemFault(
            f"the OCI runtime {config.default_runtime} is not installed: install its package, or choose another with "
            "--default-runtime"
        )
    return found


def _id_mapping(config: EngineConfig) -> IdMapping:
    """What `--userns-remap` asks for. Raises InvalidParameter and SystemFault."""
    if not config.userns_remap:
        return IdentityMapping()
    if config.userns_remap == "default":
        make_default_user()
    owners = find_subordinates(config.userns_remap)
    if owners is None:
        _log.warning("user namespaces: root cannot be remapped with itself; user namespaces are OFF")
        return IdentityMapping()
    return Remapping(read_maps(owners), config.exec_root / _REMAPPED)


def _seccomp_profile(config: EngineConfig) -> str:
    if config.seccomp_profile in ("", "builtin", "unconfined"):
        return config.seccomp_profile
    with open(config.seccomp_profile, encoding="utf-8") as file:
        return file.read()
