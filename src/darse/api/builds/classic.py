"""The messages of `POST /build`: docker's classic stream, made of a build's events.

The classic builder runs one instruction after the other, and its clients expect to read it so. The solver runs what it
can beside each other: steps are shown in the order of the Dockerfile, the first that is not complete as it goes, and
what later ones say is kept until it is their turn. The ids of steps name results of the build cache; images they are
not.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence

from darse.api.progress import Message, pull_event
from darse.build.dockerfile.convert import DockerfileStep
from darse.build.errors import BuildError, ProcessFailed
from darse.build.graph import Definition, ExecOperation, ImageSource
from darse.build.progress import BuildEvent, BuildPlanned, BuildTransfer, BuildWarned, BuiltImage
from darse.build.solver import SolveError, VertexCompleted, VertexLog, VertexStarted

_SHORT = 12
_STDERR = 2
_DECODER = codecs.getincrementaldecoder("utf-8")


class ClassicMessages:
    """Makes the messages of one build."""

    def __init__(self) -> None:
        self._planned: Sequence[DockerfileStep] = ()
        self._steps: dict[int, _Step] = {}
        """Those that something is known of, until all was said of them: there may be fifty thousand."""
        self._of_lines: dict[tuple[int, int], list[str]] = {}
        self._of_vertex: dict[str, list[int]] = {}
        self._definition: Definition | None = None
        self._started: set[str] = set()
        self._done: set[str] = set()
        self._is_over = False
        self._current = 0
        self._is_open = False
        self._tree = ""
        """The latest id that was shown: instructions that change no file have it, too."""

    def of(self, event: BuildEvent) -> Iterator[Message]:
        """The messages of an event."""
        match event:
            case BuildPlanned():
                self._plan(event)
            case BuildTransfer():
                yield from pull_event(event.event)
            case BuildWarned():
                yield _stream(f"[Warning] {event.warning}\n")
            case VertexStarted():
                self._started.add(event.vertex)
                for number in self._later(event.vertex):
                    self._step(number).started = True
            case VertexLog():
                for number in self._later(event.vertex):
                    self._step(number).write(event.stream, event.data)
            case VertexCompleted(error=""):
                self._complete(event.vertex)
        yield from self._advance()

    def result(self, built: BuiltImage) -> Iterator[Message]:
        """The last messages."""
        self._is_over = True
        yield from self._advance()
        if built.id:
            yield {"aux": {"ID": built.id}}
            yield _stream(f"Successfully built {_short(built.id)}\n")
        for name in built.names:
            yield _stream(f"Successfully tagged {name}\n")

    def failure(self, error: BuildError) -> Message:
        """The message of a build that failed. Where a process did, clients exit with its status."""
        cause = error.__cause__ if isinstance(error, SolveError) else None
        if not isinstance(cause, ProcessFailed):
            return {"errorDetail": {"message": str(error)}, "error": str(error)}
        text = f"The command '{' '.join(cause.arguments)}' returned a non-zero code: {cause.exit_code}"
        return {"errorDetail": {"code": cause.exit_code, "message": text}, "error": text}

    def _plan(self, planned: BuildPlanned) -> None:
        definition = self._definition = planned.definition
        self._planned = planned.steps
        for digest, metadata in definition.metadata.items():
            for lines in metadata.lines:
                self._of_lines.setdefault(lines, []).append(digest)
        for number, step in enumerate(planned.steps):
            for vertex in self._of_lines.get(step.lines, ()):
                self._of_vertex.setdefault(vertex, []).append(number)

    def _later(self, vertex: str) -> list[int]:
        """The steps of a vertex of which something is still to be said."""
        return [number for number in self._of_vertex.get(vertex, ()) if number >= self._current]

    def _step(self, number: int) -> _Step:
        step = self._steps.get(number)
        if step is None:
            assert self._definition is not None
            planned = self._planned[number]
            vertices = self._of_lines.get(planned.lines, [])
            step = self._steps[number] = _Step(planned, vertices, self._definition)
            step.left -= self._done
            step.started = not self._started.isdisjoint(vertices)
        return step

    def _complete(self, vertex: str) -> None:
        """What nobody asked for any more, because what is made of it was in the cache, is complete with that."""
        stack = [vertex]
        while stack:
            done = stack.pop()
            if done in self._done:
                continue
            self._done.add(done)
            for number in self._of_vertex.get(done, ()):
                if number in self._steps:
                    self._steps[number].left.discard(done)
            if self._definition is not None and done in self._definition.vertices:
                stack += [edge.vertex for edge in self._definition.vertices[done].inputs]

    def _advance(self) -> Iterator[Message]:
        """What can be said of the steps whose turn it is."""
        while self._current < len(self._planned):
            step = self._step(self._current)
            if not self._is_open:
                self._is_open = True
                yield _stream(f"Step {self._current + 1}/{len(self._planned)} : {step.text}")
                yield _stream("\n")
                if step.triggers:
                    yield _stream(f"# Executing {step.triggers} build trigger{'s' if step.triggers > 1 else ''}\n")
            yield from step.progress()
            if step.left and not self._is_over:
                return
            yield from step.end()
            self._tree = step.last or self._tree
            if self._tree:
                yield _stream(f" ---> {_short(self._tree)}\n")
            del self._steps[self._current]
            self._current += 1
            self._is_open = False


class _Step:
    """One instruction, with the vertices that it stands for."""

    def __init__(self, step: DockerfileStep, vertices: list[str], definition: Definition) -> None:
        self.text = step.text
        self.triggers = step.triggers
        self.left = set(vertices)
        self.last = vertices[-1] if vertices else ""
        self.started = False
        operations = [definition.vertices[one].operation for one in vertices]
        self._runs = any(isinstance(one, ExecOperation) for one in operations)
        self._is_base = all(isinstance(one, ImageSource) for one in operations)
        self._is_shown = False
        self._output: list[Message] = []
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}

    def write(self, stream: int, data: bytes) -> None:
        """Keep what a process wrote until it is the step's turn."""
        decoder = self._decoders.setdefault(stream, _DECODER("replace"))
        if text := decoder.decode(data):
            # As docker marks what processes complain.
            self._output.append(_stream(f"\x1b[91m{text}\x1b[0m" if stream == _STDERR else text))

    def progress(self) -> Iterator[Message]:
        """What has come since the last call."""
        if self._runs and self.started and not self._is_shown:
            self._is_shown = True
            yield _stream(f" ---> Running in {_short(self.last)}\n")
        yield from self._output
        self._output.clear()

    def end(self) -> Iterator[Message]:
        """What is said when all of it is done."""
        if self._is_shown:
            yield _stream(f" ---> Removed intermediate container {_short(self.last)}\n")
        elif not self.started and not self._is_base:
            yield _stream(" ---> Using cache\n")


def _stream(text: str) -> Message:
    return {"stream": text}


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHORT]
