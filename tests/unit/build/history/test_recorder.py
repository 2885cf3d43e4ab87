"""A build's events become its record."""

from __future__ import annotations

from darse.build.graph import ExecMount, ExecOperation, GraphBuilder, ImageSource, ProcessMeta, VertexMetadata
from darse.build.history.recorder import BuildRecorder
from darse.build.history.records import BuildState, StepState
from darse.build.progress import BuildEvent, BuildPlanned, BuiltImage
from darse.build.request import BuildRequest
from darse.build.solver import Outcome, OutcomeKind, VertexCompleted, VertexLog, VertexStarted


def planned(*commands: str) -> tuple[BuildPlanned, list[str]]:
    """A chain of processes, and the digests from the base on."""
    graph = GraphBuilder()
    edge = graph.add(ImageSource(reference="docker.io/library/base:latest"), metadata=VertexMetadata("FROM base"))
    digests = [edge.vertex]
    for command in commands:
        operation = ExecOperation(ProcessMeta((command,)), (ExecMount("/", 0, output=0),))
        edge = graph.add(operation, (edge,), metadata=VertexMetadata(f"RUN {command}", lines=((2, 2),)))
        digests.append(edge.vertex)
    return BuildPlanned((), graph.definition(edge)), digests


def completed(digest: str, kind: OutcomeKind) -> VertexCompleted:
    return VertexCompleted(digest, "", outcome=Outcome(kind, "key"), snapshots=("s",))


def test_a_record_has_the_builders_steps_and_the_graphs() -> None:
    seen: list[BuildEvent] = []
    recorder = BuildRecorder(BuildRequest(), seen.append)
    event, (base, one, two) = planned("one", "two")
    events: list[BuildEvent] = [
        VertexStarted("before", "[internal] load"),
        VertexCompleted("before", "[internal] load"),
        event,
        completed(one, OutcomeKind.CACHED),
        VertexStarted(two, "RUN two"),
        VertexLog(two, 1, b"hello\n"),
        completed(two, OutcomeKind.EXECUTED),
        VertexStarted("after", "exporting"),
        VertexCompleted("after", "exporting"),
    ]
    for each in events:
        recorder(each)
    assert seen == events
    assert recorder.running().state is BuildState.RUNNING
    recorder.built(BuiltImage("sha256:1"))
    record = recorder.ended()
    assert [(step.name, step.state) for step in record.steps] == [
        ("[internal] load", StepState.EXECUTED),
        ("FROM base", StepState.NOT_NEEDED),
        ("RUN one", StepState.CACHED),
        ("RUN two", StepState.EXECUTED),
        ("exporting", StepState.EXECUTED),
    ]
    assert (record.summary.image, record.summary.steps, record.summary.cached) == ("sha256:1", 3, 2)
    assert record.steps[3].inputs == (one,)
    assert record.steps[3].lines == ((2, 2),)
    assert [(log.name, log.data) for log in recorder.logs()] == [("RUN two", b"hello\n")]
    assert base not in {log.vertex for log in recorder.logs()}


def test_a_build_that_fails_or_is_cancelled_says_how_far_it_came() -> None:
    recorder = BuildRecorder(BuildRequest(), lambda _: None)
    event, (base, one, two) = planned("one", "two")
    for each in (event, VertexStarted(base, "FROM base"), completed(base, OutcomeKind.EXECUTED)):
        recorder(each)
    recorder(VertexStarted(one, "RUN one"))
    assert [step.state for step in recorder.failed(None).steps] == [
        StepState.EXECUTED,
        StepState.CANCELLED,
        StepState.NOT_REACHED,
    ]
    assert recorder.unfinished().steps[1].state is StepState.RUNNING
    recorder(VertexCompleted(one, "RUN one", error="exit code 1"))
    record = recorder.failed(ValueError("it failed"))
    assert (record.summary.state, record.summary.error) == (BuildState.FAILED, "it failed")
    assert (record.steps[1].state, record.steps[1].error) == (StepState.FAILED, "exit code 1")
    assert two not in {step.vertex for step in record.steps if step.begun_ns}


def test_of_much_that_a_step_says_the_end_is_kept() -> None:
    recorder = BuildRecorder(BuildRequest(), lambda _: None)
    event, (_, one) = planned("one")
    recorder(event)
    for number in range(100):
        recorder(VertexLog(one, 1, b"%05d" % number * 4000))
    (log,) = recorder.logs()
    assert len(log.data) == 256 << 10
    assert log.clipped + len(log.data) == 100 * 5 * 4000
    assert log.data.endswith(b"00099")


def test_of_a_build_with_very_many_steps_those_that_ran_are_kept() -> None:
    recorder = BuildRecorder(BuildRequest(), lambda _: None)
    event, digests = planned(*map(str, range(3000)))
    for each in (event, completed(digests[5], OutcomeKind.CACHED), VertexStarted(digests[6], "RUN 5")):
        recorder(each)
    assert [step.vertex for step in recorder.failed(None).steps] == [digests[5], digests[6]]
