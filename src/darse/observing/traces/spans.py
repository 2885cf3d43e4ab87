"""From the record of an operation to spans: one of it, and one of each of its steps.

The commands that `darse explain` shows are left out: a span goes to another machine.
"""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from darse.core.spans import Span
from darse.core.trace import Operation

Attributes = dict[str, str | int]


class SpanResource(msgspec.Struct, frozen=True):
    """Who made the spans, by OpenTelemetry's names; `service` is what receivers list it as."""

    service: str
    attributes: Attributes


class EndedSpan(msgspec.Struct, frozen=True):
    """A span as receivers know it: ids in hexadecimal digits, times in nanoseconds since the epoch.

    `error` is empty where it went well.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Literal["request", "internal"]
    begin_ns: int
    end_ns: int
    attributes: Attributes
    error: str = ""


def count_of(operation: Operation) -> int:
    """How many spans there are of it."""
    return 1 + len(operation.steps)


def ended_spans(operation: Operation, span: Span) -> list[EndedSpan]:
    """The spans of an operation that has ended, its own first."""
    context = span.context
    subject: Attributes = {"darse.subject": operation.subject} if operation.subject else {}
    failure = operation.outcome.removeprefix("failed: ") if operation.outcome.startswith("failed") else ""
    found = [
        EndedSpan(
            context.trace_id,
            context.span_id,
            span.parent.span_id if span.parent is not None else "",
            operation.name,
            span.kind,
            operation.started_at_ns,
            operation.started_at_ns + operation.duration_ns,
            {**subject, **span.attributes},
            failure,
        )
    ]
    for step in operation.steps:
        found.append(
            EndedSpan(
                context.trace_id,
                os.urandom(8).hex(),
                context.span_id,
                step.summary,
                "internal",
                step.begin_ns,
                step.begin_ns + step.duration_ns,
                {"darse.step.kind": step.kind},
                step.failed,
            )
        )
    return found
