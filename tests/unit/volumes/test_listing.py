"""Volumes that only plugins have: those that answer, and those that hang, refuse or are not there."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from types import SimpleNamespace

import pytest

from darse.core.state import State
from darse.engine.engine import SCHEMAS
from darse.plugins import PluginClient
from darse.volumes import listing
from darse.volumes.listing import RemoteListing
from darse.volumes.model import VolumeRecord
from darse.volumes.remote import RemoteVolumes


class Plugins:
    """Volume plugins by names, in this process; and a listing that asks them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = State(folder / "state.sqlite", SCHEMAS)
        self.client = PluginClient((folder,), ())
        self.records: dict[str, VolumeRecord] = {}
        self.listing = RemoteListing(
            self.client, RemoteVolumes(self.state, self.client), self.records, self._in_background
        )
        #: What each answers; methods that wait for `released` before.
        self.answers: dict[str, dict[str, object]] = {}
        self.hanging: set[str] = set()
        self.released = asyncio.Event()
        self.asked: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._servers: list[asyncio.Server] = []

    def _in_background(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work))
        return self.tasks[-1]

    async def serve(self, name: str, *volumes: str, kind: str = "VolumeDriver") -> None:
        """Begin a plugin that has these volumes."""
        self.answers[f"{name} Plugin.Activate"] = {"Implements": [kind]}
        self.answers[f"{name} VolumeDriver.List"] = {"Volumes": [{"Name": one} for one in volumes]}

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            method = f"{name} {head.split()[1].decode().lstrip('/')}"
            self.asked.append(method)
            if method in self.hanging:
                await self.released.wait()
            data = json.dumps(self.answers[method]).encode()
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            await writer.drain()
            writer.close()

        self._servers.append(await asyncio.start_unix_server(handle, str(self.folder / f"{name}.sock")))

    async def names(self) -> list[str]:
        found, _ = await self.listing.ask()
        return [record.name for record in found]

    async def warnings(self) -> list[str]:
        return (await self.listing.ask())[1]

    async def close(self) -> None:
        self.released.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for server in self._servers:
            server.close()
        await self.client.close()
        self.state.close()


@pytest.fixture
async def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plugins]:
    # A machine that is busy with other tests is slow.
    monkeypatch.setattr(listing, "TIMEOUT_SECONDS", 5.0)
    made = Plugins(tmp_path)
    yield made
    await made.close()


async def test_without_plugins_nothing_is_asked(plugins: Plugins) -> None:
    assert await plugins.listing.ask() == ([], [])


async def test_volumes_of_all_plugins(plugins: Plugins) -> None:
    await plugins.serve("one", "pool/vol", "both")
    await plugins.serve("two", "both", "other")
    await plugins.serve("net", "none", kind="NetworkDriver")
    plugins.answers["one VolumeDriver.List"]["Volumes"][0]["CreatedAt"] = "2024-05-06T07:08:09.123456789Z"  # type: ignore[index]
    plugins.answers["two VolumeDriver.List"]["Volumes"][1]["CreatedAt"] = "yesterday"  # type: ignore[index]
    found, warnings = await plugins.listing.ask()
    assert [(one.name, one.driver, one.created_ns) for one in found] == [
        ("pool/vol", "one", 1714979289_000_000_000),
        ("both", "one", 0),
        ("both", "two", 0),
        ("other", "two", 0),
    ]
    assert warnings == []
    record = await plugins.listing.find("both")
    assert record is not None
    assert record.driver == "one"
    assert await plugins.listing.find("missing") is None
    assert plugins.asked.count("net Plugin.Activate") == 1
    assert "net VolumeDriver.List" not in plugins.asked


async def test_one_that_hangs_is_asked_once_and_waited_for_once(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plugins.serve("one", "first")
    await plugins.serve("two", "second")
    assert await plugins.names() == ["first", "second"]
    plugins.hanging.add("two VolumeDriver.List")
    monkeypatch.setattr(listing, "TIMEOUT_SECONDS", 0.05)
    for _ in range(2):
        found, warnings = await plugins.listing.ask()
        assert [record.name for record in found] == ["first", "second"]
        # On a busy machine the other one may not have answered yet, either.
        assert "volumes of plugin two: it has not answered yet; what it said last is shown" in warnings
    monkeypatch.setattr(listing, "TIMEOUT_SECONDS", 5.0)
    plugins.answers["two VolumeDriver.List"] = {"Volumes": [{"Name": "third"}]}
    assert plugins.asked.count("two VolumeDriver.List") == 2, "the one that is answered, and one that hangs"
    plugins.released.set()
    await asyncio.gather(*plugins.tasks)
    assert await plugins.names() == ["first", "third"]


async def test_one_that_refuses_or_lies_is_said_to(plugins: Plugins) -> None:
    await plugins.serve("one")
    for answer, said in (
        ({"Err": "no room"}, "VolumeDriver.List: no room"),
        ({"Volumes": 7}, "answers VolumeDriver.List with what it cannot be"),
        ({"Volumes": [{"Name": "x" * (2 << 20)}]}, "longer than"),
    ):
        plugins.answers["one VolumeDriver.List"] = answer
        (warning,) = await plugins.warnings()
        assert said in warning
        assert warning.endswith("those that nobody has used here are missing")
    plugins.answers["one VolumeDriver.List"] = {}
    assert await plugins.warnings() == []


async def test_a_socket_that_nobody_listens_to_matters_when_volumes_are_its(plugins: Plugins) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(plugins.folder / "gone.sock"))
    assert await plugins.listing.ask() == ([], [])
    plugins.records["data"] = VolumeRecord("data", "gone", {}, {}, 0)
    (warning,) = await plugins.warnings()
    assert "plugin gone does not listen" in warning


async def test_a_question_of_long_ago_is_not_waited_for_again_because_others_are_asked(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(listing, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(listing, "TIMEOUT_SECONDS", 0.0)
    await plugins.serve("stuck", "one")
    plugins.hanging.add("stuck VolumeDriver.List")
    await plugins.names()
    await plugins.serve("fine", "two")
    now += 7200.0
    monkeypatch.setattr(listing, "TIMEOUT_SECONDS", 3600.0)
    async with asyncio.timeout(60):
        assert await plugins.names() == ["two"]
