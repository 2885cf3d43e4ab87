"""Work in threads that whoever waits for it outlives."""

from __future__ import annotations

import asyncio
import threading

import pytest

from darse.images.threads import run_to_end


async def test_whoever_is_cancelled_waits_for_the_end_also_when_that_happens_again() -> None:
    begun, may_end, complete = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert may_end.wait(20)
        complete.set()

    caller = asyncio.create_task(run_to_end(work))
    await asyncio.to_thread(begun.wait)
    for _ in range(2):
        caller.cancel()
        await asyncio.wait((caller,), timeout=0.01)
        assert not caller.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert complete.is_set()
