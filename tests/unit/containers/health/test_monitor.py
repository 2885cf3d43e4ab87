"""Probing a container on a host in memory: when, with which results, and what ends it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from darse.containers.health.monitor import HealthMonitor
from darse.containers.streams.output import STDOUT, Batch
from darse.testing.clock import in_fake_time
from darse.testing.room import ContainerRoom, container_room
from darse.wire.containers import ContainerConfig, HealthConfig

SECOND = 1_000_000_000


class Execs:
    """Probes that take `seconds` and end with `code`."""

    def __init__(self) -> None:
        self.code = 0
        self.seconds = 0.0
        self.begun: list[float] = []
        self.killed: list[str] = []
        self._ids = itertools.count()
        self._ended: dict[str, asyncio.Event] = {}

    def probes(self, container_id: str) -> list[str]:
        return []

    async def create(self, reference: str, config: object, *, probe: bool) -> str:
        return str(next(self._ids))

    async def start(self, exec_id: str, request: object) -> Any:
        self.begun.append(asyncio.get_running_loop().time())
        ended = self._ended[exec_id] = asyncio.Event()
        asyncio.get_running_loop().call_later(self.seconds, ended.set)

        async def output() -> AsyncIterator[Batch]:
            yield [(STDOUT, b"printed")]
            await ended.wait()

        return SimpleNamespace(output=output)

    def inspect(self, exec_id: str) -> Any:
        return SimpleNamespace(ExitCode=self.code)

    async def kill(self, exec_id: str) -> None:
        self.killed.append(exec_id)
        self._ended[exec_id].set()

    def discard_exec(self, exec_id: str) -> None:
        pass


def checked(**options: int) -> ContainerConfig:
    check = HealthConfig(Test=["CMD", "probe"], Interval=10 * SECOND, Timeout=5 * SECOND, Retries=3)
    for name, value in options.items():
        setattr(check, name, value)
    return ContainerConfig(Cmd=["true"], Healthcheck=check)


def monitor(room: ContainerRoom, execs: Execs) -> HealthMonitor:
    """The room's monitor, with these execs."""
    made = room.service.health
    made._execs = cast(Any, execs)
    return made


@in_fake_time
async def test_one_success_makes_a_container_healthy(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        execs = Execs()
        monitor(room, execs)
        web = room.add(config=checked())
        await room.service.start("web")
        assert web.state.health is not None
        assert web.state.health.Status == "starting"
        await asyncio.sleep(11)
        assert web.state.health.Status == "healthy"
        assert web.state.health.Log[-1].Output == "printed"
        assert room.actions() == ["start", "health_status: healthy"]


@in_fake_time
async def test_three_failures_in_a_row_make_it_unhealthy(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        execs = Execs()
        execs.code = 1
        monitor(room, execs)
        web = room.add(config=checked())
        await room.service.start("web")
        assert web.state.health is not None
        await asyncio.sleep(25)
        assert (web.state.health.Status, web.state.health.FailingStreak) == ("starting", 2)
        await asyncio.sleep(10)
        assert web.state.health.Status == "unhealthy"
        assert [round(later - sooner) for sooner, later in itertools.pairwise(execs.begun)] == [10, 10]


@in_fake_time
async def test_a_probe_that_takes_too_long_is_killed_and_counts_as_a_failure(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        execs = Execs()
        execs.seconds = 1000
        monitor(room, execs)
        web = room.add(config=checked(Retries=1))
        await room.service.start("web")
        assert web.state.health is not None
        await asyncio.sleep(16)
        assert web.state.health.Status == "unhealthy"
        assert web.state.health.Log[-1].Output == "Health check exceeded timeout (5s): printed"
        assert execs.killed == ["0"]


@in_fake_time
async def test_nothing_is_probed_after_the_end_or_while_it_is_paused(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        execs = Execs()
        monitor(room, execs)
        room.add(config=checked())
        await room.service.start("web")
        await room.service.pause("web")
        await asyncio.sleep(55)
        assert execs.begun == []
        await room.service.unpause("web")
        await asyncio.sleep(6)
        assert len(execs.begun) == 1
        await room.service.stop("web", 1, None)
        await asyncio.sleep(60)
        assert len(execs.begun) == 1


@pytest.mark.parametrize("step", [-86_400, 86_400])
@in_fake_time
async def test_probes_do_not_go_by_the_wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """One that is set stops no probe and hastens none; the start period neither ends early nor goes on for ever."""
    now = 1_700_000_000 * SECOND
    monkeypatch.setattr("time.time_ns", lambda: now)
    async with container_room(tmp_path) as room:
        execs = Execs()
        execs.code = 1
        monitor(room, execs)
        web = room.add(config=checked(StartPeriod=35 * SECOND))
        begun = asyncio.get_running_loop().time()
        await room.service.start("web")
        await asyncio.sleep(15)
        now += step * SECOND
        await asyncio.sleep(51)
        assert [round(one - begun) for one in execs.begun] == [5, 10, 15, 20, 25, 30, 35, 45, 55, 65]
        assert web.state.health is not None
        assert web.state.health.Status == "unhealthy"
