"""Tasks that are to come to their end, whoever stops waiting for them, and those that nobody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Outlasting(asyncio.Future[_T]):
    """A future of work that goes on whatever happens: it cannot be cancelled, and may be awaited by several tasks.

    A task that waits for it and is cancelled has CancelledError raised in it when the work has ended; `stop` is called
    at once. It does what `ended` does, without a task and a shield around the work.
    """

    def __init__(self, stop: Callable[[], object] | None = None) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._stop = stop

    def cancel(self, msg: Any = None) -> bool:
        """Stop the work; it ends on its own."""
        if not self.done():
            self.add_done_callback(_ask_for_outcome)
            if self._stop is not None:
                self._stop()
        return False

    def give_up(self, error: Exception) -> None:
        """Have whoever waits get an error; the work may go on, and its outcome is lost."""
        self.add_done_callback(_ask_for_outcome)
        self.set_exception(error)


def _ask_for_outcome(work: asyncio.Future[Any]) -> None:
    work.exception()  # nobody else may ask for it


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


def begin_lasting(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Begin what nobody waits for, as it lasts; an error that ends it is in the log at once, with its `name`.

    The task is the caller's, to keep and to cancel.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s: ended by an error", task.get_name(), exc_info=error)
