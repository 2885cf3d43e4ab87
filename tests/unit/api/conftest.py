"""The API on a unix socket, with services that only remember what they were asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darse.api.app import Api
from darse.api.server import ApiServer
from darse.containers.streams.output import STDOUT, Batch
from darse.core import events
from darse.core.config import EngineConfig
from darse.core.errors import NotFound, NotModified
from darse.core.events import EventLog
from darse.core.state import State
from darse.plugins import PluginClient
from darse.wire.containers import CreateResponse, WaitResponse


class FakeStreams:
    """The streams of a process that echoes its input in capitals, and ends when its input has ended."""

    def __init__(self, *, terminal: bool = True) -> None:
        self.terminal = terminal
        self.received = bytearray()
        self.input_ended = asyncio.Event()
        self.closed = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self._output: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, data: bytes) -> None:
        self._output.put_nowait(data)

    def end(self) -> None:
        self._output.put_nowait(None)

    async def output(self) -> AsyncIterator[Batch]:
        while (piece := await self._output.get()) is not None:
            yield [(STDOUT, piece)]

    async def write(self, data: bytes) -> None:
        await self.room.wait()
        self.received += data
        self.put(data.upper())

    async def close_stdin(self) -> None:
        self.input_ended.set()
        self.put(b"[end]")
        self.end()

    def when_let_go(self, leave: Callable[[], None]) -> None:
        """Nobody is let go."""

    async def close(self) -> None:
        self.closed.set()


class FakeContainers:
    """One container, `box`; every other is missing."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        #: What attachments and logs are.
        self.attachment = FakeStreams()
        # The services that the API asks for listing and streams.
        self.listing = self.streams = self
        self.ended: asyncio.Future[WaitResponse] = asyncio.get_running_loop().create_future()

    def _know(self, reference: str) -> None:
        if reference != "box":
            raise NotFound(f"No such container: {reference}")

    async def create(
        self, name: str | None, request: Any, platform: Any = None, *, recursive_read_only: bool = True
    ) -> CreateResponse:
        self.calls.append(("create", name, request))
        return CreateResponse("f" * 64, [])

    async def start(self, reference: str) -> None:
        self._know(reference)
        self.calls.append(("start", reference))

    async def stop(self, reference: str, seconds: int | None, signal: str | None) -> None:
        self._know(reference)
        self.calls.append(("stop", seconds, signal))
        raise NotModified("it does not run")

    async def kill(self, reference: str, signal: str) -> None:
        self._know(reference)
        raise ZeroDivisionError("a defect")

    async def list_containers(self, filters: Any, **options: Any) -> list[Any]:
        self.calls.append(("list", filters, options))
        return []

    def attach(self, reference: str, options: Any) -> FakeStreams:
        self._know(reference)
        self.calls.append(("attach", options))
        return self.attachment

    def wait(self, reference: str, condition: str) -> asyncio.Future[WaitResponse]:
        self._know(reference)
        self.calls.append(("wait", condition))
        return self.ended

    async def read_log(self, reference: str, options: Any) -> FakeStreams:
        self._know(reference)
        self.calls.append(("logs", options))
        return self.attachment

    def close_log(self, stream: FakeStreams, reference: str) -> None:
        self.calls.append(("close_log", reference))

    def resize_terminal(self, reference: str, height: int, width: int) -> None:
        self._know(reference)
        self.calls.append(("resize", height, width))


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        message = self.json["message"]
        assert isinstance(message, str)
        return message


@dataclass
class Served:
    """The API at `path`."""

    path: Path
    engine: Any
    api: Api
    server: ApiServer
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        self.writers.append(writer)
        return reader, writer

    async def raw(self, data: bytes) -> Answer:
        """Send bytes, and read one answer."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            await writer.drain()
        except ConnectionError:
            pass  # it answered before it had everything
        return await asyncio.wait_for(read_answer(reader, head_only=data.startswith(b"HEAD ")), 10)

    async def request(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Make a request on a connection of its own."""
        fields = {"Host": "darse", "Connection": "close"}
        if body is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        fields |= headers or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return await self.raw(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + (body or b""))

    async def upgrade(
        self, target: str, *, upgrade: bool = True, body: bytes = b""
    ) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for a hijacked connection; return the head of the answer and the connection."""
        reader, writer = await self.connect()
        extra = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
        writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10), reader, writer


async def read_answer(reader: asyncio.StreamReader, *, head_only: bool = False) -> Answer:
    """Read one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status_line, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    elif not head_only:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(status_line.split()[1]), headers, body)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """The API with fake services."""
    state = State(tmp_path / "state.sqlite", [events.SCHEMA])
    engine = SimpleNamespace(
        config=EngineConfig(),
        containers=FakeContainers(),
        events=EventLog(state),
        execs=SimpleNamespace(),
        plugins=PluginClient((), ()),
        state=state,
    )
    api = Api(engine)  # type: ignore[arg-type]
    server = ApiServer(api.handle)
    path = tmp_path / "socket"
    listener = await asyncio.get_running_loop().create_unix_server(server, str(path))
    served = Served(path, engine, api, server)
    yield served
    listener.close()
    engine.events.close()
    for writer in served.writers:
        writer.close()
    await server.shutdown(1)
    state.close()


@pytest.fixture
async def until() -> Callable[[Callable[[], bool]], Any]:
    """Wait for a condition, with a deadline."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    return wait
