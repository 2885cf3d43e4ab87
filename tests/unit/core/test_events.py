"""Events: what is written at once, and what is gathered."""

import asyncio
import sqlite3
import time
from contextlib import closing

import pytest

from darse.core import events
from darse.core.events import EventLog
from darse.core.state import State


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "state.sqlite", (events.SCHEMA,))
    yield state
    state.close()


def _written(tmp_path):
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as connection:
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


async def _next_actions(follower, count):
    return [(await asyncio.wait_for(anext(follower), 5)).Action for _ in range(count)]


@pytest.mark.parametrize("step", [-3600, 3600])
async def test_followers_hear_everything_when_the_clock_is_set(state, monkeypatch, step):
    log = EventLog(state)
    clock = time.time_ns
    with state.transaction():
        log.publish("container", "create", "c")
    follower = log.follow(0)
    assert await _next_actions(follower, 1) == ["create"]
    monkeypatch.setattr(time, "time_ns", lambda: clock() + step * 1_000_000_000)
    with state.transaction():
        log.publish("container", "start", "c")
    assert await _next_actions(follower, 1) == ["start"]
    # Who comes now gets them in the order in which they happened.
    late = log.follow(0)
    assert await _next_actions(late, 2) == ["create", "start"]
    await follower.aclose()
    await late.aclose()
    monkeypatch.undo()
    assert [event.Action for event in log.between(0, (1 << 63) - 1)] == ["create", "start"]


async def test_what_is_gathered_keeps_its_place(state):
    log = EventLog(state)
    log.publish("container", "exec_start", "c")
    with state.transaction():
        log.publish("container", "die", "c")
    assert _actions(log) == ["exec_start", "die"]
    again = EventLog(state)
    again.publish("container", "start", "c")
    assert _actions(again) == ["exec_start", "die", "start"]


async def test_a_subscriber_that_does_not_read_is_bounded_in_bytes_and_ends(state, caplog):
    log = EventLog(state)
    slow, reading = log.follow(None), log.follow(None)
    first = asyncio.create_task(anext(slow))
    other = asyncio.create_task(anext(reading))
    await asyncio.sleep(0)
    log.publish("container", "first", "c")
    await asyncio.gather(first, other)
    label = {"large": "x" * 20_000}
    for _ in range(events.BACKLOG_BYTES // 20_000 + 1):
        log.publish("container", "more", "c", label)
        await anext(reading)
    assert [event async for event in slow] == []
    assert log.listeners == 1
    assert caplog.text.count("do not read") == 1
    await reading.aclose()
    assert log.listeners == 0


async def test_a_full_log_leaves_the_loop_to_others_while_it_is_read(state):
    log = EventLog(state)
    for number in range(events.LOG_LENGTH):
        log.publish("container", "exec_die", str(number))
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    follower = log.follow(0)
    for read in (log.logged(0, time.time_ns()), follower):
        turns = 0
        assert [int((await anext(read)).Actor.ID) for _ in range(events.LOG_LENGTH)] == list(range(events.LOG_LENGTH))
        assert turns >= 10
        await read.aclose()
    other.cancel()


async def test_an_event_of_a_newer_engine_is_passed_over_and_one_without_a_version_is_read(state):
    log = EventLog(state)
    for action in ("first", "newer", "old"):
        with state.transaction():
            log.publish("container", action, "c")
    (document,) = state.row("SELECT document FROM events WHERE number = 3")
    assert document.startswith(b'{"document_version":1,')
    old = document.replace(b'"document_version":1,', b"")
    with state.transaction() as connection:
        connection.execute("UPDATE events SET document = ? WHERE number = 2", (b'{"document_version":2}',))
        connection.execute("UPDATE events SET document = ? WHERE number = 3", (old,))
    assert _actions(log) == ["first", "old"]
    assert state.row("SELECT document FROM events WHERE number = 2") == (b'{"document_version":2}',)
