"""A build's trace as BuildKit keeps it with a record: `docker buildx history trace` shows it.

The media type says OTLP, and what is in it is something else: the spans of OpenTelemetry's SDK for Go as its JSON
(`sdk/trace/tracetest.SpanStub`), one document behind the other. What only the client knows is not in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from darse import __version__
from darse.build.history import BuildRecord, StepRecord, StepState

TRACE = "application/vnd.buildkit.otlp.json.v0"
# trace.SpanKind, and the names of codes.Code.
_INTERNAL, _SERVER = 1, 2
_SECOND = 1_000_000_000
_NO_SPAN = {"TraceID": "0" * 32, "SpanID": "0" * 16, "TraceFlags": "00", "TraceState": "", "Remote": False}


def trace_document(record: BuildRecord) -> bytes:
    """The trace of a build that has come to its end, all but its record's: one of its own."""
    trace_id = os.urandom(16).hex()
    summary = record.summary
    ran = [one for one in record.steps if one.begun_ns]
    root, end = _context(trace_id), summary.ended_ns or time.time_ns()
    attributes = {"ref": summary.id, "dockerfile": summary.dockerfile, "context": summary.remote}
    failed = next((one.error for one in ran if one.error), "")
    spans = [
        _span(
            "build",
            root,
            _NO_SPAN,
            _SERVER,
            (summary.begun_ns, end),
            {name: value for name, value in attributes.items() if value},
            failed,
            children=len(ran),
        ),
        *(_step(one, trace_id, root, end) for one in ran),
    ]
    return b"\n".join(map(msgspec.json.encode, spans)) + b"\n"


def _step(step: StepRecord, trace_id: str, root: Mapping[str, Any], end: int) -> dict[str, Any]:
    attributes: dict[str, str | bool] = {
        "vertex": step.vertex,
        "cached": step.state is StepState.CACHED,
        "state": str(step.state),
    }
    times = (step.begun_ns, max(step.begun_ns, step.ended_ns or end))
    return _span(step.name, _context(trace_id), root, _INTERNAL, times, attributes, step.error)


def _context(trace_id: str) -> dict[str, Any]:
    return {**_NO_SPAN, "TraceID": trace_id, "SpanID": os.urandom(8).hex(), "TraceFlags": "01"}


def _span(
    name: str,
    context: Mapping[str, Any],
    parent: Mapping[str, Any],
    kind: int,
    times: tuple[int, int],
    attributes: Mapping[str, str | bool],
    error: str,
    *,
    children: int = 0,
) -> dict[str, Any]:
    begun, ended = map(_time, times)
    return {
        "Name": name,
        "SpanContext": context,
        "Parent": parent,
        "SpanKind": kind,
        "StartTime": begun,
        "EndTime": ended,
        "Attributes": _attributes(attributes),
        "Events": [],
        "Links": [],
        "Status": {"Code": "Error" if error else "Ok", "Description": error},
        "DroppedAttributes": 0,
        "DroppedEvents": 0,
        "DroppedLinks": 0,
        "ChildSpanCount": children,
        "Resource": _attributes({"service.name": "darsed", "service.version": __version__}),
        "InstrumentationLibrary": {"Name": "darse", "Version": __version__, "SchemaURL": ""},
    }


def _attributes(attributes: Mapping[str, str | bool]) -> list[dict[str, Any]]:
    return [
        {"Key": key, "Value": {"Type": "BOOL" if isinstance(value, bool) else "STRING", "Value": value}}
        for key, value in attributes.items()
    ]


def _time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
