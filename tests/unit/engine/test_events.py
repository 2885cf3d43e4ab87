"""Events: what is written at once, and what is gathered."""

import asyncio
import sqlite3
import time

import pytest

from darse.engine import events
from darse.engine.events import EventLog
from darse.engine.state import State


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "state.sqlite", (events.SCHEMA,))
    yield state
    state.close()


def _written(tmp_path):
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        return connection.execute("SELECT count(*) FROM events").fetchone()[0]


def _actions(log):
    return [event.Action for event in log.between(0, time.time_ns())]


async def test_an_event_of_a_change_is_written_with_it(state, tmp_path):
    log = EventLog(state)
    with state.transaction():
        log.publish("container", "create", "c")
        assert _written(tmp_path) == 0
    assert _written(tmp_path) == 1


async def test_an_event_of_a_change_that_failed_is_not_written(state, tmp_path):
    log = EventLog(state)

    def fails():
        with state.transaction():
            log.publish("container", "create", "c")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert _written(tmp_path) == 0


async def test_others_are_gathered_and_written_soon(state, tmp_path):
    written = asyncio.Event()

    class Told(EventLog):
        def flush(self):
            super().flush()
            written.set()

    log = Told(state)
    for number in range(3):
        log.publish("container", f"exec_{number}", "c")
    assert _written(tmp_path) == 0
    await asyncio.wait_for(written.wait(), 5)
    assert _written(tmp_path) == 3


async def test_whoever_reads_sees_all_in_the_order_of_their_time(state):
    log = EventLog(state)
    log.publish("container", "first", "c")
    with state.transaction():
        log.publish("container", "second", "c")
    log.publish("container", "third", "c")
    assert _actions(log) == ["first", "second", "third"]


async def test_a_flush_writes_them_and_only_once(state, tmp_path):
    log = EventLog(state)
    log.publish("container", "exec_die", "c")
    log.flush()
    log.flush()
    assert _written(tmp_path) == 1


async def test_the_log_stays_bounded(state, tmp_path):
    log = EventLog(state)
    for number in range(events.LOG_LENGTH + 600):
        log.publish("container", str(number), "c")
        if number % 100 == 0:
            log.flush()
    log.flush()
    assert _written(tmp_path) <= events.LOG_LENGTH + 256
    assert _actions(log)[-1] == str(events.LOG_LENGTH + 599)


async def test_subscribers_hear_of_a_change_after_its_commit_and_not_of_a_failed_one(state):
    log = EventLog(state)
    heard = []

    async def listen():
        async for event in log.follow(None):
            heard.append(event.Action)

    listener = asyncio.create_task(listen())
    while not log.listeners:
        await asyncio.sleep(0)

    def change(*, fails):
        with state.transaction():
            log.publish("container", "rename" if fails else "create", "c")
            if fails:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change(fails=True)
    change(fails=False)
    log.close()
    await listener
    assert heard == ["create"]


async def test_events_that_the_disk_refuses_are_told_and_written_later(state, tmp_path):
    log = EventLog(state)
    (pages,) = state.row("PRAGMA page_count")
    state.row(f"PRAGMA max_page_count={pages}")
    log.publish("container", "exec_start", "c", {"long": "x" * 20_000})
    assert _actions(log) == ["exec_start"]
    assert _written(tmp_path) == 0
    state.row("PRAGMA max_page_count=1000000")
    log.flush()
    assert _written(tmp_path) == 1
    assert _actions(log) == ["exec_start"]
