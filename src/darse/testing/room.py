"""The containers of an engine on a host in memory: no root, no processes; see `darse.testing.host`.

Everything else is real: the database, records, events, volumes and files, below a directory of the test. Images have no
layers, and containers use the host's network unless a test says otherwise.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest import mock

import msgspec

from darse.containers import store as container_store
from darse.containers.dependencies import Dependencies
from darse.containers.layout import FileLayout
from darse.containers.model import STATE_DOCUMENTS, Container, Record, RunState, Status
from darse.containers.running import RunningContainers
from darse.containers.service import ContainerService
from darse.containers.store import ContainerStore
from darse.core import events, object_references, unfinished
from darse.core.config import EngineConfig
from darse.core.errors import NoSpace
from darse.core.events import EventLog
from darse.core.state import State as Database
from darse.images import ImageService
from darse.images import store as image_store
from darse.images.layers import disk_usage, store
from darse.images.snapshots import service as snapshots
from darse.images.snapshots import snapshotter
from darse.linux.fs.mounts import NamespaceThreads
from darse.managed_plugins import model as managed_plugins_model
from darse.networks import NetworkService
from darse.networks import store as network_store
from darse.plugins import PluginClient
from darse.runtime.monitor.null_device import NullDevice
from darse.runtime.sysinfo import RLIMITS, SysInfo
from darse.testing.host import FakeCgroups, FakeHost, FakeMonitor, FakeRuntime
from darse.volumes import VolumeService
from darse.volumes import service as volumes
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig

_SCHEMAS = (
    events.SCHEMA,
    image_store.SCHEMA,
    store.SCHEMA,
    disk_usage.SCHEMA,
    snapshots.SCHEMA,
    snapshotter.SCHEMA,
    network_store.SCHEMA,
    volumes.SCHEMA,
    container_store.SCHEMA,
    object_references.SCHEMA,
    unfinished.SCHEMA,
    managed_plugins_model.SCHEMA,
)
_FEATURES = frozenset(
    {
        *("memory reservation", "memory swappiness", "oom kill disable", "cpu shares", "cpu quota", "cpuset", "pids"),
        *("block weight", "block weight device", "block throttle"),
    }
)


def sysinfo() -> SysInfo:
    """A host on which everything works."""
    return SysInfo(
        cgroup_version=2,
        controllers=frozenset({"memory", "cpu", "cpuset", "pids", "io"}),
        features=_FEATURES,
        capabilities=frozenset(),
        cpus=4,
        cpu_ids=frozenset(range(4)),
        memory_nodes=frozenset({0}),
        memory=8 << 30,
        swap_accounting=True,
        apparmor=False,
        apparmor_profile="",
        open_files_hard=4096,
        limits=dict.fromkeys(RLIMITS, -1),
        open_files_ceiling=1 << 20,
        lowest_oom_score=-1000,
        kernel="6.1.0",
        kernel_version=(6, 1),
        architecture="x86_64",
    )


class ContainerRoom:
    """`service`, what it works with (`dependencies`), and the `host` on which its containers run."""

    def __init__(self, directory: Path, host: FakeHost | None = None) -> None:
        """Make them; with the `host` of a room before it, `recover` takes over what is on record below `directory`."""
        config = EngineConfig(data_root=directory / "data", exec_root=directory / "exec", iptables=False)
        config.make_roots()
        self.host = host or FakeHost()
        self.database = Database(config.data_root / "state.sqlite", _SCHEMAS)
        self.events = EventLog(self.database)
        images = ImageService(config.data_root, self.database, self.events)
        self.runtime = FakeRuntime(self.host, config.exec_root / "runtime-crun")
        self.cgroups = FakeCgroups(self.host)
        threads = NamespaceThreads(1)
        store = ContainerStore(self.database)
        plugins = PluginClient((config.exec_root / "plugins",), ())
        self.dependencies = Dependencies(
            config=config,
            database=self.database,
            store=store,
            events=self.events,
            images=images,
            snapshots=images.snapshots,
            networks=NetworkService(config, self.database, self.events, RunningContainers(store), plugins),
            volumes=VolumeService(config.data_root, self.database, self.events, plugins=plugins),
            runtimes={"crun": self.runtime},
            monitor=FakeMonitor(self.host),
            cgroups=self.cgroups,
            facts=sysinfo(),
            threads=threads,
            null=NullDevice(threads),
            files=FileLayout(config.data_root, config.exec_root),
            plugins=plugins,
        )
        self.dependencies.files.make_directories()
        images.trash.open()
        images.stores.content.open()
        images.stores.layers.open()
        self.service = ContainerService(self.dependencies)
        self._numbers = itertools.count(1)
        self._closed = False

    def add(
        self, name: str = "web", *, host: HostConfig | None = None, config: ContainerConfig | None = None
    ) -> Container:
        """A container that was created; without a `host` it has the host's network."""
        options = msgspec.structs.replace(host or HostConfig(), Runtime="crun", NetworkMode="host")
        record = Record(
            id=f"{next(self._numbers):064x}",
            name=name,
            created_ns=1,
            image_id="",
            image_reference="scratch",
            config=config or ContainerConfig(Cmd=["true"]),
            host=options,
            endpoints={},
            mounts=[],
        )
        container = Container(record, RunState(Status.CREATED))
        with self.database.transaction() as connection:
            self.dependencies.store.add(container)
            connection.execute("INSERT INTO snapshots VALUES (?, ?, ?)", (container.id, "", b"[]"))
        self.dependencies.files.of(container.id).data.mkdir()
        return container

    def actions(self) -> list[str]:
        """The actions of all events on record, the oldest first."""
        self.events.flush()
        rows = self.database.rows("SELECT document FROM events ORDER BY number")
        return [msgspec.json.decode(document)["Action"] for (document,) in rows]

    def recorded(self, container: Container) -> RunState | None:
        """The state that is on record; None when there is none."""
        row = self.database.row("SELECT state FROM containers WHERE id = ?", (container.id,))
        return STATE_DOCUMENTS.decode(row[0]) if row is not None else None

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """For the duration of the block the disk has no room for any transaction: each fails at its commit."""
        transaction = self.database.transaction

        @contextmanager
        def fails(*, durable: bool = True) -> Iterator[sqlite3.Connection]:
            with transaction(durable=durable) as connection:
                yield connection
                raise NoSpace("no space left on device")

        with mock.patch.object(self.database, "transaction", fails):
            yield

    async def recover(self) -> None:
        """Take over the containers, as an engine that starts again."""
        for container in self.dependencies.store:
            await self.service.lifecycle.recover(container, self.dependencies.monitor.running())
        await self.service.open()

    async def close(self) -> None:
        """Let go of the containers, which go on, and close the database."""
        if not self._closed:
            self._closed = True
            await self.service.close(None)
            await self.dependencies.networks.close()
            self.dependencies.threads.close()
            self.dependencies.inotify.close()
            self.database.close()


@asynccontextmanager
async def container_room(directory: Path) -> AsyncIterator[ContainerRoom]:
    """A room whose restart policies are at work."""
    room = ContainerRoom(directory)
    await room.service.open()
    try:
        yield room
    finally:
        await room.close()
