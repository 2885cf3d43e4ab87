"""Where the API is served."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from darse.api.listeners import Listeners
from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter, SystemFault
from tests.unit.api.conftest import Served, read_answer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sockets are root's")


@pytest.fixture
async def listen(served: Served, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Open listeners with the configuration given."""
    opened: list[Listeners] = []

    async def start(*hosts: str, **settings: Any) -> Listeners:
        listeners = Listeners(EngineConfig(exec_root=tmp_path, hosts=hosts, **settings), served.server)
        opened.append(listeners)
        await listeners.listen()
        return listeners

    yield start
    for listeners in opened:
        listeners.close()


async def ping(connected: Any) -> bytes:
    reader, writer = await connected
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        return (await asyncio.wait_for(read_answer(reader), 5)).body
    finally:
        writer.close()


async def test_the_default_socket(listen: Callable[..., Any], tmp_path: Path) -> None:
    listeners = await listen()
    path = tmp_path / "darse.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert await ping(asyncio.open_unix_connection(str(path))) == b"OK"
    listeners.close()
    assert not path.exists()


async def test_a_socket_that_nobody_serves_is_replaced(listen: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "old.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    await listen(f"unix://{path}")
    assert await ping(asyncio.open_unix_connection(str(path))) == b"OK"


async def test_a_socket_that_somebody_serves_is_left_alone(listen: Callable[..., Any], served: Served) -> None:
    with pytest.raises(SystemFault, match="another engine serves it"):
        await listen(f"unix://{served.path}")
    assert await ping(asyncio.open_unix_connection(str(served.path))) == b"OK"


async def test_what_is_no_socket_is_left_alone(listen: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(SystemFault):
        await listen(f"unix://{path}")
    assert path.read_text() == "precious"


async def test_an_unknown_group(listen: Callable[..., Any]) -> None:
    with pytest.raises(InvalidParameter, match="group nobody-has-this not found"):
        await listen(group="nobody-has-this")


async def test_plain_tcp_and_many_hosts(
    listen: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await listen(f"tcp://127.0.0.1:{port}", "unix://", allow_plain_tcp=True)
    assert "without TLS" in caplog.text
    assert await ping(asyncio.open_connection("127.0.0.1", port)) == b"OK"
    assert await ping(asyncio.open_unix_connection(str(tmp_path / "darse.sock"))) == b"OK"


async def test_a_port_that_is_taken(listen: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SystemFault, match=r"cannot listen on tcp://127\.0\.0\.1"):
            await listen(f"tcp://127.0.0.1:{taken.getsockname()[1]}", allow_plain_tcp=True)


async def test_sockets_from_the_service_manager(
    listen: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = socket.socket(socket.AF_UNIX)
    passed.bind(str(tmp_path / "passed.sock"))
    passed.listen()
    monkeypatch.setattr("darse.linux.service_manager._FIRST_PASSED", passed.detach())
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    listeners = await listen("fd://")
    assert await ping(asyncio.open_unix_connection(str(tmp_path / "passed.sock"))) == b"OK"
    listeners.close()
    assert (tmp_path / "passed.sock").exists()  # it is the service manager's, which starts the engine again by it


async def test_fd_without_sockets(listen: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    with pytest.raises(InvalidParameter, match=r"darsed\.socket"):
        await listen("fd://")
