"""Tasks that nobody waits for."""

from __future__ import annotations

import asyncio

import pytest

from darse.core.tasks import begin_lasting


async def _fails() -> None:
    raise ValueError("no such thing")


async def test_an_error_that_ends_what_lasts_is_in_the_log_at_once(caplog: pytest.LogCaptureFixture) -> None:
    task = begin_lasting(_fails(), "repairs")
    await asyncio.wait([task])
    assert [record.getMessage() for record in caplog.records] == ["repairs: ended by an error"]
    assert caplog.records[0].exc_info is not None
    assert str(caplog.records[0].exc_info[1]) == "no such thing"


async def test_what_is_cancelled_is_not(caplog: pytest.LogCaptureFixture) -> None:
    task = begin_lasting(asyncio.sleep(100), "repairs")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not caplog.records
