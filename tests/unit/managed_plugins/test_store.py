"""The plugins on record: found by name or id, and reached where they are enabled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from darse.core.config import EngineConfig
from darse.core.errors import NotFound
from darse.core.state import State
from darse.managed_plugins.model import SCHEMA, PluginRecord
from darse.managed_plugins.store import PluginStore
from darse.plugins import PluginClient
from darse.wire.plugins import PluginSettings

CONFIG = b'{"Interface": {"Types": ["docker.volumedriver/1.0"], "Socket": "v.sock"}, "PropagatedMount": "/data"}'


class StoreRoom:
    def __init__(self, directory: Path) -> None:
        self.config = EngineConfig(data_root=directory / "data", exec_root=directory / "exec")
        self.config.make_roots()
        self.state = State(self.config.data_root / "state.sqlite", (SCHEMA,))
        self.store = PluginStore(self.config, self.state)

    def plugin(self, name: str, *, enabled: bool = True, id_: str = "ab" * 32) -> PluginRecord:
        return PluginRecord(
            id=id_,
            name=name,
            reference=name,
            enabled=enabled,
            config=CONFIG,
            layers=[],
            settings=PluginSettings(),
            container="c",
            created_ns=1,
        )

    def add(self, plugin: PluginRecord) -> PluginRecord:
        with self.store.changing():
            self.store.save(plugin)
        return plugin


@pytest.fixture
def room(tmp_path: Path) -> Iterator[StoreRoom]:
    room = StoreRoom(tmp_path)
    yield room
    room.state.close()


def test_names_and_ids(room: StoreRoom) -> None:
    one = room.add(room.plugin("me/one:latest"))
    other = room.add(room.plugin("me/other:1", id_="ac" * 32))
    assert room.store.get("me/one") is room.store.get("me/one:latest") is room.store.get("abab") is one
    assert list(room.store) == [one, other]
    for name in ("me/none", "a", "Not A Name", "ff"):
        with pytest.raises(NotFound):
            room.store.get(name)
    assert [plugin.id for plugin in PluginStore(room.config, room.state)] == [one.id, other.id]


def test_a_change_that_fails_leaves_memory_as_it_was(room: StoreRoom) -> None:
    one = room.add(room.plugin("me/one:latest"))
    with contextlib.suppress(RuntimeError), room.store.changing():
        room.store.delete(one)
        room.store.save(room.plugin("me/other:latest", id_="ac" * 32))
        raise RuntimeError
    assert list(room.store) == [one]


async def test_those_that_are_enabled_are_found_by_whoever_calls_plugins(room: StoreRoom) -> None:
    room.add(room.plugin("me/one:latest"))
    room.add(room.plugin("me/other:latest", enabled=False, id_="ac" * 32))
    client = PluginClient((), (), room.store)
    assert await client.names("VolumeDriver") == ["me/one:latest"]
    assert await client.names("NetworkDriver") == []
    assert client.full_name("me/one") == "me/one:latest"
    assert client.full_name("of-the-host") == "of-the-host"
    with pytest.raises(NotFound, match="found but disabled"):
        client.full_name("me/other")
    await client.activate("me/one", "VolumeDriver")
    with pytest.raises(NotFound, match="does not implement"):
        await client.activate("me/one", "NetworkDriver")


def test_directories_that_the_host_sees(room: StoreRoom) -> None:
    one = room.add(room.plugin("me/one:latest"))
    found = room.store.find_enabled("me/one")
    assert found is not None
    propagated = room.config.data_root / "plugins" / one.id / "propagated-mount"
    assert found.host_path("/data") == str(propagated)
    assert found.host_path("/data/volume") == str(propagated / "volume")
    for unseen in ("/", "/database", "/data/../etc", "/etc"):
        assert found.host_path(unseen) is None
