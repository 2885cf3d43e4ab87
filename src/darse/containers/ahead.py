"""The conmons of execs, started when an exec is created and not when it is run.

A conmon needs two milliseconds until it listens; a client needs nearly as long to ask for the start of what it has
created. A conmon that waits costs a megabyte, so few of them wait, and not for long: an exec whose monitor was given up
has its conmon started when it is run.

One that waits when the engine is killed sees its pipe end, goes on, finds no process to run, and ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from darse.runtime.conmon import Launching

_MOST = 8
_SECONDS = 5.0


class MonitorsAhead:
    """The conmons that wait, by the id of their exec."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Task[Launching]] = {}
        self._ends: set[asyncio.Task[None]] = set()

    def begin(self, exec_id: str, begin: Callable[[], Launching]) -> None:
        """Start a monitor by calling `begin` in a thread, unless too many wait already."""
        if len(self._waiting) >= _MOST:
            return
        self._waiting[exec_id] = asyncio.create_task(asyncio.to_thread(begin))
        asyncio.get_running_loop().call_later(_SECONDS, self.give_up, exec_id)

    async def take(self, exec_id: str) -> Launching | None:
        """The monitor of an exec that is to run now; None when there is none. Raises OSError when it did not start."""
        task = self._waiting.pop(exec_id, None)
        return None if task is None else await task

    def give_up(self, exec_id: str) -> None:
        """End a monitor that nobody wants any more."""
        task = self._waiting.pop(exec_id, None)
        if task is not None:
            end = asyncio.create_task(_end(task))
            self._ends.add(end)
            end.add_done_callback(self._ends.discard)

    async def close(self) -> None:
        """End all that wait."""
        for exec_id in list(self._waiting):
            self.give_up(exec_id)
        await asyncio.gather(*self._ends)


async def _end(starting: asyncio.Task[Launching]) -> None:
    await asyncio.wait((starting,))
    if starting.exception() is None:
        await asyncio.to_thread(starting.result().abandon)
