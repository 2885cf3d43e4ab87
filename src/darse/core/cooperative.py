"""Long work of the event loop's own thread, in turns: a generator that yields where others may have theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

_T = TypeVar("_T")
#: How long work goes on before it is the turn of others.
_TURN_SECONDS = 0.01


def at_once(work: Generator[None, None, _T]) -> _T:
    """Do all of it in this turn, and return what it returns. Raises what it raises."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: _T = end.value
            return result


async def in_turns(work: Generator[None, None, _T]) -> _T:
    """Do it in as many turns as it takes, and return what it returns. Raises what it raises.

    When this is cancelled, the work gets GeneratorExit where it has yielded.
    """
    try:
        while True:
            until = time.monotonic() + _TURN_SECONDS
            while time.monotonic() < until:
                try:
                    next(work)
                except StopIteration as end:
                    result: _T = end.value
                    return result
            await asyncio.sleep(0)
    finally:
        work.close()
