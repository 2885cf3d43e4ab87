"""The typed progress of a build, for clients that draw it: BuildKit's SolveStatus as JSON documents.

A document has `vertexes`, `statuses`, `logs` or `warnings` (`client/graph.go` of BuildKit; what `--progress rawjson`
prints). The last one has `result`, or `error` with the lines of the Dockerfile that it is about.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from darse.api.progress import Message, short_digest
from darse.build.dockerfile import DockerfileError
from darse.build.dockerfile.checks import CheckWarning
from darse.build.dockerfile.source import excerpt
from darse.build.errors import BuildError, ProcessFailed
from darse.build.graph import Definition
from darse.build.progress import (
    AgentRequested,
    BuildEvent,
    BuildPlanned,
    BuildTransfer,
    BuildWarned,
    BuiltImage,
    ContextRequested,
    DockerfileFacts,
    DockerfileRead,
    VertexNote,
)
from darse.build.solver import SolveError, VertexCompleted, VertexLog, VertexStarted
from darse.core.times import rfc3339
from darse.images.progress import LayerProgress, LayerStage

#: What `Accept` names to get these documents in the place of docker's classic messages.
MEDIA_TYPE = "application/vnd.darse.build.status.v1+json"
_TRANSFER_ENDS = frozenset({LayerStage.PULLED, LayerStage.PRESENT})


class StatusMessages:
    """Makes the documents of one build."""

    def __init__(self) -> None:
        self._definition: Definition | None = None
        self._order: dict[str, int] = {}
        self._started: dict[str, str] = {}
        self._done: set[str] = set()
        self._layers: dict[str, str] = {}
        self._dockerfile = DockerfileRead("Dockerfile", "")

    def of(self, event: BuildEvent) -> Iterator[Message]:
        """The documents of an event."""
        now = rfc3339(time.time_ns())
        match event:
            case DockerfileRead():
                self._dockerfile = event
            case BuildPlanned():
                self._definition = event.definition
                self._order = {digest: number for number, digest in enumerate(event.definition.vertices)}
                yield {"vertexes": [self._vertex(digest, "") for digest in event.definition.vertices]}
            case VertexStarted():
                self._started[event.vertex] = now
                yield {"vertexes": [{**self._vertex(event.vertex, event.name), "started": now}]}
            case VertexCompleted():
                yield {"vertexes": list(self._completed(event, now))}
            case VertexLog():
                data = base64.b64encode(event.data).decode()
                yield {"logs": [{"vertex": event.vertex, "stream": event.stream, "data": data, "timestamp": now}]}
            case BuildTransfer(vertex=vertex, event=LayerProgress() as layer):
                yield {"statuses": [self._transfer(vertex, layer, now)]}
            case VertexNote():
                started = self._started.get(event.vertex, now)
                done = {"started": started, "timestamp": now, "completed": now}
                yield {"statuses": [{"id": event.text, "vertex": event.vertex, "current": 0, **done}]}
            case AgentRequested():
                yield {"agent": {"id": event.agent, "connection": event.token}}
            case ContextRequested():
                yield {"context": {"name": event.name, "connection": event.token}}
            case BuildWarned():
                yield {"warnings": [self._warning(event.warning)]}

    def result(self, built: BuiltImage) -> Iterator[Message]:
        """The last document."""
        result: dict[str, Any] = {"ID": built.id, "Names": list(built.names)}
        if built.caches:
            result["Caches"] = list(built.caches)
        if built.target is not None:
            result["Descriptor"] = msgspec.to_builtins(built.target)
        if built.facts is not None:
            result = {"Call": built.facts.call, **self._facts(built.facts)}
        yield {"result": result}

    def _facts(self, facts: DockerfileFacts) -> dict[str, Any]:
        if facts.call == "outline":
            return {"Outline": msgspec.to_builtins(facts.outline)}
        if facts.call == "targets":
            return {"Targets": msgspec.to_builtins(facts.targets)}
        found: dict[str, Any] = {"Warnings": [self._finding(one) for one in facts.warnings]}
        if (error := facts.error) is not None:
            found["Error"] = {"Message": str(error), "Source": self._excerpt(error.lines)}
        return found

    def _finding(self, warning: CheckWarning) -> dict[str, Any]:
        rule = warning.rule
        return {
            "RuleName": rule.name,
            "Description": rule.description,
            "URL": rule.url,
            "Detail": warning.detail,
            "Lines": list(warning.lines),
            "Source": self._excerpt(warning.lines),
        }

    def _excerpt(self, lines: tuple[int, int] | None) -> str:
        return excerpt(self._dockerfile.source, self._dockerfile.filename, [lines] if lines is not None else [])

    def failure(self, error: BuildError) -> Message:
        """The last document of a build that failed."""
        detail: dict[str, Any] = {"message": str(error)}
        cause = error.__cause__ if isinstance(error, SolveError) else None
        if isinstance(cause, ProcessFailed):
            detail["code"] = cause.exit_code
        found: Message = {"errorDetail": detail, "error": str(error)}
        if isinstance(error, SolveError):
            found["vertex"] = error.vertex
            found["source"] = excerpt(self._dockerfile.source, self._dockerfile.filename, error.lines)
        elif isinstance(error, DockerfileError) and error.lines is not None:
            found["source"] = self._excerpt(error.lines) + (f"{error.advice}\n" if error.advice else "")
        return found

    def _vertex(self, digest: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {"digest": digest}
        definition = self._definition
        if definition is not None and digest in definition.vertices:
            if inputs := [edge.vertex for edge in definition.vertices[digest].inputs]:
                found["inputs"] = inputs
            if (metadata := definition.metadata.get(digest)) is not None:
                name = name or metadata.name
        found["name"] = name
        return found

    def _completed(self, event: VertexCompleted, now: str) -> Iterator[dict[str, Any]]:
        """The vertex, and those that nobody asked for because it was in the cache: they are, too."""
        found = {**self._vertex(event.vertex, event.name), "started": self._started.get(event.vertex, now)}
        found["completed"] = now
        if event.error:
            yield {**found, "error": event.error}
            return
        if event.cached:
            yield from self._cached_above(event.vertex, now)
            found["cached"] = True
        self._done.add(event.vertex)
        yield found

    def _cached_above(self, vertex: str, now: str) -> Iterator[dict[str, Any]]:
        if self._definition is None:
            return
        seen: set[str] = set()
        stack = [vertex]
        while stack:
            known = self._definition.vertices.get(stack.pop())
            for edge in known.inputs if known is not None else ():
                if edge.vertex not in self._done and edge.vertex not in seen:
                    seen.add(edge.vertex)
                    stack.append(edge.vertex)
        self._done |= seen
        for digest in sorted(seen - self._started.keys(), key=self._order.__getitem__):
            yield {**self._vertex(digest, ""), "started": now, "completed": now, "cached": True}

    def _transfer(self, vertex: str, event: LayerProgress, now: str) -> dict[str, Any]:
        started = self._layers.setdefault(event.layer, now)
        found = {
            "id": f"{event.stage.name.lower()} {short_digest(event.layer)}",
            "vertex": vertex,
            "current": event.current,
            "timestamp": now,
            "started": started,
        }
        if event.total:
            found["total"] = event.total
        if event.stage in _TRANSFER_ENDS:
            found["completed"] = now
        return found

    def _warning(self, warning: CheckWarning) -> dict[str, Any]:
        first, last = warning.lines
        return {
            "vertex": "",
            "level": 1,
            "short": base64.b64encode(str(warning).encode()).decode(),
            "detail": [base64.b64encode(warning.rule.description.encode()).decode()],
            "url": warning.rule.url,
            "sourceInfo": {
                "filename": self._dockerfile.filename,
                "data": base64.b64encode(self._dockerfile.source.encode("utf-8", "surrogateescape")).decode(),
            },
            "range": [{"start": {"line": first}, "end": {"line": last}}],
        }
