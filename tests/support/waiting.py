"""Waiting for a state, with a deadline and a report: nothing in the tests sleeps for a guessed time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
#: How many times longer than elsewhere everything may take on this machine.
PATIENCE = float(os.environ.get("DARSE_TEST_PATIENCE", "1"))


def wait_until(condition: Callable[[], T], seconds: float = 10, what: str = "the condition") -> T:
    """Return what `condition` returns as soon as that is true. Raises AssertionError with what it saw last."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds} s; last seen: {seen!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def wait_while(condition: Callable[[], T], seconds: float = 10, what: str = "the condition") -> None:
    """Return as soon as `condition` returns something false (an empty list of leaks, say)."""
    seen: list[T] = []

    def over() -> bool:
        seen[:] = [condition()]
        return not seen[0]

    try:
        wait_until(over, seconds, what)
    except AssertionError:
        raise AssertionError(f"{what} did not end within {seconds} s; last seen: {seen[0]!r}") from None
