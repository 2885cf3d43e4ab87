"""Time that passes at once."""

from __future__ import annotations

import asyncio
import time

import pytest

from darse.testing.clock import in_fake_time, run


@in_fake_time
async def test_an_hour_passes_at_once() -> None:
    began, loop = time.monotonic(), asyncio.get_running_loop()
    await asyncio.sleep(3600)
    assert loop.time() >= 3600
    assert time.monotonic() - began < 5


@in_fake_time
async def test_no_time_passes_while_a_thread_works() -> None:
    before = asyncio.get_running_loop().time()
    async with asyncio.timeout(0.001):
        await asyncio.to_thread(time.sleep, 0.05)
    assert asyncio.get_running_loop().time() - before < 0.001


@in_fake_time
async def test_timers_come_in_their_order() -> None:
    order: list[int] = []

    async def later(seconds: int) -> None:
        await asyncio.sleep(seconds)
        order.append(seconds)

    await asyncio.gather(later(30), later(10), later(20))
    assert order == [10, 20, 30]


def test_a_wait_for_nothing_is_an_error_and_no_hang() -> None:
    with pytest.raises(RuntimeError, match="nothing can happen any more"):
        run(asyncio.Event().wait())
