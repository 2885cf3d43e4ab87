"""Work that blocks: bounded for each kind, and what is stuck keeps nothing else waiting."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
import time
from collections.abc import Iterator

import pytest

from darse.core import executors
from darse.core.errors import SystemFault
from darse.core.executors import Executor, ForeignFileSystems


class _Gate:
    """Calls that block until they are let go; counts how many are in."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._lock = threading.Lock()
        self.inside = 0
        self.most = 0

    def pass_through(self) -> str:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self._open.wait(20)
        with self._lock:
            self.inside -= 1
        return "passed"

    def open(self) -> None:
        self._open.set()

    async def have_inside(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.inside < count:
                await asyncio.sleep(0.001)


def test_a_call_returns_raises_and_has_its_callers_context() -> None:
    word = contextvars.ContextVar("word", default="")
    executor = Executor("test", 2)

    def fail() -> None:
        raise KeyError("mine")

    async def main() -> None:
        word.set("here")
        assert await executor.run(word.get) == "here"
        assert await executor.run(int, "12", base=3) == 5
        with pytest.raises(KeyError, match="mine"):
            await executor.run(fail)

    asyncio.run(main())


def test_so_many_calls_run_at_a_time_and_the_others_wait() -> None:
    executor, gate = Executor("test", 3), _Gate()

    async def main() -> None:
        calls = [asyncio.create_task(executor.run(gate.pass_through)) for _ in range(10)]
        await gate.have_inside(3)
        gate.open()
        assert await asyncio.gather(*calls) == ["passed"] * 10

    asyncio.run(main())
    assert gate.most == 3
    assert executor.wait(10)


def test_stuck_calls_do_not_count() -> None:
    executor, stuck = Executor("test", 2, stuck_after=0.05), _Gate()

    async def main() -> None:
        calls = [asyncio.create_task(executor.run(stuck.pass_through)) for _ in range(12)]
        assert await executor.run(str, 7) == "7"
        assert not executor.wait(0)
        stuck.open()
        assert await asyncio.gather(*calls) == ["passed"] * 12
        # The threads that stood in for those that were stuck have gone: two run at a time again.
        again, executor._patience = _Gate(), 60
        calls = [asyncio.create_task(executor.run(again.pass_through)) for _ in range(6)]
        await again.have_inside(2)
        again.open()
        await asyncio.gather(*calls)
        assert again.most == 2

    asyncio.run(main())
    assert executor.wait(10)


def test_a_cancelled_call_goes_on_alone_and_one_that_has_not_begun_does_not_begin() -> None:
    executor, gate = Executor("test", 1), _Gate()
    begun: list[int] = []

    async def main() -> None:
        first = asyncio.create_task(executor.run(gate.pass_through))
        await gate.have_inside(1)
        second = asyncio.create_task(executor.run(begun.append, 1))
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert gate.inside == 1
        gate.open()
        assert await executor.run(str, 7) == "7"

    asyncio.run(main())
    assert (gate.inside, begun) == (0, [])


async def test_whoever_is_cancelled_waits_for_the_end_also_when_that_happens_again() -> None:
    executor, gate = Executor("test", 1), _Gate()
    caller = asyncio.create_task(executor.run_to_end(gate.pass_through))
    await gate.have_inside(1)
    for _ in range(2):
        caller.cancel()
        await asyncio.wait((caller,), timeout=0.01)
        assert not caller.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert gate.inside == 0


async def test_what_outlasts_its_caller_is_stopped_and_its_outcome_may_be_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    executor, stop = Executor("test", 1), threading.Event()

    def work() -> None:
        assert stop.wait(20)
        raise KeyError("stopped")

    work_done = executor.begin(work, stop.set)
    callers = [asyncio.create_task(_result_of(work_done)) for _ in range(2)]
    await asyncio.sleep(0)
    callers[0].cancel()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(one) for one in outcomes] == [asyncio.CancelledError, KeyError]
    alone = asyncio.create_task(_result_of(executor.begin(work, stop.set)))
    await asyncio.sleep(0)
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    del alone
    gc.collect()
    assert caplog.records == []


async def _result_of(work: asyncio.Future[None]) -> None:
    await work


def test_each_thread_is_prepared_once() -> None:
    prepared: list[int] = []

    @contextlib.contextmanager
    def surroundings() -> Iterator[None]:
        prepared.append(threading.get_ident())
        yield

    executor = Executor("test", 1, surroundings=surroundings)

    async def main() -> set[int]:
        return {await executor.run(threading.get_ident) for _ in range(5)}

    assert asyncio.run(main()) == set(prepared)
    assert len(prepared) == 1


def test_a_file_system_that_does_not_answer_keeps_nobody_else_waiting() -> None:
    foreign, silent = ForeignFileSystems(2), _Gate()

    async def ask(where: str) -> str:
        try:
            return await foreign.run(where, silent.pass_through, seconds=0.3)
        except SystemFault as error:
            return str(error)

    async def main() -> None:
        begin = time.monotonic()
        dead = [asyncio.create_task(ask(f"/mnt/{number}")) for number in range(6)]
        await silent.have_inside(2)
        assert await foreign.run("/other", str, 7) == "7"
        assert await asyncio.gather(*dead) == [f"/mnt/{number}: its file system does not answer" for number in range(6)]
        assert time.monotonic() - begin < 10
        # No second thread is lost to the same place.
        before = silent.most
        assert await ask("/mnt/0") == "/mnt/0: its file system does not answer"
        assert silent.most == before
        silent.open()
        assert await ask("/mnt/0") == "passed"

    asyncio.run(main())


def test_a_file_system_that_answers_late_and_with_an_error_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    foreign, gate = ForeignFileSystems(2), _Gate()

    def fail() -> None:
        gate.pass_through()
        raise OSError(5, "Input/output error")

    async def main() -> None:
        with pytest.raises(SystemFault, match="/mnt: its file system does not answer"):
            await foreign.run("/mnt", fail, seconds=0.05)
        gate.open()
        with pytest.raises(OSError, match="Input/output error"):
            await foreign.run("/mnt", fail)

    asyncio.run(main())
    assert caplog.records == []


def test_the_end_of_all_work_is_awaited_but_not_for_ever() -> None:
    gate = _Gate()

    async def main() -> None:
        call = asyncio.create_task(executors.storage.run(gate.pass_through))
        await gate.have_inside(1)
        assert not await executors.drain(0.05)
        gate.open()
        assert await executors.drain(10)
        await call

    asyncio.run(main())


def test_the_engine_can_end_though_what_must_come_to_its_end_does_not() -> None:
    """As when the disk has gone: nobody could end `asyncio.run` any more."""
    gate = _Gate()

    async def main() -> None:
        waiting = asyncio.create_task(executors.storage.run_to_end(gate.pass_through))
        await gate.have_inside(1)
        waiting.cancel()
        assert not await executors.drain(0.05)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    gate.open()
    assert executors.storage.wait(10)


def test_a_thread_may_call_and_wait_also_when_others_are_stuck() -> None:
    executor, gate = Executor("test", 1, stuck_after=0.05), _Gate()
    stuck = threading.Thread(target=executor.call, args=(gate.pass_through,))
    stuck.start()
    assert executor.call(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        executor.call(lambda: 1 // 0)
    gate.open()
    stuck.join(10)
    assert executor.wait(10)
