"""Records of the cache, and of the history of builds, on the wire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from darse.build.history import Attachments, BuildRecord, BuildState, BuildSummary, StepLog, StepState
from darse.build.history.attachments import BuildAttachment
from darse.build.solver import CacheRecord, RecordKind
from darse.buildkit.progress import timestamp
from darse.buildkit.wire import control_pb2, status_pb2

_UNKNOWN, _CANCELLED = 2, 1


def usage_record(record: CacheRecord, *, in_use: bool) -> control_pb2.UsageRecord:
    """A record of the cache."""
    return control_pb2.UsageRecord(
        ID=record.id,
        Mutable=record.kind is RecordKind.CACHE_MOUNT,
        InUse=in_use,
        Size=record.size,
        CreatedAt=timestamp(int(record.created * 1e9)),
        LastUsedAt=timestamp(int(record.last_used * 1e9)),
        UsageCount=record.uses,
        Description=record.description,
        RecordType=record.kind.value,
        Parents=record.parents,
    )


_MOST_LOG = 1 << 20


def status_messages(record: BuildRecord, logs: Sequence[StepLog]) -> Iterator[control_pb2.StatusResponse]:
    """A build that was, as those who followed it have seen it: its steps, and the end of what they said."""
    last_logs = {one.vertex: one for one in logs}
    for step in record.steps:
        if step.state in (StepState.NOT_NEEDED, StepState.NOT_REACHED) and not step.begun_ns:
            continue
        vertex = control_pb2.Vertex(
            digest=step.vertex, inputs=step.inputs, name=step.name, cached=step.state is StepState.CACHED
        )
        begun = timestamp(step.begun_ns or record.summary.begun_ns)
        vertex.started.CopyFrom(begun)
        yield control_pb2.StatusResponse(vertexes=[vertex])
        if (log := last_logs.get(step.vertex)) is not None:
            text = (b"[%d bytes clipped]\n" % log.clipped if log.clipped else b"") + log.data
            for start in range(0, len(text), _MOST_LOG):
                piece = text[start : start + _MOST_LOG]
                message = control_pb2.VertexLog(vertex=step.vertex, timestamp=begun, stream=1, msg=piece)
                yield control_pb2.StatusResponse(logs=[message])
        if step.ended_ns:
            vertex.completed.CopyFrom(timestamp(step.ended_ns))
        vertex.error = step.error
        yield control_pb2.StatusResponse(vertexes=[vertex])


def history_event(
    build: BuildSummary, collected: Attachments, *, pinned: bool = False
) -> control_pb2.BuildHistoryEvent:
    """A build that runs, or one that has ended, with what belongs to it."""
    attributes = {"filename": build.dockerfile, "target": build.target, "context": build.remote}
    record = control_pb2.BuildHistoryRecord(
        Ref=build.id,
        Frontend=collected.frontend or "dockerfile.v0",
        FrontendAttrs={**{name: value for name, value in attributes.items() if value}, **collected.attributes},
        CreatedAt=timestamp(build.begun_ns),
        ExporterResponse=collected.response or ({"image.name": ",".join(build.names)} if build.names else {}),
        pinned=pinned,
        numTotalSteps=build.steps,
        numCachedSteps=build.cached,
        numCompletedSteps=build.steps if build.state is BuildState.BUILT else build.cached,
    )
    if build.state is BuildState.RUNNING:
        return control_pb2.BuildHistoryEvent(type=control_pb2.STARTED, record=record)
    record.CompletedAt.CopyFrom(timestamp(build.ended_ns))
    if build.state is not BuildState.BUILT:
        code = _CANCELLED if build.state is BuildState.CANCELLED else _UNKNOWN
        record.error.CopyFrom(status_pb2.Status(code=code, message=build.error or "context canceled"))
    for one in collected.listed:
        _attach(record, one)
    return control_pb2.BuildHistoryEvent(type=control_pb2.COMPLETE, record=record)


def _attach(record: control_pb2.BuildHistoryRecord, one: BuildAttachment) -> None:
    described = control_pb2.Descriptor(
        media_type=one.media_type, digest=one.digest, size=one.size, annotations=one.annotations
    )
    match one.kind:
        case "logs":
            record.logs.CopyFrom(described)
        case "trace":
            record.trace.CopyFrom(described)
        case "error":
            record.externalError.CopyFrom(described)
        case "result":
            record.Result.Results[len(record.Result.Results)].CopyFrom(described)
        case "attestation":
            result = record.Results[one.platform] if one.platform else record.Result
            result.Attestations.append(described)
