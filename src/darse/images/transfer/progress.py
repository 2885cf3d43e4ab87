"""The stages of layers under way, and a reporter of their changes, several times a second.

Layers note their stages as they reach them; the number of the one that moves is read when it is reported. So what a
listener gets is true when it gets it, and a number that moves a thousand times a second is reported ten times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from darse.images.progress import LayerProgress, LayerStage, Report

# How often a number that moves is reported, in seconds.
_TICK = 0.1


class ProgressStep(msgspec.Struct, frozen=True):
    """A stage that a layer has reached; where bytes are counted, how to read their number, and how many they are."""

    stage: LayerStage
    current: Callable[[], int] | None = None
    total: int = 0
    retry_in: int = 0
    mounted_from: str = ""


class ProgressSource(Protocol):
    """A layer under way."""

    @property
    def digest(self) -> str:
        """What events call the layer."""

    def steps(self) -> list[ProgressStep]:
        """The stages so far; the list only grows."""


class ProgressReporter:
    """Reports to one listener the changes of some layers."""

    def __init__(self, layers: Iterable[ProgressSource], report: Report) -> None:
        self._layers = list(layers)
        self._report = report
        # Of each layer: how many steps were reported, and the last number.
        self._reported: list[tuple[int, int]] = [(0, 0) for _ in self._layers]

    def report_changes(self) -> None:
        """Report every step since the last call, and the numbers that have moved."""
        for position, layer in enumerate(self._layers):
            steps = layer.steps()
            count, number = self._reported[position]
            # The last one that was reported may have moved.
            for step in steps[count:] or steps[-1:]:
                current = step.current() if step.current is not None else 0
                if count < len(steps) or current != number:
                    self._report(
                        LayerProgress(layer.digest, step.stage, current, step.total, step.retry_in, step.mounted_from)
                    )
                number = current
            self._reported[position] = (len(steps), number)

    async def wait(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Report until all tasks are done. Raises what the first one to fail raised."""
        pending = set(tasks)
        self.report_changes()
        while pending:
            done, pending = await asyncio.wait(pending, timeout=_TICK, return_when=asyncio.FIRST_EXCEPTION)
            self.report_changes()
            for task in done:
                task.result()
