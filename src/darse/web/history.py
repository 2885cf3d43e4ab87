"""What the host and the containers use: the last minutes in detail, and a day in steps of five minutes.

A series takes 10 kB: rings of 32-bit floats, made when its container is first seen. Rates are taken between two samples
of the engine; a counter that is smaller than before belongs to a container that has been started again.
"""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from darse.client.asynchronous import AsyncClient
from darse.client.errors import ClientError
from darse.client.requests import system
from darse.wire.observation import ContainerUsage, HostUsage, UsageSample

WATCHED_SECONDS = 5.0
UNWATCHED_SECONDS = 15.0
_FINE, _COARSE, _STEP = 120, 288, 300.0
_MOST_SERIES = 2000
HOST = "host"
_log = logging.getLogger("darse.web")


class UsagePoint(NamedTuple):
    """CPU in percent of one processor, memory in bytes, and bytes each second."""

    cpu: float
    memory: float
    received: float
    sent: float
    read: float
    written: float


class _Ring:
    """The newest points, with their times in seconds."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._times = array("d")
        self._values = array("f")
        self._next = 0

    def append(self, moment: float, point: UsagePoint) -> None:
        width = len(point)
        if len(self._times) < self._capacity:
            self._times.append(moment)
            self._values.extend(point)
            return
        self._times[self._next] = moment
        self._values[self._next * width : (self._next + 1) * width] = array("f", point)
        self._next = (self._next + 1) % self._capacity

    def __iter__(self) -> Iterator[tuple[float, UsagePoint]]:
        width = len(UsagePoint._fields)
        for place in range(len(self._times)):
            index = (self._next + place) % len(self._times)
            yield self._times[index], UsagePoint(*self._values[index * width : (index + 1) * width])


class _Series:
    """One container, or the host."""

    def __init__(self) -> None:
        self._fine = _Ring(_FINE)
        self._coarse = _Ring(_COARSE)
        self._sums = [0.0] * len(UsagePoint._fields)
        self._count = 0
        self._begun = 0.0
        self.newest = 0.0

    def append(self, moment: float, point: UsagePoint) -> None:
        self.newest = moment
        self._fine.append(moment, point)
        self._begun = self._begun or moment
        self._sums = [total + value for total, value in zip(self._sums, point, strict=True)]
        self._count += 1
        if moment - self._begun >= _STEP:
            self._coarse.append(moment, UsagePoint(*(total / self._count for total in self._sums)))
            self._sums, self._count, self._begun = [0.0] * len(point), 0, moment

    def points(self) -> list[tuple[float, UsagePoint]]:
        fine = list(self._fine)
        first = fine[0][0] if fine else 0.0
        return [one for one in self._coarse if one[0] < first] + fine


class UsageHistory:
    """Samples the engine for as long as the dashboard runs."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._series: dict[str, _Series] = {}
        self._before: UsageSample | None = None
        self._viewers: set[asyncio.Queue[dict[str, UsagePoint]]] = set()
        self._has_viewer = asyncio.Event()
        self.latest: UsageSample | None = None

    async def run(self) -> None:
        """Take samples, more often while somebody looks."""
        while True:
            try:
                self.take(await self._client.do(system.usage()))
            except ClientError as error:
                _log.warning("no sample of the engine: %s", error)
            seconds = WATCHED_SECONDS if self._viewers else UNWATCHED_SECONDS
            self._has_viewer.clear()
            try:
                async with asyncio.timeout(seconds):
                    await (self._has_viewer.wait() if not self._viewers else asyncio.sleep(seconds))
            except TimeoutError:
                pass

    def take(self, usage: UsageSample) -> None:
        """Add a sample."""
        before, self._before, self.latest = self._before, usage, usage
        if before is None or usage.TakenAt <= before.TakenAt:
            return
        seconds = (usage.TakenAt - before.TakenAt) / 1e9
        points = {HOST: _point(before.Host, usage.Host, seconds)}
        earlier = {one.Id: one for one in before.Containers}
        for one in usage.Containers:
            if (last := earlier.get(one.Id)) is not None and last.CPU <= one.CPU:
                points[one.Id] = _point(last, one, seconds)
        moment = usage.TakenAt / 1e9
        for name, point in points.items():
            self._series.setdefault(name, _Series()).append(moment, point)
        while len(self._series) > _MOST_SERIES:
            del self._series[min(self._series, key=lambda name: self._series[name].newest)]
        for queue in self._viewers:
            if not queue.full():
                queue.put_nowait(points)

    def points(self, name: str) -> list[tuple[float, UsagePoint]]:
        """The history of a container (its ID) or of the host, the oldest point first: times in seconds."""
        series = self._series.get(name)
        return series.points() if series is not None else []

    def newest(self, name: str) -> UsagePoint | None:
        """The newest point of a container that runs, or of the host."""
        series = self._series.get(name)
        if series is None or self._before is None or series.newest < self._before.TakenAt / 1e9:
            return None
        return series.points()[-1][1]

    async def follow(self) -> AsyncIterator[tuple[float, dict[str, UsagePoint]]]:
        """Yield the points of each sample from now on, with its time in seconds."""
        queue: asyncio.Queue[dict[str, UsagePoint]] = asyncio.Queue(2)
        self._viewers.add(queue)
        self._has_viewer.set()
        try:
            while True:
                points = await queue.get()
                assert self._before is not None
                yield self._before.TakenAt / 1e9, points
        finally:
            self._viewers.discard(queue)


def _point(before: HostUsage | ContainerUsage, after: HostUsage | ContainerUsage, seconds: float) -> UsagePoint:
    return UsagePoint(
        (after.CPU - before.CPU) / seconds / 1e7,
        after.Memory,
        *(
            max(0, getattr(after, name) - getattr(before, name)) / seconds
            for name in ("Received", "Sent", "Read", "Written")
        ),
    )
