"""Agents of a client, as sockets for processes."""

from __future__ import annotations

import asyncio
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from darse.build.errors import BuildError
from darse.build.executor import NoAgents
from darse.build.executor.agents import forwarded
from darse.build.graph.operations import SecretMount
from darse.testing.blocking import on_this_thread


class _Agent:
    """An agent that answers with what it is sent, in capitals."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, agent: str) -> bool:
        return agent == "default"

    async def connect(self, agent: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not self.has(agent):
            raise BuildError("no such agent")
        return await asyncio.open_unix_connection(self._path)

    async def serve(self) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read()).upper())
            writer.close()

        return await asyncio.start_unix_server(answer, self._path)


async def test_connections_lead_to_the_clients_agent(tmp_path: Path) -> None:
    agent = _Agent(tmp_path / "a")
    async with await agent.serve(), forwarded(agent, SecretMount("default", mode=0o660), tmp_path) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        for text in (b"one", b"two"):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(text)
            writer.write_eof()
            assert await reader.read() == text.upper()
            writer.close()
    assert sorted(one.name for one in tmp_path.iterdir()) in ([], ["a"])


async def test_a_connection_ends_where_the_agent_is_gone(tmp_path: Path) -> None:
    async with forwarded(_Agent(tmp_path / "gone"), SecretMount("default"), tmp_path) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        writer.close()


async def test_a_client_without_agents_has_none() -> None:
    assert not NoAgents().has("default")
    with pytest.raises(BuildError, match="unset ssh forward key default"):
        await NoAgents().connect("default")


async def test_a_socket_is_removed_beside_the_event_loop(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        path = await stack.enter_async_context(forwarded(_Agent(tmp_path), SecretMount("default"), tmp_path))
        with on_this_thread(tmp_path) as seen:
            await stack.aclose()
    assert not path.parent.exists()
    assert seen == []
