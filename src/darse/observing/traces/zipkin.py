"""Zipkin's version 2: a list of flat spans; times are microseconds. https://zipkin.io/zipkin-api/#/default/post_spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from darse.observing.traces.spans import EndedSpan, SpanResource

CONTENT_TYPE = "application/json"


def encode(spans: Sequence[EndedSpan], resource: SpanResource) -> bytes:
    """The body of a request."""
    return msgspec.json.encode([_span(one, resource) for one in spans])


def _span(span: EndedSpan, resource: SpanResource) -> dict[str, Any]:
    tags = {key: str(value) for key, value in {**resource.attributes, **span.attributes}.items()}
    if span.error:
        tags["error"] = span.error
    document: dict[str, Any] = {
        "traceId": span.trace_id,
        "id": span.span_id,
        "name": span.name,
        "timestamp": span.begin_ns // 1000,
        # Zipkin takes 0 as unknown.
        "duration": max(1, (span.end_ns - span.begin_ns) // 1000),
        "localEndpoint": {"serviceName": resource.service},
        "tags": tags,
    }
    if span.parent_id:
        document["parentId"] = span.parent_id
    if span.kind == "request":
        document["kind"] = "SERVER"
    return document
