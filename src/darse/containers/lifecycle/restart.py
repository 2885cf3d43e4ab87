"""Restart policies: whether a container that ended is started again, and when.

docker's back-off: 100 ms after the first end, twice as long after each further one, a minute at most, and from the
beginning again once a run has lasted 10 s. A container that waits for its turn is `restarting`: on record, so that an
engine that takes over goes on with it.

A start that fails counts as an end: where docker gives up, we try again, because what was missing (an address, a
mount, another container's network) often comes later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from darse.containers.model import Container, Status
from darse.wire.host_config import RestartPolicy

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 60.0
_PROVEN_SECONDS = 10.0


def restarts_after_end(policy: RestartPolicy, exit_code: int, restart_count: int) -> bool:
    """Whether a container that ended by itself is started again."""
    if policy.Name == "on-failure":
        return exit_code != 0 and (policy.MaximumRetryCount == 0 or restart_count < policy.MaximumRetryCount)
    return policy.Name in ("always", "unless-stopped")


def restarts_with_engine(container: Container) -> bool:
    """Whether a container that does not run is started when the engine is: `always` even after a stop."""
    state, policy = container.state, container.record.host.RestartPolicy
    if state.status is not Status.EXITED:
        return False
    if policy.Name == "always":
        return True
    return not state.manually_stopped and restarts_after_end(policy, state.exit_code, state.restart_count)


class RestartManager:
    """The containers that wait for their next start."""

    def __init__(self, start_again: Callable[[Container], Awaitable[None]]) -> None:
        """`start_again` is called when a container's turn has come."""
        self._start_again = start_again
        self._open = False
        self._closed = False
        self._waiting: dict[str, tuple[Container, float]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._starts: set[asyncio.Task[None]] = set()

    def is_due(self, container: Container, exit_code: int) -> bool:
        """Whether a container that has just ended is to be started again."""
        if self._closed or container.state.manually_stopped:
            return False
        return restarts_after_end(container.record.host.RestartPolicy, exit_code, container.state.restart_count)

    def schedule(self, container: Container, lasted: float) -> None:
        """Start a container again after its delay; its last run took `lasted` seconds."""
        if lasted >= _PROVEN_SECONDS:
            container.restart_delay = 0.0
        container.restart_delay = min(container.restart_delay * 2 or _FIRST_DELAY, _LONGEST_DELAY)
        self._await_turn(container, container.restart_delay)

    def start_soon(self, container: Container) -> None:
        """Start a container as soon as starts are possible."""
        self._await_turn(container, 0.0)

    def _await_turn(self, container: Container, delay: float) -> None:
        self.cancel(container)
        if self._open:
            loop = asyncio.get_running_loop()
            self._timers[container.id] = loop.call_later(delay, self._turn, container)
        elif not self._closed:
            self._waiting[container.id] = (container, delay)

    def _turn(self, container: Container) -> None:
        del self._timers[container.id]
        task = asyncio.ensure_future(self._start_again(container))
        self._starts.add(task)
        task.add_done_callback(self._starts.discard)

    def cancel(self, container: Container) -> None:
        """Let a container's next start not happen, unless it is under way."""
        self._waiting.pop(container.id, None)
        timer = self._timers.pop(container.id, None)
        if timer is not None:
            timer.cancel()

    def open(self) -> None:
        """Networks and volumes are there: starts are possible."""
        self._open = True
        waiting, self._waiting = self._waiting, {}
        for container, delay in waiting.values():
            self._await_turn(container, delay)

    async def close(self) -> None:
        """Start nothing any more, and wait for what is being started. Who waits stays `restarting`."""
        self._open, self._closed = False, True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await asyncio.gather(*self._starts, return_exceptions=True)
