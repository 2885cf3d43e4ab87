"""What happened to containers and could not be written yet: the disk is full, or does not take anything.

The kernel does not wait for the database. A process that has ended has ended, so memory says so at once, those who
wait get their answer, and the rows follow when the disk takes them. Until then the proof of it stays: the exit file and
the directory of the run, from which an engine that takes over learns the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from darse.core.errors import EngineError

# Seconds until the next attempt: the first after a failure, and at most.
_FIRST_DELAY = 0.25
_LONGEST_DELAY = 5.0
_log = logging.getLogger("darse.containers")


class PendingWrites:
    """The writes that the disk has refused, by container, oldest first; they are tried again until it takes them."""

    def __init__(self) -> None:
        self._writes: dict[str, list[Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._delay = _FIRST_DELAY
        self._closed = False

    def write(self, container_id: str, write: Callable[[], None]) -> None:
        """Call `write`, which is one transaction; again and again, when the disk refuses it.

        It must be the same to call it again after it has failed.
        """
        writes = self._writes.setdefault(container_id, [])
        writes.append(write)
        if len(writes) > 1:
            return
        try:
            self.settle(container_id)
        except (EngineError, OSError) as error:
            _log.warning("container %s: a change is not on record yet: %s", container_id[:12], error)
            self._try_later()

    def waits(self, container_id: str) -> bool:
        """Whether something of the container is not on record yet."""
        return container_id in self._writes

    def settle(self, container_id: str) -> None:
        """Write what waits. Raises as `State.transaction`."""
        writes = self._writes.get(container_id, [])
        while writes:
            writes[0]()
            del writes[0]
        self._writes.pop(container_id, None)

    def drop_writes(self, container_id: str) -> None:
        """The container is removed."""
        self._writes.pop(container_id, None)

    def close(self) -> None:
        """Try a last time. What is refused, the next engine finds in what the run has left."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._try_all()

    def _try_later(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._try_again)
            self._delay = min(self._delay * 2, _LONGEST_DELAY)

    def _try_again(self) -> None:
        self._timer = None
        self._try_all()
        if self._writes:
            self._try_later()
        else:
            self._delay = _FIRST_DELAY

    def _try_all(self) -> None:
        for container_id in list(self._writes):
            try:
                self.settle(container_id)
            except (EngineError, OSError) as error:
                _log.debug("container %s: still not on record: %s", container_id[:12], error)
            else:
                _log.info("container %s: all is on record now", container_id[:12])
