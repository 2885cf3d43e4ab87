"""What blocks the event loop is reported with its stack; a machine that is busy with other things is not."""

from __future__ import annotations

import asyncio
import errno
import logging
import multiprocessing
import os
import re
import time

import pytest

from darse.core import stalls
from darse.core.stalls import StallDetector

_LIMIT = 0.1
_OTHERS = 3


def _run(limit: float, *blocks: float) -> None:
    """Run a loop whose callbacks sleep for so many seconds, each in a turn of its own."""
    detector = StallDetector(limit)

    async def main() -> None:
        detector.start()
        for seconds in blocks:
            await asyncio.sleep(0.01)
            _block_the_loop(seconds)
        await asyncio.sleep(0.01)
        detector.stop()

    with asyncio.Runner(loop_factory=detector.make_loop) as runner:
        runner.run(main())


def _block_the_loop(seconds: float) -> None:
    time.sleep(seconds)


def test_what_blocks_the_loop_is_reported_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    # What the detector's own thread waits for a processor does not count either: on a busy machine that may be all.
    for _ in range(20):
        _run(_LIMIT, 0.01, 0.25, 0.01)
        if caplog.records:
            break
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    blocked = re.match(r"the event loop was blocked for (\d+) ms", record.getMessage())
    assert blocked is not None
    assert int(blocked[1]) >= 1000 * _LIMIT  # less what it waited for a processor
    assert "in _block_the_loop" in record.getMessage()
    assert "time.sleep(seconds)" in record.getMessage()


def test_nothing_is_reported_of_short_turns_and_of_waiting(caplog: pytest.LogCaptureFixture) -> None:
    detector = StallDetector(_LIMIT)

    async def main() -> None:
        detector.start()
        await asyncio.sleep(2 * _LIMIT)
        detector.stop()

    with asyncio.Runner(loop_factory=detector.make_loop) as runner:
        runner.run(main())
    _run(_LIMIT, *[0.02] * 10)
    assert caplog.records == []


def _compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def _compute_on(processors: set[int]) -> None:
    os.sched_setaffinity(0, processors)
    _compute(60)


def test_a_loop_that_waits_for_a_processor_is_not_blocked(caplog: pytest.LogCaptureFixture) -> None:
    processors = os.sched_getaffinity(0)
    one = {min(processors)}
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=_compute_on, args=(one,), daemon=True) for _ in range(_OTHERS)]
    for other in others:
        other.start()
    detector = StallDetector(_LIMIT)
    took = []

    async def main() -> None:
        os.sched_setaffinity(0, one)
        detector.start()
        for _ in range(5):
            await asyncio.sleep(0.01)
            begin = time.monotonic()
            _compute(0.06)
            took.append(time.monotonic() - begin)
        await asyncio.sleep(0.01)
        detector.stop()

    try:
        with asyncio.Runner(loop_factory=detector.make_loop) as runner:
            runner.run(main())
    finally:
        os.sched_setaffinity(0, processors)
        for other in others:
            other.kill()
            other.join()
    assert max(took) > _LIMIT
    assert caplog.records == []


def test_without_a_descriptor_it_goes_on(monkeypatch):
    def refuse(path):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(stalls.os, "listdir", refuse)
    assert stalls._read_delays("1") == {}
