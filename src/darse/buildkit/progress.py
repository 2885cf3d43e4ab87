"""The events of one build as `StatusResponse` messages, for as many clients as ask.

What was said is kept until the build is forgotten, so that a client that asks late reads all of it; of processes'
output the latest part.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from darse.build.dockerfile.checks import CheckWarning
from darse.build.graph import Definition
from darse.build.progress import (
    BuildEvent,
    BuildPlanned,
    BuildTransfer,
    BuildWarned,
    DockerfileRead,
    VertexNote,
)
from darse.build.solver import VertexCompleted, VertexLog, VertexStarted
from darse.buildkit.encoded_definitions import line_range
from darse.buildkit.wire import control_pb2, ops_pb2
from darse.images.progress import LayerProgress, LayerStage

# Bytes of output that are kept.
_LOG_LIMIT = 8 << 20
_TRANSFER_ENDS = frozenset({LayerStage.PULLED, LayerStage.PRESENT})


def timestamp(nanoseconds: int) -> Timestamp:
    """A time on the wire."""
    found = Timestamp()
    found.FromNanoseconds(nanoseconds)
    return found


class ProgressLog:
    """A `BuildReport` whose events others follow."""

    def __init__(self) -> None:
        self._messages: list[Any] = []
        self._logs: list[int] = []
        """Positions of messages with output, the oldest first."""
        self._log_bytes = 0
        self._changed = asyncio.Event()
        self._is_over = False
        self._inputs: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}
        self._started: dict[str, Timestamp] = {}
        self._done: set[str] = set()
        self.dockerfile = DockerfileRead("Dockerfile", "")

    def __call__(self, event: BuildEvent) -> None:
        """Take an event."""
        now = timestamp(time.time_ns())
        match event:
            case DockerfileRead():
                self.dockerfile = event
            case BuildPlanned():
                self._plan(event.definition)
            case VertexStarted():
                self._started[event.vertex] = now
                self._add(vertexes=[self._vertex(event.vertex, event.name, started=now)])
            case VertexCompleted():
                self._add(vertexes=list(self._completed(event, now)))
            case VertexLog():
                self._log(event, now)
            case BuildTransfer(vertex=vertex, event=LayerProgress() as layer):
                self._add(statuses=[self._transfer(vertex, layer, now)])
            case VertexNote():
                started = self._started.get(event.vertex, now)
                times = {"timestamp": now, "started": started, "completed": now}
                self._add(statuses=[control_pb2.VertexStatus(ID=event.text, vertex=event.vertex, **times)])
            case BuildWarned():
                self._add(warnings=[self._warning(event.warning)])

    def warn(self, warning: control_pb2.VertexWarning) -> None:
        """A front end of the client's warns."""
        self._add(warnings=[warning])

    def recorded(self) -> bytes:
        """All messages so far, in BuildKit's form for files: each after its length, four bytes, the lowest first."""
        encoded = [one.SerializeToString(deterministic=True) for one in list(self._messages) if one is not None]
        return b"".join(len(one).to_bytes(4, "little") + one for one in encoded)

    def close(self) -> None:
        """The build is over."""
        self._is_over = True
        self._changed.set()

    async def follow(self) -> AsyncIterator[Any]:
        """Yield all messages, until the build is over."""
        position = 0
        while True:
            changed = self._changed
            while position < len(self._messages):
                message = self._messages[position]
                position += 1
                if message is not None:
                    yield message
            if self._is_over and position == len(self._messages):
                return
            if position == len(self._messages):
                await changed.wait()

    def _add(self, **parts: Iterable[Any]) -> None:
        self._messages.append(control_pb2.StatusResponse(**parts))
        self._changed.set()
        self._changed = asyncio.Event()

    def _log(self, event: VertexLog, now: Timestamp) -> None:
        self._add(logs=[control_pb2.VertexLog(vertex=event.vertex, timestamp=now, stream=event.stream, msg=event.data)])
        self._logs.append(len(self._messages) - 1)
        self._log_bytes += len(event.data)
        while self._log_bytes > _LOG_LIMIT:
            oldest = self._logs.pop(0)
            self._log_bytes -= len(self._messages[oldest].logs[0].msg)
            self._messages[oldest] = None

    def _plan(self, definition: Definition) -> None:
        for digest, vertex in definition.vertices.items():
            self._inputs[digest] = list(dict.fromkeys(edge.vertex for edge in vertex.inputs))
            if (metadata := definition.metadata.get(digest)) is not None:
                self._names[digest] = metadata.name
        self._add(vertexes=[self._vertex(digest, "") for digest in definition.vertices])

    def _vertex(self, digest: str, name: str, **fields: Any) -> Any:
        return control_pb2.Vertex(
            digest=digest, name=name or self._names.get(digest, ""), inputs=self._inputs.get(digest, ()), **fields
        )

    def _completed(self, event: VertexCompleted, now: Timestamp) -> Iterable[Any]:
        """The vertex, and those that nobody asked for because it was in the cache: they are, too."""
        started = self._started.get(event.vertex, now)
        if event.cached:
            yield from self._cached_above(event.vertex, now)
        self._done.add(event.vertex)
        yield self._vertex(
            event.vertex, event.name, started=started, completed=now, error=event.error, cached=event.cached
        )

    def _cached_above(self, vertex: str, now: Timestamp) -> Iterable[Any]:
        stack = [vertex]
        while stack:
            for digest in self._inputs.get(stack.pop(), ()):
                if digest not in self._done:
                    self._done.add(digest)
                    stack.append(digest)
                    if digest not in self._started:
                        yield self._vertex(digest, "", started=now, completed=now, cached=True)

    def _transfer(self, vertex: str, event: LayerProgress, now: Timestamp) -> Any:
        started = self._started.setdefault(f"layer {event.layer}", now)
        found = control_pb2.VertexStatus(
            ID=event.layer, vertex=vertex, current=event.current, total=event.total or 0, timestamp=now, started=started
        )
        if event.stage in _TRANSFER_ENDS:
            found.completed.CopyFrom(now)
        return found

    def _warning(self, warning: CheckWarning) -> Any:
        return control_pb2.VertexWarning(
            level=1,
            short=str(warning).encode(),
            detail=[warning.rule.description.encode()],
            url=warning.rule.url,
            info=self.source_info(),
            ranges=[line_range(warning.lines)],
        )

    def source_info(self) -> ops_pb2.SourceInfo:
        """The Dockerfile on the wire."""
        return source_info(self.dockerfile)


def source_info(dockerfile: DockerfileRead) -> ops_pb2.SourceInfo:
    """A Dockerfile on the wire."""
    data = dockerfile.source.encode("utf-8", "surrogateescape")
    return ops_pb2.SourceInfo(filename=dockerfile.filename, data=data, language="Dockerfile")
