"""Takes the events of one build, passes them on, and knows at any time what is to be kept of it."""

from __future__ import annotations

import secrets
import time

import msgspec

from darse.build.graph import Definition, VertexMetadata
from darse.build.history.attachments import AttachmentCollector
from darse.build.history.records import BuildRecord, BuildState, BuildSummary, StepLog, StepRecord, StepState
from darse.build.progress import BuildEvent, BuildPlanned, BuildReport, BuiltImage, DockerfileRead
from darse.build.request import BuildRequest
from darse.build.solver import OutcomeKind, VertexCompleted, VertexLog, VertexStarted

# Bytes of the log of one step, and of all of a build.
_STEP_LOG, _BUILD_LOG = 256 << 10, 2 << 20
# Of a build with more steps, what nobody asked for and what was not reached is left out.
_MOST_STEPS = 2_000
_STATES = {
    OutcomeKind.CACHED: StepState.CACHED,
    OutcomeKind.CACHED_BY_CONTENT: StepState.CACHED,
    OutcomeKind.SHARED: StepState.SHARED,
    OutcomeKind.EXECUTED: StepState.EXECUTED,
}


class BuildRecorder:
    """One build, from its beginning on; a `BuildReport`."""

    def __init__(self, request: BuildRequest, report: BuildReport, identifier: str = "") -> None:
        """report: who else takes the events. identifier: the build's, where it has one."""
        self.id = identifier or secrets.token_hex(12)
        self._request = request
        self._report = report
        self.collected: AttachmentCollector | None = None
        """What else belongs to it, for clients of BuildKit."""
        self._begun = time.time_ns()
        self._dockerfile = request.dockerfile
        self._image = ""
        self._definitions: list[Definition] = []
        self._started: dict[str, tuple[str, int]] = {}
        self._completed: dict[str, tuple[VertexCompleted, int]] = {}
        self._logs: dict[str, tuple[bytearray, int]] = {}

    def __call__(self, event: BuildEvent) -> None:
        """Take an event."""
        match event:
            case DockerfileRead():
                self._dockerfile = event.filename
            case BuildPlanned():
                self._definitions.append(event.definition)
            case VertexStarted():
                self._started.setdefault(event.vertex, (event.name, time.time_ns()))
            case VertexCompleted():
                # The first word counts: what is found in the cache again says so each time.
                self._completed.setdefault(event.vertex, (event, time.time_ns()))
            case VertexLog():
                self._log(event)
        self._report(event)

    def _log(self, event: VertexLog) -> None:
        kept, clipped = self._logs.get(event.vertex, (bytearray(), 0))
        kept.extend(event.data)
        if len(kept) > 2 * _STEP_LOG:
            clipped += len(kept) - _STEP_LOG
            del kept[:-_STEP_LOG]
        self._logs[event.vertex] = (kept, clipped)

    def running(self) -> BuildSummary:
        """What is known of it now."""
        return self._summary(BuildState.RUNNING, self._steps(BuildState.RUNNING), ended=0)

    def failed(self, error: BaseException | None) -> BuildRecord:
        """The record of a build that came to nothing; None: it was cancelled."""
        state = BuildState.CANCELLED if error is None else BuildState.FAILED
        steps = self._steps(state)
        summary = self._summary(state, steps, ended=time.time_ns())
        return BuildRecord(msgspec.structs.replace(summary, error="" if error is None else str(error)), steps)

    def built(self, image: BuiltImage) -> None:
        """Note what the build came to."""
        self._image = image.id

    def ended(self) -> BuildRecord:
        """The record of a build that succeeded."""
        steps = self._steps(BuildState.BUILT)
        summary = self._summary(BuildState.BUILT, steps, ended=time.time_ns())
        return BuildRecord(msgspec.structs.replace(summary, image=self._image), steps)

    def unfinished(self) -> BuildRecord:
        """The record of a build that runs."""
        return BuildRecord(self.running(), self._steps(BuildState.RUNNING))

    def logs(self) -> tuple[StepLog, ...]:
        """What the steps said, bounded."""
        room = _BUILD_LOG
        found = []
        for vertex, (kept, clipped) in self._logs.items():
            most = min(_STEP_LOG, room)
            data = bytes(kept[-most:]) if most else b""
            room -= len(data)
            found.append(StepLog(vertex, self._name(vertex), clipped + len(kept) - len(data), data))
        return tuple(found)

    def _summary(self, state: BuildState, steps: tuple[StepRecord, ...], *, ended: int) -> BuildSummary:
        request = self._request
        counted = [step for step in steps if step.operation is not None]
        return BuildSummary(
            id=self.id,
            state=state,
            begun_ns=self._begun,
            ended_ns=ended,
            names=tuple(name.familiar for name in request.names),
            dockerfile=self._dockerfile,
            remote=request.remote,
            target=request.target,
            steps=len(counted),
            cached=sum(step.state in (StepState.CACHED, StepState.NOT_NEEDED) for step in counted),
        )

    def _name(self, vertex: str) -> str:
        for definition in self._definitions:
            if vertex in definition.metadata:
                return definition.metadata[vertex].name
        return self._started[vertex][0] if vertex in self._started else ""

    def _steps(self, state: BuildState) -> tuple[StepRecord, ...]:
        """Those of the builder before the graph, the graph's in its order, and those after it."""
        graph = {digest for definition in self._definitions for digest in definition.vertices}
        recorded = graph if len(graph) <= _MOST_STEPS else {*self._started, *self._completed}
        digests = [(one, whole) for whole in self._definitions for one in whole.vertices if one in recorded]
        planned = [self._step(digest, state, definition) for digest, definition in digests[:_MOST_STEPS]]
        others = [vertex for vertex in self._started if vertex not in graph]
        first = min((self._started[one][1] for one in graph if one in self._started), default=0)
        before = [vertex for vertex in others if not first or self._started[vertex][1] < first]
        after = [vertex for vertex in others if vertex not in before]
        return (*(self._step(one, state) for one in before), *planned, *(self._step(one, state) for one in after))

    def _step(self, vertex: str, build: BuildState, definition: Definition | None = None) -> StepRecord:
        name, begun = self._started.get(vertex, ("", 0))
        completed, ended = self._completed.get(vertex, (None, 0))
        if definition is None:
            return StepRecord(
                vertex=vertex,
                name=name,
                state=self._state(completed, begun, build),
                begun_ns=begun,
                ended_ns=ended,
                error=completed.error if completed is not None else "",
            )
        known = definition.vertices[vertex]
        metadata = definition.metadata.get(vertex, VertexMetadata())
        return StepRecord(
            vertex=vertex,
            name=metadata.name or name,
            state=self._state(completed, begun, build),
            begun_ns=begun,
            ended_ns=ended if begun else 0,
            error=completed.error if completed is not None else "",
            lines=metadata.lines,
            inputs=tuple(edge.vertex for edge in known.inputs),
            operation=known.operation,
            outcome=completed.outcome if completed is not None else None,
            snapshots=completed.snapshots if completed is not None else (),
        )

    @staticmethod
    def _state(completed: VertexCompleted | None, begun: int, build: BuildState) -> StepState:
        if completed is None:
            if begun:
                return StepState.RUNNING if build is BuildState.RUNNING else StepState.CANCELLED
            return StepState.NOT_NEEDED if build is BuildState.BUILT else StepState.NOT_REACHED
        if completed.error:
            return StepState.FAILED
        return _STATES[completed.outcome.kind] if completed.outcome is not None else StepState.EXECUTED
