"""Traces and alerts of a real engine, at receivers that are simple HTTP servers."""

from __future__ import annotations

import http.server
import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Receiver:
    """Keeps the documents that are posted, by path."""

    def __init__(self) -> None:
        self.documents: dict[str, list[Any]] = {}
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.documents.setdefault(self.path, []).append(json.loads(body))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> list[dict[str, Any]]:
        """Those of OTLP."""
        documents = list(self.documents.get("/v1/traces", ()))
        return [
            span
            for document in documents
            for resource in document["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def traced(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with all receivers, and a rule that fires when a container has failed."""
    file = tmp_path_factory.mktemp("configuration") / "daemon.json"
    rule = {"name": "Failed", "expression": "darse_container_exit_code != 0", "severity": "critical", "summary": "s"}
    alerts = {"interval": "1s", "rules": [rule], "receivers": [{"webhook": f"{receiver.url}/alerts"}]}
    file.write_text(json.dumps({"otlp-endpoint": receiver.url, "alerts": alerts}))
    engine = Engine.start(f"--config-file={file}", f"--zipkin-endpoint={receiver.url}/api/v2/spans")
    yield engine
    engine.close()


def test_every_operation_is_a_span_below_the_clients(traced: Engine, receiver: Receiver) -> None:
    body = {"Image": BUSYBOX, "Cmd": ["true"]}
    header = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    made = traced.api("POST", "/containers/create?name=spanned", body, headers=header).json()
    assert traced.api("POST", "/v1.43/containers/spanned/start", headers=header).status == 204

    def found() -> dict[str, dict[str, Any]]:
        spans = {span["name"]: span for span in receiver.spans() if span["traceId"] == TRACE}
        return spans if {"create", "start", "POST /containers/{id}/start"} <= set(spans) else {}

    spans = wait_until(found, 20, "the spans")
    request = spans["POST /containers/{id}/start"]
    assert request["parentSpanId"] == PARENT
    assert request["kind"] == 2
    assert spans["start"]["parentSpanId"] == request["spanId"]
    attributes = {one["key"]: one["value"] for one in request["attributes"]}
    assert attributes["http.response.status_code"] == {"intValue": "204"}
    subject = {one["key"]: one["value"] for one in spans["start"]["attributes"]}["darse.subject"]
    assert subject == {"stringValue": made["Id"]}
    explained = traced.api("GET", "/darse/explain/spanned?operation=start")
    below = [span for span in receiver.spans() if span.get("parentSpanId") == spans["start"]["spanId"]]
    assert len(below) >= 5, explained.body

    def ended() -> list[dict[str, Any]]:
        return [span for span in receiver.spans() if span["name"] == "exit"]

    (ending,) = wait_until(ended, 20, "the container's end")
    assert ending["traceId"] != TRACE

    def flat() -> bool:
        found = [span for document in list(receiver.documents.get("/api/v2/spans", ())) for span in document]
        return {"start", "create"} <= {span["name"] for span in found if span["traceId"] == TRACE}

    wait_until(flat, 20, "Zipkin's spans")


def test_an_alert_reaches_the_webhook_and_ends(traced: Engine, receiver: Receiver) -> None:
    traced.darse("run", "--name", "failing", BUSYBOX, "false")

    def notified(status: str) -> list[dict[str, Any]]:
        documents = list(receiver.documents.get("/alerts", ()))
        alerts = [alert for document in documents for alert in document["alerts"]]
        return [one for one in alerts if one["labels"]["name"] == "failing" and one["status"] == status]

    (fired,) = wait_until(lambda: notified("firing"), 20, "the alert")
    assert fired["labels"]["alertname"] == "Failed"
    assert fired["labels"]["severity"] == "critical"
    assert fired["value"] == 1
    traced.darse("rm", "failing").ok()
    assert len(wait_until(lambda: notified("resolved"), 20, "the end of the alert")) == 1
    assert len(notified("firing")) == 1


def test_other_rules_are_taken_over_by_sighup(
    new_engine: Callable[..., Engine], receiver: Receiver, tmp_path: Any
) -> None:
    """Also by an engine that had none; what fires goes on firing, and a mistake changes nothing."""
    file = tmp_path / "daemon.json"

    def write(*names: str, expression: str = "darse_container_exit_code == 7") -> None:
        rules = [{"name": name, "expression": expression} for name in names]
        receivers = [{"webhook": f"{receiver.url}/reloaded"}]
        file.write_text(json.dumps({"alerts": {"interval": "1s", "rules": rules, "receivers": receivers}}))

    def heard(name: str, status: str) -> int:
        documents = list(receiver.documents.get("/reloaded", ()))
        alerts = [alert for document in documents for alert in document["alerts"]]
        return sum(one["labels"]["alertname"] == name and one["status"] == status for one in alerts)

    def reload() -> None:
        assert engine.process is not None
        engine.process.send_signal(signal.SIGHUP)

    file.write_text("{}")
    engine = new_engine(f"--config-file={file}")
    engine.darse("run", "--name", "seven", BUSYBOX, "sh", "-c", "exit 7")
    write("First")
    reload()
    wait_until(lambda: heard("First", "firing"), 20, "an alert by a rule that came later")
    write("Faulty", expression="a >")
    reload()
    wait_until(lambda: "cannot reload the configuration: alerts: Faulty" in engine.log(), 20, "the refusal")
    write("First", "Second")
    reload()
    wait_until(lambda: heard("Second", "firing"), 20, "an alert by one more rule")
    write("Second")
    reload()
    wait_until(lambda: heard("First", "resolved"), 20, "the end of the alert whose rule is gone")
    file.write_text("{}")
    reload()
    wait_until(lambda: engine.log().count("reloaded the configuration: alerts") == 4, 20, "the last reload")
    assert (heard("First", "firing"), heard("Second", "firing"), heard("Second", "resolved")) == (1, 1, 0)
    engine.darse("rm", "seven").ok()


def test_a_faulty_rule_ends_the_engine(tmp_path: Any) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"alerts": {"rules": [{"name": "Odd", "expression": "a >"}]}}')
    engine = Engine(f"--config-file={file}")
    try:
        with pytest.raises(AssertionError, match="alerts: Odd: invalid expression 'a >'"):
            engine.up()
        engine.flags = (*engine.flags, "--validate")
        with pytest.raises(AssertionError, match="alerts: Odd: invalid expression 'a >'"):
            engine.up()
    finally:
        engine.close()
