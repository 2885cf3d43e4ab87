"""From a build's events to a stream of messages, whatever their form."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeAlias

from darse.api.progress import Message
from darse.build.errors import BuildError
from darse.build.progress import BuildEvent, BuildReport, BuiltImage
from darse.build.solver import VertexLog
from darse.core.errors import EngineError, InvalidParameter

Build: TypeAlias = Callable[[BuildReport], Coroutine[Any, Any, BuiltImage]]
# Bytes of processes' output that may wait for a client; what comes beyond is left out, and said to be.
_BACKLOG = 8 << 20
# Seconds in which messages come that are sent together.
_TOGETHER = 0.003
_AT_ONCE = 500
_CLIPPED = b"\n[output clipped: the client reads too slowly]\n"


class MessageForm(Protocol):
    """Makes the messages of one build."""

    def of(self, event: BuildEvent) -> Iterator[Message]:
        """The messages of an event."""
        ...

    def result(self, built: BuiltImage) -> Iterator[Message]:
        """The last messages."""
        ...

    def failure(self, error: BuildError) -> Message:
        """The last message of a build that failed."""
        ...


class _Backlog:
    """Events that wait for a client: the build does not."""

    def __init__(self) -> None:
        self._events: deque[BuildEvent] = deque()
        self._bytes = 0
        self._clipped: set[str] = set()
        self.changed = asyncio.Event()

    def add(self, event: BuildEvent) -> None:
        """Take an event; a `BuildReport`."""
        if isinstance(event, VertexLog):
            if self._bytes > _BACKLOG:
                if event.vertex in self._clipped:
                    return
                self._clipped.add(event.vertex)
                event = VertexLog(event.vertex, event.stream, _CLIPPED)
            self._bytes += len(event.data)
        self._events.append(event)
        self.changed.set()

    def take(self) -> Iterator[BuildEvent]:
        """Yield the events that wait."""
        self.changed.clear()
        while self._events:
            event = self._events.popleft()
            if isinstance(event, VertexLog):
                self._bytes -= len(event.data)
                if not self._bytes:
                    self._clipped.clear()
            yield event


async def build_messages(start: Build, form: MessageForm) -> AsyncGenerator[list[Message]]:
    """Run a build and yield its messages, as many at a time as there are.

    Raises EngineError; what the Dockerfile or a step is to blame for is a message, but InvalidParameter before the
    first one. When the generator is closed, the build is cancelled, and has ended.
    """
    backlog = _Backlog()
    task = asyncio.create_task(start(backlog.add))
    task.add_done_callback(lambda _: backlog.changed.set())
    begun = False
    try:
        while True:
            await backlog.changed.wait()
            if begun:
                # What comes at once is sent at once; the first is not kept waiting.
                await asyncio.wait({task}, timeout=_TOGETHER)
            is_over = task.done()
            for messages in _together(message for event in backlog.take() for message in form.of(event)):
                begun = True
                yield messages
                await asyncio.sleep(0)  # who takes them need not wait for anything
            if is_over:
                break
        try:
            built = _result(task)
        except BuildError as error:
            if not begun:
                raise InvalidParameter(str(error)) from error
            yield [form.failure(error)]
            return
        for messages in _together(form.result(built)):
            yield messages
            await asyncio.sleep(0)  # who takes them need not wait for anything
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


def _together(messages: Iterator[Message]) -> Iterator[list[Message]]:
    """Some at a time, so that others are served between them: a Dockerfile may have fifty thousand steps."""
    while some := list(itertools.islice(messages, _AT_ONCE)):
        yield some


def _result(task: asyncio.Task[BuiltImage]) -> BuiltImage:
    if task.cancelled():
        raise BuildError("context canceled")  # docker's words for a build that another request has ended
    return task.result()


async def quiet_messages(start: Build, form: MessageForm) -> AsyncGenerator[list[Message]]:
    """Run a build and yield the image's id, or, when it fails, all that would have been said."""
    kept: list[Message] = []
    built: list[BuiltImage] = []

    async def run(report: BuildReport) -> BuiltImage:
        built.append(await start(report))
        return built[0]

    try:
        async for messages in build_messages(run, form):
            kept += messages
    except EngineError:
        yield kept
        raise
    yield [{"stream": f"{built[0].id}\n"}] if built else kept
