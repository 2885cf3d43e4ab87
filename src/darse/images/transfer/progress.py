"""What pulls and pushes say of layers: docker's progress messages (moby's pkg/jsonmessage), several times a second.

A step is said once; the one that moves is said again when its number has changed. So a slow client gets what is true
when it reads, and nothing piles up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Protocol

from darse.wire.images import Progress

_BAR = 50
_SHORT = 12
# How often what moves is said, in seconds.
_TICK = 0.1


class ProgressStep:
    """A stage of a layer: docker's word, and where it moves, bytes done and in all."""

    def __init__(self, status: str, current: Callable[[], int] | None = None, total: int = 0) -> None:
        self.status = status
        self.current = current
        self.total = total


class ProgressSource(Protocol):
    """Something with a line of its own on the client's terminal."""

    @property
    def short(self) -> str:
        """What the line begins with."""

    def steps(self) -> Iterable[ProgressStep]:
        """What has been so far; it only grows."""


class ProgressReporter:
    """Tells one client what is new of some layers."""

    def __init__(self, layers: Iterable[ProgressSource]) -> None:
        self._layers = list(layers)
        self._said: list[tuple[int, int]] = [(0, -1) for _ in self._layers]

    def news(self) -> Iterator[Progress]:
        """Every step since the last call, and the number that has moved."""
        for position, layer in enumerate(self._layers):
            steps = list(layer.steps())
            count, number = self._said[position]
            if count and count == len(steps) and (moving := steps[-1].current) is not None:
                now = moving()
                if now != number:
                    self._said[position] = (count, now)
                    yield message(layer.short, steps[-1].status, now, steps[-1].total)
                continue
            for step in steps[count:]:
                number = step.current() if step.current is not None else -1
                yield message(layer.short, step.status, max(number, 0), step.total if step.current else 0)
            self._said[position] = (len(steps), number)


async def until_done(watch: ProgressReporter, tasks: Iterable[asyncio.Task[Any]]) -> AsyncIterator[Progress]:
    """Tell what is new until all tasks are done. Raises what the first one to fail raised."""
    pending = set(tasks)
    for news in watch.news():
        yield news
    while pending:
        done, pending = await asyncio.wait(pending, timeout=_TICK, return_when=asyncio.FIRST_EXCEPTION)
        for news in watch.news():
            yield news
        for task in done:
            task.result()


def message(identifier: str, status: str, current: int = 0, total: int = 0) -> Progress:
    """A message of the progress stream."""
    if current <= 0 and total <= 0:
        return {"status": status, "progressDetail": {}, "id": identifier}
    detail = {key: value for key, value in (("current", current), ("total", total)) if value > 0}
    return {"status": status, "progressDetail": detail, "progress": bar(current, total), "id": identifier}


def short(digest: str) -> str:
    """How docker shortens a digest: twelve digits."""
    return digest.partition(":")[2][:_SHORT]


def bar(current: int, total: int) -> str:
    """A bar and numbers, as they are shown by clients that do not draw it themselves."""
    if total <= 0 or current > total:
        return f"{human_size(current):>8}"
    done = min(current * 100 // total // 2, _BAR)
    return f"[{'=' * done}>{' ' * (_BAR - done)}] {human_size(current):>8}/{human_size(total)}"


def human_size(number: float) -> str:
    """Bytes in decimal units with four digits, as docker prints them: `1.234MB`."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = 0
    while number >= 1000 and power < len(units) - 1:
        number /= 1000
        power += 1
    return f"{number:.4g}{units[power]}"
