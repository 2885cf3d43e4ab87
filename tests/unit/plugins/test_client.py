"""Calls of plugins: those that answer, and those that hang, lie or are not there."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from darse.core.errors import NotFound
from darse.plugins import client as plugin_client
from darse.plugins.client import PluginClient, PluginError


class Answer(msgspec.Struct):
    Number: int = 0


Start = Callable[..., Awaitable[PluginClient]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a plugin `fake` that answers each method with bytes; None: it never answers. Returns a client."""
    servers: list[asyncio.Server] = []
    clients: list[PluginClient] = []
    hanging: list[asyncio.StreamWriter] = []

    async def serve(answers: dict[str, bytes | None], status: int = 200) -> PluginClient:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            method = head.split()[1].decode().lstrip("/")
            answer = answers.get(method, b'{"Implements": ["NetworkDriver"]}')
            if answer is None:
                hanging.append(writer)
                return
            code = 200 if method == "Plugin.Activate" else status
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (code, len(answer)) + answer)
            await writer.drain()
            writer.close()

        servers.append(await asyncio.start_unix_server(handle, str(tmp_path / "fake.sock")))
        clients.append(PluginClient((tmp_path,), ()))
        return clients[-1]

    yield serve
    for client in clients:
        await client.close()
    for writer in hanging:
        writer.close()
    for server in servers:
        server.close()


async def test_a_call(start: Start) -> None:
    client = await start({"NetworkDriver.Join": b'{"Number": 3, "Other": 4}'})
    assert (await client.call("fake", "NetworkDriver", "Join", {}, Answer)).Number == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (json.dumps({"Err": "no such thing"}).encode(), "NetworkDriver.Join: no such thing"),
        (b'{"Number": "x"}', "answers NetworkDriver.Join with what it cannot be"),
        (b"nonsense", "answers NetworkDriver.Join with what it cannot be"),
        (b'{"Other": ' + b"[" * 100_000, "answers NetworkDriver.Join with what it cannot be"),
        (b'{"Number": 1, "Long": "' + b"x" * (1 << 20) + b'"}', "longer than"),
    ],
)
async def test_answers_that_are_none(start: Start, answer: bytes, said: str) -> None:
    client = await start({"NetworkDriver.Join": answer})
    with pytest.raises(PluginError, match=said):
        await client.call("fake", "NetworkDriver", "Join", {}, Answer)


async def test_an_error_s_status(start: Start) -> None:
    client = await start({"NetworkDriver.Join": b"gone wrong"}, status=500)
    with pytest.raises(PluginError, match="gone wrong"):
        await client.call("fake", "NetworkDriver", "Join", {}, Answer)


async def test_one_that_hangs_keeps_no_other_call_waiting(start: Start) -> None:
    client = await start({"NetworkDriver.Join": None, "NetworkDriver.Leave": b'{"Number": 1}'})
    hanging = asyncio.ensure_future(client.call("fake", "NetworkDriver", "Join", {}, Answer, 0.2))
    assert (await client.call("fake", "NetworkDriver", "Leave", {}, Answer)).Number == 1
    assert not hanging.done()
    with pytest.raises(PluginError, match=r"did not answer NetworkDriver\.Join within 0\.2 s"):
        await hanging


async def test_one_that_implements_something_else(start: Start) -> None:
    client = await start({"Plugin.Activate": b'{"Implements": ["VolumeDriver"]}'})
    with pytest.raises(NotFound, match='does not implement "NetworkDriver", but VolumeDriver'):
        await client.activate("fake", "NetworkDriver")


async def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match='plugin "fake" not found'):
        await PluginClient((tmp_path,), ()).activate("fake", "NetworkDriver")


async def test_one_that_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_client, "LISTEN_SECONDS", 0.01)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "fake.sock"))
    client = PluginClient((tmp_path,), ())
    with pytest.raises(PluginError, match="plugin fake does not listen"):
        await client.activate("fake", "NetworkDriver")
    await client.close()
