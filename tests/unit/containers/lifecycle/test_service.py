"""The life of containers on a host in memory: ends, restart policies, and an engine that takes over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from darse.containers.model import Container, Status
from darse.core.errors import SystemFault
from darse.testing.clock import in_fake_time
from darse.testing.room import ContainerRoom, container_room
from darse.wire.host_config import HostConfig, RestartPolicy


def policy(name: str, most: int = 0) -> HostConfig:
    return HostConfig(RestartPolicy=RestartPolicy(name, most))


async def end(room: ContainerRoom, container: Container, code: int) -> None:
    """End the container's process, and wait until that is on record."""
    ended = container.next_exit()
    room.host.containers[container.id].exit(code)
    await ended
    async with room.dependencies.locks.hold(container.id):
        pass


@in_fake_time
async def test_an_end_is_on_record_with_its_exit_code(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        await end(room, web, 7)
        assert (web.state.status, web.state.exit_code, web.state.pid) == (Status.EXITED, 7, 0)
        assert room.recorded(web) == web.state
        assert room.actions() == ["start", "die"]
        assert not room.dependencies.files.of(web.id).bundle.directory.exists()


@in_fake_time
async def test_a_container_without_its_monitor_is_ended(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        ended = web.next_exit()
        room.host.processes[web.state.monitor_pid].exit(137)
        await ended
        assert room.host.containers[web.id].exit_code == 137
        assert web.state.exit_code == 137


@in_fake_time
async def test_a_policy_starts_it_again_after_delays_that_double(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add(host=policy("always"))
        await room.service.start("web")
        delays = []
        for count in range(1, 5):
            await end(room, web, 1)
            assert (web.state.status, web.state.restart_count) == (Status.RESTARTING, count)
            began = asyncio.get_running_loop().time()
            while web.state.status is not Status.RUNNING:
                await asyncio.sleep(0.01)
            delays.append(round(asyncio.get_running_loop().time() - began, 1))
        assert delays == [0.1, 0.2, 0.4, 0.8]


@in_fake_time
async def test_a_run_of_ten_seconds_begins_the_delays_again(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add(host=policy("always"))
        await room.service.start("web")
        for _ in range(3):
            await end(room, web, 1)
            await asyncio.sleep(2)
        assert web.restart_delay == 0.4
        await asyncio.sleep(10)
        await end(room, web, 1)
        assert web.restart_delay == 0.1


@in_fake_time
async def test_on_failure_gives_up_after_its_count(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add(host=policy("on-failure", 2))
        await room.service.start("web")
        for _ in range(2):
            await end(room, web, 1)
            await asyncio.sleep(60)
        await end(room, web, 1)
        assert (web.state.status, web.state.restart_count) == (Status.EXITED, 2)


@in_fake_time
async def test_a_start_by_the_policy_that_fails_is_tried_again(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add(host=policy("always"))
        await room.service.start("web")

        def fails(_: object) -> None:
            raise SystemFault("not yet")

        room.host.on_launch = fails
        await end(room, web, 1)
        await asyncio.sleep(1)
        assert web.state.status is Status.RESTARTING
        assert web.state.error == "not yet"
        room.host.on_launch = None
        await asyncio.sleep(60)
        assert web.state.status is Status.RUNNING


@in_fake_time
async def test_one_that_is_stopped_stays_stopped(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add(host=policy("always"))
        await room.service.start("web")
        await room.service.stop("web", 10, None)
        await asyncio.sleep(600)
        assert (web.state.status, web.state.exit_code) == (Status.EXITED, 143)
        assert room.actions() == ["start", "kill", "die", "stop"]


@in_fake_time
async def test_stop_sends_its_signal_then_kills_after_the_timeout(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        room.host.ignored = frozenset({15})
        web = room.add()
        await room.service.start("web")
        began = asyncio.get_running_loop().time()
        await room.service.stop("web", 30, None)
        assert room.host.containers[web.id].signals == [15, 9]
        assert 30 <= asyncio.get_running_loop().time() - began < 31
        assert web.state.exit_code == 137


@in_fake_time
async def test_a_paused_container_is_stopped_by_its_signal(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        await room.service.pause("web")
        assert room.host.containers[web.id].frozen
        assert web.state.status is Status.PAUSED
        await room.service.kill("web", "KILL")
        assert web.state.exit_code == 137


@in_fake_time
async def test_two_restarts_at_once_keep_a_container_that_is_removed_at_its_end(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add(host=HostConfig(AutoRemove=True))
        await room.service.start("web")
        await asyncio.gather(*(room.service.restart("web", 10, None) for _ in range(3)))
        assert room.dependencies.store.find("web") is web
        assert web.state.status is Status.RUNNING
        removed = web.removal()
        await room.service.stop("web", 10, None)
        await removed
        assert room.dependencies.store.find("web") is None


@pytest.mark.parametrize("running", [True, False])
@in_fake_time
async def test_an_engine_that_takes_over_finds_what_runs_and_what_has_ended(tmp_path: Path, running: bool) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        await room.close()
        if not running:
            room.host.containers[web.id].exit(5)
        after = ContainerRoom(tmp_path, room.host)
        await after.recover()
        again = after.dependencies.store.get("web")
        assert again.state.status is (Status.RUNNING if running else Status.EXITED)
        assert again.state.exit_code == (0 if running else 5)
        await after.close()


@in_fake_time
async def test_a_start_that_was_cut_short_is_undone_by_the_next_engine(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        files = room.dependencies.files.of(web.id)
        files.prepare_bundle()
        room.runtime.state_directory(web.id).mkdir(parents=True)
        (room.runtime.state_directory(web.id) / "exec.fifo").touch()
        room.host.create(files.bundle)
        await room.close()
        after = ContainerRoom(tmp_path, room.host)
        await after.recover()
        assert after.dependencies.store.get("web").state.status is Status.CREATED
        assert all(one.exit_code is not None for one in room.host.processes.values())
        assert not files.bundle.directory.exists()
        assert not after.runtime.state_directory(web.id).exists()
        await after.close()
