"""OTLP over HTTP with JSON: ids are hexadecimal, 64-bit numbers are strings.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding, and opentelemetry/proto/trace/v1/trace.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from darse import __version__
from darse.observing.traces.spans import Attributes, EndedSpan, SpanResource

PATH = "/v1/traces"
CONTENT_TYPE = "application/json"
# Span.SpanKind and Status.StatusCode.
_KINDS = {"internal": 1, "request": 2}
_ERROR = 2


def encode(spans: Sequence[EndedSpan], resource: SpanResource) -> bytes:
    """The body of an export request."""
    described = {"service.name": resource.service, **resource.attributes}
    scope = {"name": "darse", "version": __version__}
    return msgspec.json.encode(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _attributes(described)},
                    "scopeSpans": [{"scope": scope, "spans": [_span(one) for one in spans]}],
                }
            ]
        }
    )


def _span(span: EndedSpan) -> dict[str, Any]:
    document: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": str(span.begin_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
    }
    if span.parent_id:
        document["parentSpanId"] = span.parent_id
    if span.error:
        document["status"] = {"code": _ERROR, "message": span.error}
    return document


def _attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]
