"""What the containers of a project print, line by line, in the order of time.

What is there already is put in order by the engine's timestamps. What comes is shown as it comes: a container that is
started, or made, meanwhile is followed from its start.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from darse.client.errors import ApiError
from darse.client.messages import EngineEvent
from darse.client.requests import containers as container_requests
from darse.client.requests import system as system_requests
from darse.client.streams import STDERR, STDOUT
from darse.compose.desired import labels
from darse.compose.operations.session import ProjectSession, together
from darse.compose.plan.actual import ActualContainer

_BILLION = 1_000_000_000
_ENDS = frozenset({"die", "destroy"})


@dataclass(frozen=True)
class LogLine:
    """A line, without its end, that a container printed; `stream` is 1 or 2, `stamp` the engine's time of it."""

    container: str
    service: str
    stream: int
    stamp: str
    text: bytes


@dataclass(frozen=True)
class LogSelection:
    """Which lines: `tail` of each container, from `since` to `until` (seconds, or what the engine reads as a time)."""

    tail: str = "all"
    since: str = ""
    until: str = ""


class _Lines:
    """Puts the pieces of two streams together to lines, each with its time."""

    def __init__(self, container: str, service: str) -> None:
        self._container = container
        self._service = service
        self._rest = {STDOUT: bytearray(), STDERR: bytearray()}

    def feed(self, stream: int, data: bytes) -> list[LogLine]:
        rest = self._rest[stream]
        rest += data
        *whole, last = bytes(rest).split(b"\n")
        self._rest[stream] = bytearray(last)
        return [self._line(stream, one) for one in whole]

    def end(self) -> list[LogLine]:
        return [self._line(stream, bytes(rest)) for stream, rest in self._rest.items() if rest]

    def _line(self, stream: int, line: bytes) -> LogLine:
        stamp, _, text = line.partition(b" ")
        return LogLine(self._container, self._service, stream, stamp.decode(errors="replace"), text.rstrip(b"\r"))


async def history(
    session: ProjectSession, containers: Iterable[ActualContainer], options: LogSelection
) -> list[LogLine]:
    """What containers have printed, in the order of time."""
    found = await together(_history(session, one, options) for one in containers)
    return list(heapq.merge(*found, key=lambda line: line.stamp))


async def _history(session: ProjectSession, container: ActualContainer, options: LogSelection) -> list[LogLine]:
    request = container_requests.logs(
        container.id, timestamps=True, tail=options.tail, since=options.since, until=options.until
    )
    lines = _Lines(container.name, container.service)
    found: list[LogLine] = []
    async for stream, data in session.client.output(request):
        found += lines.feed(stream, data)
    # Two streams of one container are written by different threads: each is in order, both together nearly.
    return sorted([*found, *lines.end()], key=lambda line: line.stamp)


class ProjectLogFollower:
    """Follows the containers of a project, also those that come later."""

    def __init__(
        self,
        session: ProjectSession,
        show: Callable[[LogLine], None],
        *,
        services: frozenset[str] = frozenset(),
        on_exit: Callable[[str, str, int], None] | None = None,
    ) -> None:
        """`show` gets each line; `services` are those that are followed, all when it is empty.

        `on_exit` gets the name, the service and the status of a container that has ended.
        """
        self._session = session
        self._show = show
        self._services = services
        self._on_exit = on_exit
        self._running: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def follow(self, containers: Sequence[ActualContainer], since: str = "") -> None:
        """Follow to the end of the last container; `since` is where what was shown before ends."""
        filters = {"type": ["container"], "label": [f"{labels.PROJECT}={self._session.name}"]}
        async with self._session.client.subscribe(system_requests.events(filters=filters)) as events:
            for one in containers:
                self._begin(one.id, one.name, one.service, since)
            # There is no event for what ended before the subscription.
            there = {one.id for one in await self._session.containers() if one.is_running or one.state == "paused"}
            try:
                for one in containers:
                    if one.id in self._running - there:
                        await self._ended(one.id, one.name, one.service, await self._status(one.id))
                if self._running:
                    async for event in events:
                        if await self._event(event) and not self._running:
                            break
            finally:
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def stop(self) -> None:
        """Follow nothing any more."""
        for task in self._tasks.values():
            task.cancel()

    def _begin(self, identifier: str, name: str, service: str, since: str) -> None:
        if self._services and service not in self._services:
            return
        self._running.add(identifier)
        self._tasks[identifier] = asyncio.create_task(
            self._follow(self._tasks.get(identifier), identifier, name, service, since)
        )

    async def _event(self, event: EngineEvent) -> bool:
        """Take note of an event; whether a container has ended."""
        facts = event.Actor.Attributes
        name, service = facts.get("name", ""), facts.get(labels.SERVICE, "")
        if facts.get(labels.ONE_OFF) == "True":
            return False
        if event.Action == "start":
            # Its first line may be as old as the event.
            self._begin(event.Actor.ID, name, service, f"{event.timeNano // _BILLION}.{event.timeNano % _BILLION:09d}")
        elif event.Action in _ENDS and event.Actor.ID in self._running:
            await self._ended(event.Actor.ID, name, service, int(facts.get("exitCode", 0)))
            return True
        return False

    async def _ended(self, identifier: str, name: str, service: str, status: int) -> None:
        """A container has ended: it is reported after all of its output."""
        self._running.discard(identifier)
        await asyncio.gather(self._tasks[identifier], return_exceptions=True)
        if self._on_exit is not None:
            self._on_exit(name, service, status)

    async def _status(self, identifier: str) -> int:
        return (await self._session.client.do(container_requests.inspect(identifier))).State.ExitCode

    async def _follow(
        self, before: asyncio.Task[None] | None, identifier: str, name: str, service: str, since: str
    ) -> None:
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        lines = _Lines(name, service)
        request = container_requests.logs(identifier, follow=True, timestamps=True, since=since)
        try:
            async for stream, data in self._session.client.output(request):
                for line in lines.feed(stream, data):
                    self._show(line)
        except ApiError as error:
            self._session.warn(f"{name}: {error.reason}")
        for line in lines.end():
            self._show(line)
