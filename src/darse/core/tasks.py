"""Tasks that are to come to their end, whoever stops waiting for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def ended(work: asyncio.Task[_T], stop: Callable[[], None]) -> _T:
    """Wait for a task that is never cancelled; when this is, it is stopped, and its end is waited for all the same."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop()
        await until_ended(work)
        raise


async def until_ended(work: asyncio.Task[Any]) -> None:
    """Wait for the end of a task whose outcome nobody asks for any more, however often this is cancelled."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((work,))
    if not work.cancelled():
        work.exception()  # nobody else asks for it
