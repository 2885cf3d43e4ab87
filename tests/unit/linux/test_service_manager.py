"""What a service manager hears, and the sockets that it passes."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from darse.linux import service_manager


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


def test_messages_reach_the_manager(heard: socket.socket) -> None:
    service_manager.notify("READY=1")
    assert heard.recv(100) == b"READY=1"
    service_manager.notify_reloading()
    first, second = heard.recv(100).decode().splitlines()
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


def test_nobody_has_to_listen(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    place = os.environ["NOTIFY_SOCKET"]
    monkeypatch.delenv("NOTIFY_SOCKET")
    service_manager.notify("nowhere")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    service_manager.notify("not there")
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    service_manager.notify("READY=1")
    assert heard.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("microseconds", "process", "seconds"),
    [("120000000", None, 120.0), ("120000000", "1", 0), ("", None, 0), ("soon", None, 0)],
)
def test_the_watchdogs_time(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, process: str | None, seconds: float
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", process or str(os.getpid()))
    assert service_manager.watchdog_seconds() == seconds


async def test_the_watchdog_hears_that_the_loop_turns(heard: socket.socket) -> None:
    task = asyncio.create_task(service_manager.keep_watchdog(0.02))
    loop = asyncio.get_running_loop()
    heard.setblocking(False)
    for _ in range(2):
        assert await asyncio.wait_for(loop.sock_recv(heard, 100), 10) == b"WATCHDOG=1"
    task.cancel()


def test_passed_sockets_are_those_of_this_process() -> None:
    script = (
        "import os; from darse.linux.service_manager import passed_sockets;"
        "os.environ.update(LISTEN_PID='1', LISTEN_FDS='1'); assert passed_sockets() == [];"
        "os.environ['LISTEN_PID'] = str(os.getpid()); (one,) = passed_sockets();"
        "print(one.getsockname()[0], os.get_inheritable(one.fileno()))"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        # As the manager does it: the first is descriptor 3.
        command = f'exec 3<&{server.fileno()}; exec "{sys.executable}" -c "{script}"'
        done = subprocess.run(
            ["bash", "-c", command], check=False, pass_fds=[server.fileno()], capture_output=True, text=True
        )
    assert done.stdout.split() == ["127.0.0.1", "False"], done.stderr
