"""An exec whose monitor ends before the process is there: with its container, or by itself."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from darse.containers.exec import service as exec_service
from darse.containers.exec.pool import monitor_directory_of
from darse.containers.exec.records import ExecRecord
from darse.containers.exec.service import _UNSTARTED_SECONDS
from darse.core.errors import Conflict, EngineError, NotFound
from darse.runtime.monitor.conmon import CreateResult, MonitorExited
from darse.testing.clock import in_fake_time
from darse.testing.room import container_room
from darse.wire.execs import ExecConfig, ExecStartRequest


@pytest.mark.parametrize(
    ("container_runs", "error", "text"),
    [(False, Conflict, "is not running"), (True, MonitorExited, "conmon ended")],
)
@in_fake_time
async def test_a_monitor_that_ended_with_its_container_is_no_fault_of_the_engine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    container_runs: bool,
    error: type[EngineError],
    text: str,
) -> None:
    def launch(*_: Any) -> Any:
        raise MonitorExited("conmon ended before the container was created: it printed nothing")

    async def take(*_: Any) -> None:
        return None

    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        execs = cast(Any, room.service.execs)
        bundle = monitor_directory_of(room.dependencies.files.execs, "e1", web.id)
        bundle.exits.mkdir(parents=True)
        execs._execs["e1"] = execs._open(ExecRecord("e1", web.id, ExecConfig(Cmd=["true"])))
        monkeypatch.setattr(execs._pool, "take", take)
        monkeypatch.setattr(execs, "_launch_blocking", launch)
        monkeypatch.setattr(exec_service, "runs", lambda pid, parent: container_runs)
        with pytest.raises(error, match=text):
            await execs.start("e1", ExecStartRequest(Detach=True))


@in_fake_time
async def test_an_exec_waits_for_a_pause_that_has_begun_and_finds_the_container_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, begun, may_end = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    launched: list[object] = []
    async with container_room(tmp_path) as room:
        room.add()
        await room.service.start("web")
        freeze, execs = room.cgroups.freeze, room.service.execs

        def freeze_slowly(path: str, frozen: bool) -> None:
            loop.call_soon_threadsafe(begun.set)
            assert may_end.wait(10)
            freeze(path, frozen)

        monkeypatch.setattr(room.cgroups, "freeze", freeze_slowly)
        monkeypatch.setattr(cast(Any, execs)._pool, "begin", lambda *_, **__: None)
        monkeypatch.setattr(execs, "_launch_blocking", launched.append)
        exec_id = await execs.create("web", ExecConfig(Cmd=["true"]))
        pausing = asyncio.create_task(room.service.pause("web"))
        await begun.wait()
        starting = asyncio.create_task(execs.start(exec_id, ExecStartRequest(Detach=True)))
        for _ in range(20):  # turns of the loop: it would be there by now
            await asyncio.sleep(0)
        may_end.set()
        await pausing
        with pytest.raises(Conflict, match="is paused, unpause the container before exec"):
            await starting
        assert launched == []


@in_fake_time
async def test_an_exec_that_nobody_starts_goes_and_one_that_runs_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with container_room(tmp_path) as room:
        room.add()
        await room.service.start("web")
        execs = room.service.execs
        monkeypatch.setattr(cast(Any, execs)._pool, "begin", lambda *_, **__: None)
        forgotten = [await execs.create("web", ExecConfig(Cmd=["true"])) for _ in range(50)]
        runs = await execs.create("web", ExecConfig(Cmd=["sleep", "1000"]))
        monitor = room.host.spawn()
        launched = CreateResult(room.host.spawn(monitor.pid).pid, monitor.pid)
        monkeypatch.setattr(execs, "_launch_blocking", lambda *_: (launched, None))
        monkeypatch.setattr(execs, "_watch", _for_ever)
        await execs.start(runs, ExecStartRequest(Detach=True))
        await asyncio.sleep(_UNSTARTED_SECONDS - 1)
        assert execs.inspect(forgotten[0]).Running is False
        await asyncio.sleep(2)
        for exec_id in forgotten:
            with pytest.raises(NotFound):
                execs.inspect(exec_id)
        assert execs.of_container(execs.inspect(runs).ContainerID) == [runs]
        assert [path.name for path in room.dependencies.files.execs.iterdir()] == [runs]


async def _for_ever(*_: object) -> None:
    await asyncio.Event().wait()
