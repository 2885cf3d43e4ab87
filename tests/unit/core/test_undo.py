"""Steps that are undone when a later one fails."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest

from darse.core.undo import Undo


async def fail(*steps: Callable[[], Awaitable[None] | None]) -> None:
    """Fail after these undo functions were added."""
    async with Undo("start of web") as undo:
        for step in steps:
            undo.add(step)
        raise ValueError("no")


async def test_steps_are_undone_newest_first_when_the_block_fails() -> None:
    done: list[str] = []

    async def later() -> None:
        done.append("second")

    with pytest.raises(ValueError, match="no"):
        await fail(lambda: done.append("first"), later)
    assert done == ["second", "first"]


async def test_nothing_is_undone_after_success() -> None:
    done: list[str] = []
    async with Undo("start of web") as undo:
        undo.add(done.append, "first")
    assert not done


async def test_an_undo_that_fails_is_logged_and_hides_neither_the_error_nor_the_other_undos(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[str] = []

    def fails() -> None:
        raise OSError("busy")

    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="no"):
        await fail(lambda: done.append("first"), fails)
    assert done == ["first"]
    assert [record.message for record in caplog.records] == ["start of web failed, and a step of it is not undone"]
