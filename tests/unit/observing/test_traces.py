"""Spans: where operations stand in traces, what receivers get, and that one that is away costs a bounded queue."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from darse.core import spans, trace
from darse.core.spans import Span, SpanContext, parse_traceparent
from darse.core.trace import Operation, Step
from darse.engine.configuration.exporters import with_exporters
from darse.observing.traces import exporter, otlp, zipkin
from darse.observing.traces.exporter import MOST_SPANS, SpanExporter
from darse.observing.traces.spans import SpanResource, ended_spans

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLIENT = SpanContext(TRACE, PARENT)
RESOURCE = SpanResource("darse", {"service.version": "1"})


class Heard:
    def __init__(self) -> None:
        self.ended: list[tuple[Operation, Span]] = []

    def operation_ended(self, operation: Operation, span: Span) -> None:
        self.ended.append((operation, span))


@contextmanager
def observing(observer: spans.SpanObserver) -> Iterator[None]:
    spans.add_observer(observer)
    try:
        yield
    finally:
        spans.remove_observer(observer)


def example() -> tuple[Operation, Span]:
    steps = [
        Step("mount", "overlay", ("mount", "-o", "secret"), 1_000_000_100, 50_000),
        Step("rule", "x", (), 5, 0, "no"),
    ]
    operation = Operation("start", "c" * 64, 1_000_000_000, 2_000_000, steps, "failed: no room")
    return operation, Span(SpanContext(TRACE, "1" * 16), CLIENT, "internal", {"n": 1})


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{PARENT}-01", CLIENT),
        (f"00-{TRACE}-{PARENT}-00", SpanContext(TRACE, PARENT, sampled=False)),
        (f"cc-{TRACE}-{PARENT}-09-what-the-future-will-be", CLIENT),
        (f" 00-{TRACE.upper()}-{PARENT}-01 ", CLIENT),
        ("", None),
        ("00-xyz", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{PARENT}", None),
    ],
)
def test_a_clients_header_is_read_as_the_specification_says(header: str, found: SpanContext | None) -> None:
    assert parse_traceparent(header) == found


def test_operations_stand_below_the_request_and_that_below_its_client() -> None:
    heard = Heard()
    with observing(heard), spans.request_span(Operation("POST /x", "", 0), CLIENT):
        outer = trace.begin("start", "c")
        with spans.span_of(outer.operation), outer, spans.span_of(Operation("inner", "", 0)):
            pass
    (inner, inner_span), (start, start_span), (_, request) = heard.ended
    assert (inner.name, start.name) == ("inner", "start")
    assert start.outcome == "done"
    assert request.parent == CLIENT
    assert request.kind == "request"
    assert start_span.parent == request.context
    assert inner_span.parent == start_span.context
    assert {one.context.trace_id for _, one in heard.ended} == {TRACE}
    assert len({one.context.span_id for _, one in heard.ended}) == 3


async def test_what_outlives_a_request_begins_a_trace_of_its_own() -> None:
    heard, go = Heard(), asyncio.Event()

    async def later() -> None:
        await go.wait()
        with spans.span_of(Operation("exit", "c", 0)):
            pass

    with observing(heard):
        with spans.request_span(Operation("POST /x", "", 0), CLIENT):
            task = asyncio.create_task(later())
            await asyncio.sleep(0)
        go.set()
        await task
    (_, request), (_, ended) = heard.ended
    assert ended.parent is None
    assert ended.context.trace_id != request.context.trace_id


def test_nobody_hears_of_anything_where_nobody_listens() -> None:
    assert not spans.observed()
    with spans.span_of(Operation("start", "c", 0)):
        assert spans._current.get() is None


def test_otlp_is_what_its_protocol_says() -> None:
    """Read by OpenTelemetry's own definition of it, where that is installed."""
    document = json.loads(otlp.encode(ended_spans(*example()), RESOURCE))
    ((resource,),) = document.values()
    own, step, failed = resource["scopeSpans"][0]["spans"]
    assert (own["traceId"], own["spanId"], own["parentSpanId"]) == (TRACE, "1" * 16, PARENT)
    assert (own["startTimeUnixNano"], own["endTimeUnixNano"]) == ("1000000000", "1002000000")
    assert own["status"] == {"code": 2, "message": "no room"}
    assert step["parentSpanId"] == own["spanId"]
    assert step["name"] == "overlay"
    assert "status" not in step
    assert failed["status"]["message"] == "no"
    assert {"key": "n", "value": {"intValue": "1"}} in own["attributes"]
    assert "secret" not in json.dumps(document)
    definition = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="opentelemetry-proto is not installed"
    )
    from google.protobuf.json_format import ParseDict

    for span in resource["scopeSpans"][0]["spans"]:  # OTLP's ids are hexadecimal, protobuf's JSON has base64
        for key in {"traceId", "spanId", "parentSpanId"} & set(span):
            span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    parsed: Any = ParseDict(document, definition.ExportTraceServiceRequest())
    assert len(parsed.resource_spans[0].scope_spans[0].spans) == 3


def test_zipkins_spans_are_flat() -> None:
    own, step, _ = json.loads(zipkin.encode(ended_spans(*example()), RESOURCE))
    assert own["timestamp"] == 1_000_000
    assert own["duration"] == 2000
    assert own["parentId"] == PARENT
    assert own["tags"]["error"] == "no room"
    assert own["localEndpoint"] == {"serviceName": "darse"}
    assert step["parentId"] == own["id"]
    assert step["traceId"] == TRACE


@pytest.fixture
async def sender(monkeypatch: pytest.MonkeyPatch) -> SpanExporter:
    monkeypatch.setattr(exporter, "_GATHER_SECONDS", 0.0)
    monkeypatch.setattr(exporter, "_FIRST_RETRY", 0.001)
    return SpanExporter("otlp", "http://127.0.0.1:9/v1/traces", {}, otlp.encode, RESOURCE)


async def test_a_receiver_that_is_away_costs_a_bounded_queue(sender: SpanExporter) -> None:
    """Nothing listens on its port; twenty times what is kept ends meanwhile, and the memory stays as it is."""
    sender.open()
    for _ in range(MOST_SPANS):
        sender.operation_ended(*example())
    async with asyncio.timeout(20):
        while not sender._is_failing:
            await asyncio.sleep(0.001)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(20 * MOST_SPANS // 3):
        sender.operation_ended(*example())
    await asyncio.sleep(0)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert sender._queued <= MOST_SPANS
    assert sender._dropped["queue_full"] + sender._queued == 3 * (MOST_SPANS + 20 * MOST_SPANS // 3)
    assert grown < 1 << 20
    await sender.close()


async def test_spans_are_sent_again_until_they_are_taken(sender: SpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, bodies = [503, 429, 200], []

    async def post(body: bytes) -> int:
        bodies.append(body)
        return answers.pop(0)

    monkeypatch.setattr(sender._poster, "post", post)
    sender.open()
    sender.operation_ended(*example())
    async with asyncio.timeout(10):
        while not sender._exported:
            await asyncio.sleep(0.001)
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert sender._exported == 3
    assert sender._queued == 0
    await sender.close()


async def test_what_a_receiver_refuses_is_dropped_and_counted(
    sender: SpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def post(body: bytes) -> int:
        return 400

    monkeypatch.setattr(sender._poster, "post", post)
    sender.open()
    sender.operation_ended(*example())
    async with asyncio.timeout(10):
        while sender._queued:
            await asyncio.sleep(0.001)
    text = "".join(line for _, lines in sender.lines() for line in lines)
    assert 'darse_trace_spans_dropped_total{reason="refused",receiver="otlp"} 3\n' in text
    await sender.close()


async def test_what_a_client_does_not_sample_is_not_sent(sender: SpanExporter) -> None:
    operation, span = example()
    span.context = SpanContext(TRACE, PARENT, sampled=False)
    sender.operation_ended(operation, span)
    assert sender._queued == 0


@pytest.mark.parametrize(
    ("fields", "environment", "endpoint", "headers"),
    [
        ({}, {}, "", None),
        ({"otlp_endpoint": "http://a:4318/"}, {}, "http://a:4318/v1/traces", {}),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b"}, "http://b/v1/traces", {}),
        ({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/x"}, "http://c/x", {}),
        ({"otlp_endpoint": "http://a"}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/x"}, "http://a/v1/traces", {}),
        (
            {"otlp_endpoint": "http://a", "otlp_headers": {"y": "2"}},
            {"OTEL_EXPORTER_OTLP_HEADERS": "x=a%20b, y=1"},
            "http://a/v1/traces",
            {"x": "a b", "y": "2"},
        ),
        ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b", "OTEL_SDK_DISABLED": "true"}, "", None),
    ],
)
def test_options_go_before_opentelemetrys_variables(
    fields: dict[str, Any], environment: dict[str, str], endpoint: str, headers: dict[str, str] | None
) -> None:
    found = with_exporters(fields, environment)
    assert found["otlp_endpoint"] == endpoint
    if headers is not None:
        assert found["otlp_headers"] == headers
