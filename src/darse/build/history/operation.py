"""A build as an operation of the engine, for those who hear of all operations (`darse.core.spans`)."""

from __future__ import annotations

from darse.build.history.records import BuildRecord, BuildState
from darse.core.trace import Operation, Step


def describe(record: BuildRecord, operation: Operation) -> None:
    """Fill in what became of the build, and of those of its steps that ran."""
    summary = record.summary
    operation.duration_ns = summary.ended_ns - summary.begun_ns
    operation.outcome = "done"
    if summary.state is not BuildState.BUILT:
        operation.outcome = f"failed: {summary.error or summary.state}"
    operation.steps = [
        Step("process", one.name, (), one.begun_ns, max(0, one.ended_ns - one.begun_ns), one.error)
        for one in record.steps
        if one.begun_ns
    ]
