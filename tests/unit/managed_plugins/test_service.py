"""The operations on managed plugins, on a host in memory: what fails has changed nothing, and can be tried again."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from darse.core.errors import Conflict, NoSpace, NotFound, SystemFault
from darse.core.filters import Filters
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor, Manifest
from darse.images import references
from darse.managed_plugins import run
from darse.managed_plugins.model import CONFIG_TYPE
from darse.managed_plugins.service import ManagedPlugins
from darse.managed_plugins.store import PluginStore
from darse.testing.clock import in_fake_time
from darse.testing.room import ContainerRoom

REFERENCE = references.parse("registry.test/me/gate:1")
GATE = REFERENCE.familiar


class FakeArtifacts:
    """A registry with one plugin of no layers; see `ArtifactTransfers`."""

    def __init__(self) -> None:
        self.config = _config("1")

    async def manifest(self, *_: Any) -> Manifest:
        config = Descriptor(CONFIG_TYPE, digest_of(self.config), len(self.config))
        return Manifest(config=config, layers=[])

    async def blob(self, *_: Any) -> bytes:
        return self.config

    async def push(self, _reference: Any, _credentials: Any, _layers: Any, config_of: Any) -> Descriptor:
        content, media_type, _ = config_of(())
        return Descriptor(media_type, digest_of(content), len(content))


def _config(version: str) -> bytes:
    interface = {"types": ["docker.authz/1.0"], "socket": "g.sock"}
    env = [{"name": "VERSION", "value": version}]
    return json.dumps({"entrypoint": ["/gate"], "interface": interface, "env": env}).encode()


class PluginRoom:
    """`service`, on the `host` of `room`, with the registry `artifacts`. Plugins listen as soon as they start."""

    def __init__(self, directory: Path, on_exit: ExitStack) -> None:
        self.room = ContainerRoom(directory)
        self.host = self.room.host
        (directory / "data" / "snapshots").mkdir()
        self.artifacts = FakeArtifacts()
        registries: Any = SimpleNamespace(artifacts=self.artifacts)
        self.hidden = self.room.service.hidden
        self.store = PluginStore(self.room.dependencies.config, self.room.database)
        self._on_exit = on_exit
        self.listening = True
        self.host.on_start = self._listen
        self.service = ManagedPlugins(self.room.dependencies, self.store, self.hidden, registries)

    def _listen(self, _: str) -> None:
        if self.listening:
            (plugin,) = self.rows()
            listener = self._on_exit.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(run.PluginPlaces(self.room.dependencies.config, plugin).sockets / "g.sock"))
            listener.listen()

    async def pull(self) -> None:
        await self.service.pull(REFERENCE, "", [], None)

    async def upgrade(self) -> None:
        self.artifacts.config = _config("2")
        await self.service.upgrade(GATE, REFERENCE, [], None)

    async def enable(self) -> None:
        await self.service.enable(GATE, 1)

    async def disable(self) -> None:
        await self.service.disable(GATE, force=False)

    async def remove(self) -> None:
        await self.service.remove_plugin(GATE, force=False)

    def rows(self) -> list[str]:
        """The ids that are on record."""
        return [row for (row,) in self.room.database.rows("SELECT id FROM plugins")]

    def events(self) -> list[str]:
        """The actions of the plugins' events on record, the oldest first."""
        self.room.events.flush()
        rows = self.room.database.rows("SELECT document FROM events ORDER BY number")
        events = [json.loads(document) for (document,) in rows]
        return [event["Action"] for event in events if event["Type"] == "plugin"]

    def state(self) -> object:
        """All that there is to change: in memory, on record, and on the host."""
        return (
            [(one.Id, one.Enabled, one.Settings.Env) for one in self.service.list_plugins(Filters({}))],
            self.room.database.rows("SELECT id, document FROM plugins"),
            [(container.id, container.state.alive) for container in self.hidden.all()],
            self.events(),
        )

    def refuse(self, table: str, condition: str = "1") -> None:
        """Refuse rows for a table from now on."""
        with self.room.database.transaction() as connection:
            connection.execute(
                f"CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN {condition} "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )

    def accept(self) -> None:
        """Take rows again."""
        with self.room.database.transaction() as connection:
            connection.execute("DROP TRIGGER refuse")


@asynccontextmanager
async def plugin_room(directory: Path) -> AsyncIterator[PluginRoom]:
    with ExitStack() as on_exit:
        on_exit.enter_context(mock.patch.object(run, "shared_bind"))
        room = PluginRoom(directory, on_exit)
        await room.room.service.open()
        await room.service.open()
        try:
            yield room
        finally:
            await room.service.close()
            await room.room.close()


@in_fake_time
async def test_the_life_of_a_plugin(tmp_path: Path) -> None:
    async with plugin_room(tmp_path) as room:
        await room.pull()
        with pytest.raises(Conflict, match="already exists"):
            await room.pull()
        await room.upgrade()
        assert room.service.inspect(GATE).Settings.Env == ["VERSION=2"]
        (container,) = room.hidden.all()
        await room.enable()
        assert container.state.alive
        with pytest.raises(Conflict, match="already enabled"):
            await room.enable()
        await room.disable()
        assert not container.state.active
        with pytest.raises(Conflict, match="already disabled"):
            await room.disable()
        await room.remove()
        assert (room.rows(), room.hidden.all()) == ([], [])
        with pytest.raises(NotFound):
            await room.remove()
        assert room.events() == ["pull", "upgrade", "enable", "disable", "remove"]


# What comes before each operation, and the event of it.
_BEFORE: dict[str, list[str]] = {
    "pull": [],
    "upgrade": ["pull"],
    "enable": ["pull"],
    "disable": ["pull", "enable"],
    "remove": ["pull"],
}


async def _run(room: PluginRoom, operations: list[str]) -> None:
    for name in operations:
        operation: Callable[[], Awaitable[None]] = getattr(room, name)
        await operation()


@pytest.mark.parametrize("operation", _BEFORE)
@in_fake_time
async def test_a_change_whose_event_cannot_be_written_is_none(tmp_path: Path, operation: str) -> None:
    async with plugin_room(tmp_path) as room:
        await _run(room, _BEFORE[operation])
        before = room.state()
        room.refuse("events", 'instr(CAST(NEW.document AS TEXT), \'"Type":"plugin"\')')
        with pytest.raises(sqlite3.IntegrityError, match="refused"):
            await _run(room, [operation])
        room.accept()
        if operation == "remove":
            # What it had is gone: that cannot be undone. But it is known, and the next removal is one.
            assert room.rows() == [room.service.inspect(GATE).Id]
        else:
            assert room.state() == before
        await _run(room, [operation])
        assert room.events() == [*_BEFORE[operation], operation]


@pytest.mark.parametrize("operation", ["pull", "upgrade", "enable", "disable"])
@in_fake_time
async def test_a_change_whose_row_cannot_be_written_is_none(tmp_path: Path, operation: str) -> None:
    async with plugin_room(tmp_path) as room:
        await _run(room, _BEFORE[operation])
        before = room.state()
        room.refuse("plugins")
        with pytest.raises(sqlite3.IntegrityError, match="refused"):
            await _run(room, [operation])
        room.accept()
        assert room.state() == before
        await _run(room, [operation])


@in_fake_time
async def test_nothing_is_changed_on_a_full_disk(tmp_path: Path) -> None:
    async with plugin_room(tmp_path) as room:
        await room.pull()
        before = room.state()
        for operation in ("upgrade", "enable", "remove"):
            with room.room.full_disk(), pytest.raises(NoSpace):
                await _run(room, [operation])
            assert room.state() == before
        await _run(room, ["upgrade", "enable", "disable", "remove"])


@in_fake_time
async def test_an_old_container_that_cannot_be_removed_fails_no_upgrade(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with plugin_room(tmp_path) as room:
        await room.pull()
        with mock.patch.object(room.hidden, "remove", side_effect=SystemFault("it does not end")):
            await room.upgrade()
        assert "it does not end" in caplog.text
        assert room.service.inspect(GATE).Settings.Env == ["VERSION=2"]
        assert len(room.hidden.all()) == 2
        await room.service.open()  # the next engine's
        assert len(room.hidden.all()) == 1


@in_fake_time
async def test_the_reason_of_a_failed_enabling_is_the_first_one(tmp_path: Path) -> None:
    async with plugin_room(tmp_path) as room:
        room.listening = False
        await room.pull()
        failing = mock.patch.object(room.hidden, "stop", side_effect=SystemFault("it does not end"))
        with failing, pytest.raises(SystemFault, match="does not listen"):
            await room.enable()
        assert not room.service.inspect(GATE).Enabled
        (container,) = room.hidden.all()
        assert container.state.alive
        await room.service.open()  # the next engine's: it stops what runs and is not enabled
        assert not container.state.active
        room.listening = True
        await room.enable()
        assert room.events() == ["pull", "enable"]


@in_fake_time
async def test_a_disabling_that_failed_can_be_repeated(tmp_path: Path) -> None:
    async with plugin_room(tmp_path) as room:
        await _run(room, ["pull", "enable"])
        failing = mock.patch.object(room.hidden, "stop", side_effect=SystemFault("it does not end"))
        with failing, pytest.raises(SystemFault, match="does not end"):
            await room.disable()
        (container,) = room.hidden.all()
        assert container.state.alive
        await room.disable()
        assert not container.state.active
        assert room.events() == ["pull", "enable", "disable"]


@in_fake_time
async def test_a_removal_that_failed_can_be_repeated(tmp_path: Path) -> None:
    async with plugin_room(tmp_path) as room:
        await _run(room, ["pull", "enable", "disable"])
        data = run.PluginPlaces(room.room.dependencies.config, room.service.inspect(GATE).Id).data
        for failing in (
            mock.patch.object(room.hidden, "remove", side_effect=SystemFault("it does not end")),
            mock.patch.object(run.PluginPlaces, "release", side_effect=OSError("it is busy")),
        ):
            with failing, pytest.raises((SystemFault, OSError), match="it "):
                await room.remove()
            assert room.service.inspect(GATE).Name == GATE
        assert data.exists()
        await room.remove()
        assert not data.exists()
        assert (room.rows(), room.hidden.all()) == ([], [])
        assert room.events() == ["pull", "enable", "disable", "remove"]
