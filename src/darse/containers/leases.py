"""Who is at work on the files of a container: copies, exports and commits.

They hold the container's overlay mounted, and an overlay must not be mounted twice at once. They do not hold the
container's lock: a copy may take as long as its client likes. So a start waits until they are done, and a removal
ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager


class RootfsLeases:
    """The uses under way, by container."""

    def __init__(self) -> None:
        self._uses: dict[str, dict[object, Callable[[], Awaitable[None]]]] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    @contextmanager
    def use(self, container_id: str, end: Callable[[], Awaitable[None]]) -> Iterator[None]:
        """Be at work for the duration of the block; `end` ends the work when the container is to be removed.

        Enter it while holding the container's lock.
        """
        token = object()
        self._uses.setdefault(container_id, {})[token] = end
        try:
            yield
        finally:
            self._done(container_id, token)

    def _done(self, container_id: str, token: object) -> None:
        uses = self._uses.get(container_id, {})
        uses.pop(token, None)
        if not uses:
            self._uses.pop(container_id, None)
            for waiting in self._waiting.pop(container_id, ()):
                if not waiting.done():
                    waiting.set_result(None)

    async def wait_idle(self, container_id: str) -> None:
        """Return when nobody is at work any more. The container's lock, held, keeps others from beginning."""
        while container_id in self._uses:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(container_id, []).append(waiting)
            await waiting

    async def end_leases(self, container_id: str) -> None:
        """End what is under way. The clients need not have noticed: one that does not read keeps nothing."""
        for token, end in list(self._uses.get(container_id, {}).items()):
            await end()
            self._done(container_id, token)
