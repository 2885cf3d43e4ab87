"""Network services and another machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.island import Island
from tests.support.waiting import wait_until
from tests.system.networks.support import Host, Outside


@pytest.fixture
async def new_host(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Host]]]:
    """Starts network services with the configuration given; each is removed at its end, and checked for leaks."""
    made: list[Host] = []

    async def new(**config: Any) -> Host:
        root = tmp_path / str(len(made))
        root.mkdir()
        host = Host(root, **config)
        made.append(host)
        await host.start()
        return host

    yield new
    for host in made:
        await host.close()


@pytest.fixture
async def host(new_host: Callable[..., Awaitable[Host]]) -> Host:
    """A network service as it is without options."""
    return await new_host()


@pytest.fixture
def outside() -> Iterator[Outside]:
    """Another machine."""
    machine = Outside()
    yield machine
    machine.close()


@pytest.fixture
def holder() -> Iterator[Callable[[str], int]]:
    """Starts a process in a namespace, a container's init as it were; returns its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def start(path: str) -> int:
        process = subprocess.Popen(["nsenter", f"--net={path}", "sleep", "infinity"])
        started.append(process)
        home = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != home, what="a process in the namespace")
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    """A host of its own for engines."""
    island = Island()
    yield island
    island.close()
