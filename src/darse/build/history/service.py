"""The history of one engine's builds: those that run, those that were, and the explanation of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from darse.build.graph import GitSource, LocalSource, dependencies
from darse.build.history.attachments import Attachments, AttachmentStore
from darse.build.history.causes import Cause, cause_of, changed_sources
from darse.build.history.changes import FileFacts, changes, read_tree
from darse.build.history.operation import describe
from darse.build.history.recorder import BuildRecorder
from darse.build.history.records import BuildRecord, BuildSummary, StepLog, StepRecord
from darse.build.history.store import BuildHistory, find
from darse.build.progress import BuildReport
from darse.build.request import BuildRequest
from darse.core.errors import NotFound
from darse.core.spans import span_of
from darse.core.trace import Operation

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor

# So many earlier builds are looked at for what a step was before.
_EARLIER = 10
# Files that are named for one input.
_MOST_NAMED = 10


class ExplainedStep(msgspec.Struct, frozen=True):
    """A step with the reason for what it is."""

    step: StepRecord
    cause: Cause


class Explanation(msgspec.Struct, frozen=True):
    """A build with the reasons for what became of its steps."""

    summary: BuildSummary
    steps: tuple[ExplainedStep, ...]


class BuildHistoryService:
    """Keeps the history, and explains."""

    def __init__(self, history: BuildHistory, executor: EngineExecutor) -> None:
        self._history = history
        self._executor = executor
        self._running: dict[str, BuildRecorder] = {}
        self.changed = asyncio.Event()
        """Set, and replaced by another, when a build begins, ends or is forgotten."""

    @contextmanager
    def recorded(
        self, request: BuildRequest, report: BuildReport, identifier: str = "", *, internal: bool = False
    ) -> Iterator[BuildRecorder]:
        """Record the block as a build, unless a question about the Dockerfile is answered by it.

        identifier: what its client calls it, where that is a name that no other build has. internal: the client says
        that it is part of something else, which nobody looks for.
        """
        is_free = identifier not in self._running and not self._history.has(identifier)
        recorder = BuildRecorder(request, report, identifier if is_free else "")
        if request.call or internal:
            yield recorder
            return
        self._running[recorder.id] = recorder
        self._notify()
        operation = Operation("build", recorder.id, time.time_ns())
        with span_of(operation):
            try:
                yield recorder
            except BaseException as error:
                self._end(recorder, recorder.failed(error if isinstance(error, Exception) else None), operation)
                raise
            self._end(recorder, recorder.ended(), operation)

    def _end(self, recorder: BuildRecorder, record: BuildRecord, operation: Operation) -> None:
        del self._running[recorder.id]
        describe(record, operation)
        self._history.add(record, recorder.logs(), recorder.collected)
        self._notify()

    def _notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def remove(self, identifier: str) -> None:
        """Forget a build that has ended. Raises NotFound."""
        self._history.remove(identifier)
        self._notify()

    def pin(self, identifier: str, *, pinned: bool) -> None:
        """Keep a build that has ended until it is removed, or no more. Raises NotFound."""
        if self._history.pin(identifier, pinned=pinned):
            self._notify()

    def pinned(self) -> frozenset[str]:
        """The ids of builds that are kept so."""
        return self._history.pinned()

    def summaries(self) -> list[BuildSummary]:
        """All builds, the newest first."""
        running = [recorder.running() for recorder in reversed(self._running.values())]
        return [*running, *self._history.summaries()]

    def logs(self, reference: str) -> tuple[StepLog, ...]:
        """What the steps of a build said. Raises NotFound."""
        summary = find(self.summaries(), reference)
        running = self._running.get(summary.id)
        return running.logs() if running is not None else self._history.logs(summary)

    def record(self, reference: str) -> BuildRecord:
        """All that is kept of a build that runs or has ended. Raises NotFound."""
        summary = find(self.summaries(), reference)
        running = self._running.get(summary.id)
        return running.unfinished() if running is not None else self._history.record(summary)

    @property
    def attachments(self) -> AttachmentStore:
        """What belongs to builds that have ended."""
        return self._history.attachments

    def collected(self, build: BuildSummary) -> Attachments:
        """What belongs to a build, as far as it is known."""
        running = self._running.get(build.id)
        if running is None:
            return self._history.attachments.of(build.id)
        return running.collected.attachments() if running.collected is not None else Attachments()

    def has_ended(self, identifier: str) -> bool:
        """Whether a build of this id is known, and runs no more."""
        return identifier not in self._running and self._history.has(identifier)

    async def explain(self, reference: str) -> Explanation:
        """A build (its id, its image's name or id) with the reasons. Raises NotFound."""
        record = self.record(reference)
        summary = record.summary
        before: list[StepRecord] = []
        for earlier in self._history.before(summary)[:_EARLIER]:
            before += self._history.record(earlier).steps
        steps = {step.vertex: step for step in record.steps}
        return Explanation(record.summary, tuple([await self._explained(one, steps, before) for one in record.steps]))

    async def _explained(
        self, step: StepRecord, steps: dict[str, StepRecord], before: Sequence[StepRecord]
    ) -> ExplainedStep:
        files = {}
        for index, vertex in changed_sources(step):
            source = steps.get(vertex)
            if source is not None and step.operation is not None:
                selectors = dependencies(step.operation, len(step.inputs))[index].selectors
                found = await self._changed_files(source, before)
                if found is not None:
                    files[vertex] = _named(list(changes(*found, selectors)))
        return ExplainedStep(step, cause_of(step, steps, before, files))

    async def _changed_files(
        self, step: StepRecord, before: Sequence[StepRecord]
    ) -> tuple[dict[str, FileFacts], dict[str, FileFacts]] | None:
        """A source's files before and now; None where a tree of them is gone, or too large."""
        if not isinstance(step.operation, LocalSource | GitSource) or not step.snapshots:
            return None
        for earlier in before:
            if _is_same_source(earlier, step) and earlier.snapshots and earlier.snapshots != step.snapshots:
                old, new = await self._files(earlier), await self._files(step)
                return (old, new) if old is not None and new is not None else None
        return None

    async def _files(self, step: StepRecord) -> dict[str, FileFacts] | None:
        try:
            layers = self._executor.snapshotter.layers_of(step.snapshots[0])
        except NotFound:
            return None
        return await self._executor.trees.read(layers, read_tree)


def _is_same_source(one: StepRecord, other: StepRecord) -> bool:
    match one.operation, other.operation:
        case LocalSource(name=name), LocalSource(name=other_name):
            return name == other_name
        case GitSource(remote=remote), GitSource(remote=other_name):
            return remote == other_name
    return False


def _named(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_NAMED
    return lines if more <= 0 else [*lines[:_MOST_NAMED], f"and {more} more"]
