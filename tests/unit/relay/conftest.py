"""A loop in a thread of its own, as the relay's process has one."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from darse.linux.loop import Loop

T = TypeVar("T")


class _WatchedEpoll:
    """An epoll that notes when there is nothing to be done: no descriptor is ready, and no timer is about to be due."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self.rests = threading.Event()

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        if ready := self._epoll.poll(0, most):
            return ready
        if not 0 <= timeout < 0.05:
            self.rests.set()
        return self._epoll.poll(timeout, most)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)


class Running:
    """A loop that runs; what belongs to it is made and asked for in its thread."""

    def __init__(self) -> None:
        self.loop = Loop()
        self._watched = self.loop._epoll = _WatchedEpoll(self.loop._epoll)  # type: ignore[assignment]
        self._work: list[Callable[[], object]] = []
        self._reading, self._writing = os.pipe()
        self.loop.add(self._reading, self._do)
        self._thread = threading.Thread(target=self.loop.run, daemon=True)
        self._thread.start()

    def _do(self, _: int) -> None:
        os.read(self._reading, 1)
        self._work.pop(0)()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the loop's thread."""
        done = threading.Event()
        results: list[T] = []

        def work() -> None:
            try:
                results.append(function())
            finally:
                done.set()

        self._work.append(work)
        os.write(self._writing, b"x")
        assert done.wait(20)
        return results[0]

    def comes_to_rest(self) -> bool:
        """Whether the loop has nothing to do some time: one that is kept busy never has."""
        self.call(self._watched.rests.clear)
        return self._watched.rests.wait(5)

    def close(self) -> None:
        self.call(self.loop.stop)
        self._thread.join(20)
        self.loop.close()
        for descriptor in (self._reading, self._writing):
            os.close(descriptor)


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.close()
