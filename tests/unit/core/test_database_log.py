"""When commits are on the disk, and who waits for that."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from darse.core import state as state_module
from darse.core.database_log import CHECKPOINT_BYTES, DatabaseLog
from darse.core.errors import NoSpace, SystemFault
from darse.core.state import Schema, State
from darse.testing.clock import in_fake_time

SCHEMA = Schema("room", ("CREATE TABLE things (name TEXT)",))


class Disk:
    """fdatasync(2): counted, and held up or failing when a test says so."""

    def __init__(self) -> None:
        self.flushes = 0
        self.error = 0
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.is_slow = False

    def fdatasync(self, descriptor: int) -> None:
        assert os.readlink(f"/proc/self/fd/{descriptor}").endswith("-wal")
        self.flushes += 1
        if self.is_slow:
            self.begun.release()
            assert self.may_end.acquire(timeout=20)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "fdatasync", made.fdatasync)
    return made


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State(tmp_path / "state.sqlite", [SCHEMA])
    yield opened
    opened.close()


def add(state: State, name: str = "x", *, durable: bool = True) -> None:
    with state.transaction(durable=durable) as connection:
        connection.execute("INSERT INTO things VALUES (?)", (name,))


async def test_a_commit_waits_for_no_disk_and_a_flush_does(state: State, disk: Disk) -> None:
    await state.flush()
    before = disk.flushes
    add(state)
    add(state)
    assert disk.flushes == before
    await state.flush()
    await state.flush()
    assert disk.flushes == before + 1


async def test_what_is_not_durable_is_not_waited_for(state: State, disk: Disk) -> None:
    await state.flush()
    before = disk.flushes
    add(state, durable=False)
    await state.flush()
    assert disk.flushes == before
    with state.transaction(durable=False):
        add(state)
    await state.flush()
    assert disk.flushes == before + 1


async def test_a_transaction_that_fails_needs_no_flush(state: State, disk: Disk) -> None:
    await state.flush()
    before = disk.flushes
    with pytest.raises(RuntimeError), state.transaction():
        raise RuntimeError
    await state.flush()
    assert disk.flushes == before


async def test_a_commit_during_a_flush_waits_for_the_next_and_all_share_it(state: State, disk: Disk) -> None:
    await state.flush()
    before = disk.flushes
    disk.is_slow = True
    add(state)
    first = asyncio.create_task(state.flush())
    await asyncio.to_thread(disk.begun.acquire)
    add(state)
    others = [asyncio.create_task(state.flush()) for _ in range(5)]
    disk.may_end.release()
    await first
    assert not any(other.done() for other in others)
    disk.may_end.release()
    await asyncio.gather(*others)
    assert disk.flushes == before + 2


async def test_who_comes_when_a_flush_has_just_ended(state: State, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its waiters and callbacks have not run yet."""
    late: list[asyncio.Task[None]] = []
    has_flushed = DatabaseLog._has_flushed

    def and_another(log: DatabaseLog, written: int, flushing: asyncio.Future[bool]) -> None:
        if not late:
            add(state)
            late.append(asyncio.create_task(state.flush()))
        has_flushed(log, written, flushing)

    await state.flush()
    before = disk.flushes
    monkeypatch.setattr(DatabaseLog, "_has_flushed", and_another)
    add(state)
    await state.flush()
    await late[0]
    assert disk.flushes == before + 2


async def test_whoever_is_cancelled_takes_nobody_along(state: State, disk: Disk) -> None:
    await state.flush()
    disk.is_slow = True
    add(state)
    gone, other = asyncio.create_task(state.flush()), asyncio.create_task(state.flush())
    await asyncio.to_thread(disk.begun.acquire)
    gone.cancel()
    disk.may_end.release()
    await other
    assert gone.cancelled()


@pytest.mark.parametrize(
    ("number", "fault", "said"),
    [(errno.EIO, SystemFault, "cannot flush .*-wal: "), (errno.ENOSPC, NoSpace, "no space")],
)
async def test_a_disk_that_fails_is_told_to_all_and_tried_again(
    state: State, disk: Disk, caplog: pytest.LogCaptureFixture, number: int, fault: type[Exception], said: str
) -> None:
    await state.flush()
    disk.error = number
    add(state)
    failed = await asyncio.gather(state.flush(), state.flush(), return_exceptions=True)
    assert [type(one) for one in failed] == [fault, fault]
    with pytest.raises(fault, match=said):
        await state.flush()
    assert "-wal" in caplog.text or "no space" in caplog.text
    disk.error = 0
    await state.flush()


async def test_a_long_log_is_copied_behind_the_commits(state: State) -> None:
    size = state.path.stat().st_size
    for _ in range(6):
        add(state, "x" * 1_000_000)
    assert state.path.stat().st_size == size
    await state.flush()
    await state.settled()
    assert state.path.stat().st_size > size + 5_000_000
    (log,) = state.path.parent.glob("*-wal")
    size, salt = log.stat().st_size, _salt(log)
    add(state, "x" * 1_000_000)
    assert log.stat().st_size == size
    assert _salt(log) == salt  # it has begun again before, so that this commit has no header to flush


async def test_the_log_begins_again_with_the_checkpoint(state: State) -> None:
    add(state, "x" * 1_000_000)
    await state.flush()
    (log,) = state.path.parent.glob("*-wal")
    salt = _salt(log)
    add(state, "x" * 5_000_000)
    assert _salt(log) == salt
    await state.flush()
    await state.settled()
    assert _salt(log) != salt


async def test_pages_that_are_kept_leave_no_header_to_flush(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the log is copied for them in a thread: that waits for the disk."""
    threads: list[threading.Thread] = []
    copy = DatabaseLog._copy

    def noted(log: DatabaseLog) -> None:
        threads.append(threading.current_thread())
        copy(log)

    monkeypatch.setattr(DatabaseLog, "_copy", noted)
    add(state)
    state.keep_pages(100)
    await state.settled()
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    (log,) = state.path.parent.glob("*-wal")
    salt = _salt(log)
    add(state)
    assert _salt(log) == salt


def _salt(log: Path) -> bytes:
    """It changes whenever the log begins again; see section 4.1 of https://www.sqlite.org/fileformat2.html."""
    return log.read_bytes()[16:24]


async def test_a_database_that_is_closed_at_once_holds_all(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite", [SCHEMA])
    add(state, "kept")
    state.close()
    again = State(tmp_path / "state.sqlite", [SCHEMA])
    assert again.rows("SELECT name FROM things") == [("kept",)]
    again.close()


async def test_a_log_is_copied_each_time_it_has_become_long(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file keeps its length when it begins again: that says nothing."""
    copies: list[int] = []
    copy = DatabaseLog._copy

    def counted(log: DatabaseLog) -> None:
        copies.append(1)
        copy(log)

    monkeypatch.setattr(DatabaseLog, "_copy", counted)
    for expected in (1, 2):
        for _ in range(10):
            add(state)
            await state.flush()
            await state.settled()
        assert len(copies) == expected - 1
        add(state, "x" * (CHECKPOINT_BYTES + 100_000))
        await state.flush()
        await state.settled()
        assert len(copies) == expected


@in_fake_time
async def test_what_nobody_waits_for_is_on_the_disk_soon(state: State, disk: Disk) -> None:
    await state.flush()  # the schema
    disk.flushes = 0
    add(state, durable=False)
    await state.flush()
    assert disk.flushes == 0
    state.flush_soon()
    state.flush_soon()
    await asyncio.sleep(state_module._SOON_SECONDS / 2)
    assert disk.flushes == 0
    await asyncio.sleep(state_module._SOON_SECONDS)
    await state.settled()
    assert disk.flushes == 1


@in_fake_time
async def test_a_flush_that_comes_first_is_the_one_that_was_to_come(state: State, disk: Disk) -> None:
    add(state, durable=False)
    state.flush_soon()
    await state.flush(everything=True)
    assert disk.flushes == 1
    await asyncio.sleep(60)
    assert disk.flushes == 1
    state.flush_soon()
    await state.settled()
    await asyncio.sleep(60)
    assert disk.flushes == 1, "the engine ends, and closes the database"
