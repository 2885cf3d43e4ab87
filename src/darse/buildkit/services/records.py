"""Records of the cache, and of the history of builds, on the wire."""

from __future__ import annotations

from darse.build.history import BuildState, BuildSummary
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


def history_event(build: BuildSummary) -> control_pb2.BuildHistoryEvent:
    """A build that runs, or one that has ended."""
    attributes = {"filename": build.dockerfile, "target": build.target, "context": build.remote}
    record = control_pb2.BuildHistoryRecord(
        Ref=build.id,
        Frontend="dockerfile.v0",
        FrontendAttrs={name: value for name, value in attributes.items() if value},
        CreatedAt=timestamp(build.begun_ns),
        ExporterResponse={"image.name": ",".join(build.names)} if build.names else {},
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
    return control_pb2.BuildHistoryEvent(type=control_pb2.COMPLETE, record=record)
