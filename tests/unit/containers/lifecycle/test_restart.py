"""Restart policies: what is started again, and after which delay."""

import asyncio
import itertools
from pathlib import Path

import pytest

from darse.containers.lifecycle.restart import RestartManager, restarts_after_end, restarts_with_engine
from darse.containers.model import Container, Record, RunState, Status
from darse.testing.clock import in_fake_time
from darse.testing.room import container_room
from darse.wire.containers import ContainerConfig
from darse.wire.host_config import HostConfig, RestartPolicy


def container(policy: str, *, most: int = 0, **state: object) -> Container:
    host = HostConfig(RestartPolicy=RestartPolicy(policy, most))
    record = Record(
        id="c" * 64,
        name="one",
        created_ns=1,
        image_id="",
        image_reference="",
        config=ContainerConfig(),
        host=host,
        endpoints={},
        mounts=[],
    )
    return Container(record, RunState(Status.EXITED, **state))


@pytest.mark.parametrize(
    ("policy", "most", "code", "count", "again"),
    [
        ("no", 0, 1, 0, False),
        ("always", 0, 0, 10_000, True),
        ("unless-stopped", 0, 0, 10_000, True),
        ("on-failure", 0, 0, 0, False),
        ("on-failure", 0, 1, 10_000, True),
        ("on-failure", 3, 1, 2, True),
        ("on-failure", 3, 1, 3, False),
    ],
)
def test_what_follows_an_end(policy, most, code, count, again):
    assert restarts_after_end(RestartPolicy(policy, most), code, count) is again


@pytest.mark.parametrize(
    ("policy", "stopped", "code", "again"),
    [
        ("no", False, 1, False),
        ("always", False, 0, True),
        ("always", True, 0, True),
        ("unless-stopped", False, 0, True),
        ("unless-stopped", True, 0, False),
        ("on-failure", False, 1, True),
        ("on-failure", False, 0, False),
        ("on-failure", True, 137, False),
    ],
)
def test_what_starts_with_the_engine(policy, stopped, code, again):
    assert restarts_with_engine(container(policy, manually_stopped=stopped, exit_code=code)) is again


def test_what_was_never_started_does_not_start_with_the_engine():
    one = container("always")
    one.state.status = Status.CREATED
    assert not restarts_with_engine(one)


def test_the_delay_doubles_up_to_a_minute_and_begins_again_after_a_long_run():
    async def main() -> None:
        restarts = RestartManager(lambda _: asyncio.sleep(0))
        one = container("always")
        delays = []
        for _ in range(12):
            restarts.schedule(one, lasted=0.5)
            delays.append(one.restart_delay)
        assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
        assert delays[-1] == 60.0
        restarts.schedule(one, lasted=10.0)
        assert one.restart_delay == 0.1

    asyncio.run(main())


def test_starts_wait_until_they_are_possible_and_a_cancelled_one_does_not_come():
    async def main() -> None:
        begun = asyncio.Event()

        async def start(_: Container) -> None:
            begun.set()

        restarts = RestartManager(start)
        one = container("always")
        restarts.start_soon(one)
        await asyncio.sleep(0)
        assert not begun.is_set()
        restarts.open()
        await asyncio.wait_for(begun.wait(), 5)
        begun.clear()
        restarts.start_soon(one)
        restarts.cancel(one)
        restarts.start_soon(one)
        await restarts.close()
        await asyncio.sleep(0)
        assert not begun.is_set()

    asyncio.run(main())


def test_nobody_who_was_stopped_is_wanted():
    assert not RestartManager(lambda _: asyncio.sleep(0)).is_due(container("always", manually_stopped=True), 1)


@pytest.mark.parametrize("step", [-86_400, 86_400])
@in_fake_time
async def test_the_next_start_does_not_go_by_the_wall_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """A clock that is set while a container waits neither starts it at once, nor in a day, nor twice."""
    now = 1_700_000_000 * 10**9
    monkeypatch.setattr("time.time_ns", lambda: now)
    async with container_room(tmp_path) as room:
        starts: list[float] = []
        web = room.add(host=HostConfig(RestartPolicy=RestartPolicy("always")))
        room.host.on_start = lambda _: starts.append(asyncio.get_running_loop().time())
        await room.service.start("web")
        for _ in range(6):
            room.host.containers[web.id].exit(1)
            while web.state.status is not Status.RESTARTING:
                await asyncio.sleep(0.001)
            now += step * 10**9
            while web.state.status is not Status.RUNNING:
                await asyncio.sleep(0.001)
        waits = [round(later - earlier, 1) for earlier, later in itertools.pairwise(starts)]
        assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]


@pytest.mark.parametrize("step", [-86_400, 86_400])
async def test_how_long_a_run_lasted_does_not_go_by_the_wall_clock(step: int, monkeypatch: pytest.MonkeyPatch):
    one = container("always", started_ns=10**18, finished_ns=10**18 + step * 10**9)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 112.0)
    one.begun = 100.0
    assert one.lasted() == 12.0


def test_the_run_of_an_engine_before_goes_by_what_is_on_record():
    assert container("always", started_ns=10**18, finished_ns=10**18 + 5 * 10**9).lasted() == 5.0


def test_a_start_that_lies_in_the_future_is_just_now(monkeypatch: pytest.MonkeyPatch):
    now = 10**18
    monkeypatch.setattr("darse.containers.model.time.time_ns", lambda: now)
    state = RunState(Status.RUNNING, started_ns=now + 10**12, finished_ns=now + 10**12)
    assert state.describe() == "Up Less than a second"
    state.status = Status.EXITED
    assert state.describe() == "Exited (0) Less than a second ago"
