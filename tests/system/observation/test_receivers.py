"""Spans in real receivers: a collector of OpenTelemetry and Jaeger (`make clients`), and Zipkin, from Maven Central.

mvn dependency:get -Dtransitive=false -Dartifact=io.zipkin:zipkin-server:3.4.2:jar:exec
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support import clients
from tests.support.engine import BUSYBOX, Engine
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

# A line of what the collector prints of a span.
_FIELD = re.compile(r"^    ([A-Z][\w ]*?) *: (.*)$", re.MULTILINE)
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def zipkin() -> Iterator[str]:
    """Its address."""
    repository = Path.home() / ".m2/repository/io/zipkin/zipkin-server"
    jars = sorted(repository.glob("*/zipkin-server-*-exec.jar"))
    java = shutil.which("java")
    if java is None or not jars:
        pytest.skip("zipkin-server is not in Maven's repository, or java is not installed")
    port = free_port()
    process = subprocess.Popen(
        [java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", str(jars[-1])],
        env={**os.environ, "QUERY_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: get(f"http://127.0.0.1:{port}/health") is not None, 120, "zipkin")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_a_collector_has_the_spans(
    new_engine: Callable[..., Engine], tell: Callable[[str], None], tmp_path: Path
) -> None:
    """Its receiver refuses a document in which an id, a time or a kind is not as OTLP's JSON has it."""
    program = clients.found("collector")
    if program is None:
        pytest.skip("the collector is not built: make clients")
    port, log = free_port(), tmp_path / "log"
    configuration = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"debug": {"verbosity": "detailed"}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}},
        },
    }
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [program, f"--config=yaml:{json.dumps(configuration)}"], stdout=output, stderr=output
        )
    try:
        wait_until(lambda: "Everything is ready" in log.read_text(), 60, "the collector")
        engine = new_engine(f"--otlp-endpoint=http://127.0.0.1:{port}")
        header = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        made = engine.api("POST", "/containers/create?name=seen", {"Image": BUSYBOX, "Cmd": ["true"]}, headers=header)
        assert made.status == 201
        assert engine.api("POST", "/containers/seen/start", headers=header).status == 204

        def spans() -> dict[str, dict[str, str]]:
            found = (dict(_FIELD.findall(text)) for text in log.read_text(errors="replace").split("Span #")[1:])
            return {span["Name"]: span for span in found if span.get("Trace ID") == TRACE}

        wait_until(lambda: {"start", "POST /containers/{id}/start"} <= spans().keys(), 60, "the spans")
        request = spans()["POST /containers/{id}/start"]
        assert (request["Parent ID"], request["Kind"]) == (PARENT, "Server")
        assert spans()["start"]["Parent ID"] == request["ID"]
        tell(f"collector: {len(spans())} names of spans of a create and a start")
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def jaeger() -> Iterator[tuple[str, str]]:
    """Where it takes spans, and where it shows them."""
    program = clients.found("jaeger")
    if program is None:
        pytest.skip("jaeger is not built: make clients")
    names = ("collector.otlp.http", "query.http-server", "admin.http", "query.grpc-server", "collector.otlp.grpc")
    places = {name: f"127.0.0.1:{free_port()}" for name in (*names, "collector.http-server", "collector.grpc-server")}
    process = subprocess.Popen(
        [program, *(f"--{name}.host-port={place}" for name, place in places.items())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        spans, shown = (f"http://{places[name]}" for name in names[:2])
        wait_until(lambda: get(f"{shown}/api/services") is not None, 60, "jaeger")
        yield spans, shown
    finally:
        process.terminate()
        process.wait(30)


def test_jaeger_has_the_spans(
    jaeger: tuple[str, str], new_engine: Callable[..., Engine], tell: Callable[[str], None]
) -> None:
    receives, shows = jaeger
    engine = new_engine(f"--otlp-endpoint={receives}")
    header = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    made = engine.api("POST", "/containers/create?name=seen", {"Image": BUSYBOX, "Cmd": ["true"]}, headers=header)
    assert made.status == 201
    assert engine.api("POST", "/containers/seen/start", headers=header).status == 204

    def found() -> dict[str, dict[str, Any]]:
        traces = (get(f"{shows}/api/traces/{TRACE}") or {}).get("data") or []
        spans = {span["operationName"]: span for trace in traces for span in trace["spans"]}
        return spans if {"start", "POST /containers/{id}/start"} <= spans.keys() else {}

    spans = wait_until(found, 60, "the spans")
    request, start = spans["POST /containers/{id}/start"], spans["start"]
    assert start["references"][0]["spanID"] == request["spanID"]
    assert request["references"][0]["spanID"] == PARENT
    assert {"key": "darse.subject", "type": "string", "value": made.json()["Id"]} in start["tags"]
    assert "darse" in get(f"{shows}/api/services")["data"]
    tell(f"jaeger: {len(spans)} names of spans of a create and a start")


def get(url: str) -> Any:
    """A document; None where there is none yet."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return msgspec.json.decode(answer.read())
    except OSError:
        return None


def test_zipkin_has_the_spans(zipkin: str, new_engine: Callable[..., Engine], tell: Callable[[str], None]) -> None:
    engine = new_engine(f"--zipkin-endpoint={zipkin}/api/v2/spans")
    header = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    made = engine.api("POST", "/containers/create?name=seen", {"Image": BUSYBOX, "Cmd": ["true"]}, headers=header)
    assert made.status == 201
    assert engine.api("POST", "/containers/seen/start", headers=header).status == 204

    def found() -> list[dict[str, Any]]:
        spans = get(f"{zipkin}/api/v2/trace/{TRACE}") or []
        return spans if "start" in {span["name"] for span in spans} else []

    spans = wait_until(found, 60, "the spans")
    by_name = {span["name"]: span for span in spans}
    request = by_name["post /containers/{id}/start"]  # zipkin's names are lower-case
    assert request["parentId"] == PARENT
    assert by_name["start"]["parentId"] == request["id"]
    assert by_name["start"]["tags"]["darse.subject"] == made.json()["Id"]
    assert "darse" in get(f"{zipkin}/api/v2/services")
    tell(f"zipkin: {len(spans)} spans of a create and a start")
