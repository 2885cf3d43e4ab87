"""Starts of containers on a host in memory: what they leave, above all when a step fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from darse.containers.model import Status
from darse.core.errors import Conflict, EngineError, NotModified, SystemFault
from darse.runtime.monitor.conmon import CreateFailed
from darse.runtime.oci.errors import CommandNotFound
from darse.testing.clock import in_fake_time
from darse.testing.room import ContainerRoom, container_room
from darse.wire.host_config import HostConfig


def fails(error: Exception) -> Callable[[object], None]:
    def raises(_: object) -> None:
        raise error

    return raises


def left(room: ContainerRoom) -> list[str]:
    """What is on the host of any start."""
    files = room.dependencies.files
    places = [path for path in (files.bundles, files.exits, room.runtime.root) if path.exists()]
    alive = [one for one in room.host.processes.values() if one.exit_code is None]
    return [str(path) for place in places for path in place.iterdir()] + [f"process {one.pid}" for one in alive]


@in_fake_time
async def test_a_started_container_runs_and_is_on_record(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        assert web.state.status is Status.RUNNING
        assert web.state.pid == room.host.containers[web.id].pid
        assert room.recorded(web) == web.state
        assert room.actions() == ["start"]
        with pytest.raises(NotModified):
            await room.service.start("web")


NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FAILURES = [
    (NO_ROOM, "no space left on device", 128),
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "too many open files", 128),
    (OSError(errno.EIO, "mount overlay"), "mount overlay", 128),
    (SystemFault("the monitor ended"), "the monitor ended", 128),
    (RuntimeError("unforeseen"), "unforeseen", 128),
]


@pytest.mark.parametrize("moment", ["launch", "start"])
@pytest.mark.parametrize(("error", "text", "code"), FAILURES, ids=lambda value: str(value)[:30])
@in_fake_time
async def test_a_start_that_fails_by_whatever_leaves_what_docker_leaves(
    tmp_path: Path, moment: str, error: Exception, text: str, code: int
) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        setattr(room.host, f"on_{moment}", fails(error))
        with pytest.raises(Exception, match=text):
            await room.service.start("web")
        assert web.state.status is Status.CREATED
        assert (web.state.exit_code, web.monitor, web.state.pid) == (code, None, 0)
        assert text in web.state.error
        assert room.recorded(web) == web.state
        assert room.actions() == ["die"]
        assert left(room) == []
        setattr(room.host, f"on_{moment}", lambda _: None)
        await room.service.start("web")
        assert web.state.status is Status.RUNNING


@pytest.mark.parametrize("moment", ["launch", "start"])
@pytest.mark.parametrize("error", [NO_ROOM, SystemFault("no"), RuntimeError("unforeseen")], ids=str)
@in_fake_time
async def test_a_container_that_asked_for_its_removal_goes_when_its_start_fails(
    tmp_path: Path, moment: str, error: Exception
) -> None:
    async with container_room(tmp_path) as room:
        web = room.add(host=HostConfig(AutoRemove=True))
        setattr(room.host, f"on_{moment}", fails(error))
        with pytest.raises((EngineError, RuntimeError)):
            await room.service.start("web")
        assert room.dependencies.store.find("web") is None
        assert room.recorded(web) is None
        assert room.actions() == ["die", "destroy"]
        assert left(room) == []


@in_fake_time
async def test_a_command_that_is_not_there_has_the_exit_code_of_a_shell(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        room.host.on_launch = fails(CreateFailed("executable file `true` not found in $PATH"))
        with pytest.raises(CommandNotFound, match="executable file not found"):
            await room.service.start("web")
        assert web.state.exit_code == 127


@in_fake_time
async def test_a_container_that_is_being_removed_does_not_start(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        web.state.status = Status.REMOVING
        with pytest.raises(Conflict, match="marked for removal"):
            await room.service.start("web")
