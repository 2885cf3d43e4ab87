"""What the parts of containers share: the services below them, the store, and a few answers about one container."""

from __future__ import annotations

import logging
from typing import Protocol

import msgspec

from darse.containers.layout import FileLayout
from darse.containers.leases import RootfsLeases
from darse.containers.listeners import LifecycleListeners
from darse.containers.model import Container
from darse.containers.pending_writes import PendingWrites
from darse.containers.store import ContainerStore
from darse.containers.traces import TraceStore
from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter
from darse.core.events import EventLog
from darse.core.locks import KeyedLocks
from darse.core.state import State as Database
from darse.images import ImageService, SnapshotService
from darse.linux.fs.inotify import Inotify
from darse.linux.fs.mounts import NamespaceThreads
from darse.networks import NetworkService
from darse.plugins import PluginClient
from darse.runtime.cgroups.hierarchies import Cgroups
from darse.runtime.monitor import HeldProcess, Monitor
from darse.runtime.monitor.null_device import NullDevice
from darse.runtime.oci import OCIRuntime
from darse.runtime.remapping import IdentityMapping, IdMapping
from darse.runtime.sysinfo import SysInfo
from darse.volumes import VolumeService
from darse.wire.host_config import HostConfig


class LogFollower(Protocol):
    """A reader that follows a container's log."""

    def container_ended(self) -> None:
        """No more comes."""


class Dependencies(msgspec.Struct, frozen=True):
    """Everything that container operations work with."""

    config: EngineConfig
    database: Database
    store: ContainerStore
    events: EventLog
    images: ImageService
    snapshots: SnapshotService
    networks: NetworkService
    volumes: VolumeService
    runtimes: dict[str, OCIRuntime]
    monitor: Monitor
    cgroups: Cgroups
    facts: SysInfo
    threads: NamespaceThreads
    null: NullDevice
    files: FileLayout
    plugins: PluginClient
    seccomp_profile: str = ""
    id_mapping: IdMapping = msgspec.field(default_factory=IdentityMapping)
    traces: TraceStore = msgspec.field(default_factory=TraceStore)
    rootfs_leases: RootfsLeases = msgspec.field(default_factory=RootfsLeases)
    locks: KeyedLocks = msgspec.field(default_factory=KeyedLocks)
    inotify: Inotify = msgspec.field(default_factory=Inotify)
    pending_writes: PendingWrites = msgspec.field(default_factory=PendingWrites)
    listeners: LifecycleListeners = msgspec.field(default_factory=LifecycleListeners)
    followers: dict[str, set[LogFollower]] = msgspec.field(default_factory=dict)
    log: logging.Logger = msgspec.field(default_factory=lambda: logging.getLogger("darse.containers"))

    def runtime_of(self, container: Container) -> OCIRuntime:
        """The OCI runtime that a container was created for. Raises InvalidParameter when it is not configured."""
        name = container.record.host.Runtime
        runtime = self.runtimes.get(name)
        if runtime is None:
            raise InvalidParameter(f"unknown or invalid runtime name: {name}")
        return runtime

    def hold_monitor(self, pid: int | None) -> HeldProcess | None:
        """Hold a monitor that `Monitor.running` has found; None when it is gone."""
        if pid is None:
            return None
        try:
            return self.monitor.hold(pid)
        except ProcessLookupError:
            return None

    def id_mapping_of(self, host: HostConfig) -> IdMapping:
        """How the ids of a container are mapped."""
        return IdentityMapping() if host.UsernsMode == "host" else self.id_mapping

    def cgroup_path(self, container: Container) -> str:
        """The container's cgroup, absolute within each hierarchy."""
        parent = container.record.host.CgroupParent or self.config.cgroup_parent
        return f"/{parent.strip('/')}/{container.id}"

    def event_attributes(self, container: Container) -> dict[str, str]:
        """What an event says of its container: image, name and labels."""
        record = container.record
        return {**(record.config.Labels or {}), "image": record.image_reference, "name": record.name}

    def publish(self, container: Container, action: str, **more: object) -> None:
        """Publish an event about a container; those of the engine's own are nobody's concern."""
        if container.record.plugin:
            return
        self.events.publish("container", action, container.id, {**self.event_attributes(container), **more})

    def notify_ended(self, container_id: str) -> None:
        """Tell those who follow the container's log that no more comes."""
        for follower in self.followers.get(container_id, ()):
            follower.container_ended()
