"""Metrics, as Prometheus fetches them."""

from __future__ import annotations

import gzip
import http.client
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.ports import free_port
from tests.support.waiting import wait_until
from tests.system.observation.support import run

SAMPLE = re.compile(r"([a-z_:]+)(?:\{(.*)\})? (\S+)\Z")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
Samples = dict[str, list[tuple[dict[str, str], float]]]
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def watched(port: int) -> Iterator[Engine]:
    """An engine that serves metrics, with containers of each kind."""
    engine = Engine.start(f"--metrics-addr=127.0.0.1:{port}")
    try:
        run(engine, "steady", "--label", "com.docker.compose.project=shop", "--label", 'odd.one=a"b\\c', "-m", "64m")
        run(engine, "limited", "--cpus", "0.5", "--pids-limit", "7", "--network", "host")
        run(engine, "frozen")
        engine.darse("pause", "frozen").ok()
        engine.darse("run", "--name", "failed", BUSYBOX, "sh", "-c", "exit 3")
        engine.darse(
            *("run", "-d", "--name", "sick", "--health-cmd", "false", "--health-interval", "100ms"),
            *("--health-retries", "1", BUSYBOX, "sleep", "1000"),
        ).ok()
        wait_until(lambda: value(fetch(port), "container_health_state", name="sick") == 0, what="a health check")
        yield engine
    finally:
        engine.close()


def fetch_text(port: int, **headers: str) -> tuple[str, str]:
    """The text, and its type."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        body = answer.read()
        if answer.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        return body.decode(), answer.headers["Content-Type"]


def fetch(port: int) -> Samples:
    found: Samples = {}
    for line in fetch_text(port)[0].splitlines():
        if not line.startswith("#"):
            parts = SAMPLE.match(line)
            assert parts is not None, line
            found.setdefault(parts[1], []).append((dict(LABEL.findall(parts[2] or "")), float(parts[3])))
    return found


def value(samples: Samples, metric: str, **labels: str) -> float | None:
    """The one sample that has these labels."""
    found = [number for own, number in samples.get(metric, []) if labels.items() <= own.items()]
    assert len(found) <= 1, (metric, labels, found)
    return found[0] if found else None


def test_containers_have_the_names_and_labels_of_cadvisor(watched: Engine, port: int) -> None:
    found = fetch(port)
    steady = watched.api("GET", "/containers/steady/json").json()
    ((labels, _),) = [one for one in found["container_memory_usage_bytes"] if one[0]["name"] == "steady"]
    assert labels["image"] == BUSYBOX
    assert labels["id"].endswith(f"/{steady['Id']}")
    assert labels["container_label_com_docker_compose_project"] == "shop"
    assert labels["container_label_odd_one"] == 'a\\"b\\\\c'
    for metric in (
        *("container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_memory_rss"),
        *("container_processes", "container_threads", "container_start_time_seconds", "container_last_seen"),
    ):
        assert value(found, metric, name="steady"), metric
    assert value(found, "container_spec_memory_limit_bytes", name="steady") == 64 << 20
    assert value(found, "container_spec_cpu_quota", name="limited") == 50_000
    assert value(found, "container_threads_max", name="limited") == 7
    assert value(found, "container_network_transmit_bytes_total", name="steady", interface="eth0") is not None
    assert value(found, "container_network_receive_bytes_total", name="limited") is None
    assert value(found, "container_oom_events_total", name="steady") == 0


def test_a_containers_counters_are_those_of_the_kernel(watched: Engine, port: int) -> None:
    before = value(fetch(port), "container_cpu_usage_seconds_total", name="steady")
    watched.darse("exec", "steady", "sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").ok()
    watched.darse("exec", "steady", "sh", "-c", "ping -c 3 -i 0.1 -W 1 172.31.255.1 || true")
    found = fetch(port)
    stats = watched.api("GET", "/containers/steady/stats?stream=false&one-shot=true").json()
    used = value(found, "container_cpu_usage_seconds_total", name="steady")
    assert before is not None
    assert used is not None
    assert before + 0.01 < used <= stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
    assert value(found, "container_processes", name="steady") == 1


def test_states_health_and_exit_codes(watched: Engine, port: int) -> None:
    found = fetch(port)
    for name, state in (("steady", "running"), ("frozen", "paused"), ("failed", "exited")):
        assert value(found, "darse_container_state", name=name, state=state) == 1
    assert value(found, "darse_container_exit_code", name="failed") == 3
    assert value(found, "container_memory_usage_bytes", name="failed") is None
    assert value(found, "container_memory_usage_bytes", name="frozen")
    assert value(found, "container_health_state", name="steady") == -1
    assert value(found, "engine_daemon_health_checks_failed_total")
    assert value(found, "engine_daemon_container_states_containers", state="paused") == 1
    assert value(found, "engine_daemon_container_states_containers", state="stopped") == 1


def test_the_engine_has_the_names_of_dockerd(watched: Engine, port: int) -> None:
    found = fetch(port)
    info = watched.api("GET", "/info").json()
    assert value(found, "engine_daemon_engine_info", daemon_id=info["ID"], version=info["ServerVersion"]) == 1
    assert value(found, "engine_daemon_engine_cpus_cpus") == info["NCPU"]
    assert value(found, "engine_daemon_engine_memory_bytes") == info["MemTotal"]
    started = value(found, "engine_daemon_container_actions_seconds_count", action="start")
    assert started is not None
    assert started >= 5
    events = value(found, "engine_daemon_events_total")
    assert events is not None
    watched.darse("rename", "failed", "failed2").ok()
    again = fetch(port)
    assert (value(again, "engine_daemon_events_total") or 0) > events
    assert value(again, "darse_container_exit_code", name="failed2") == 3
    watched.darse("rename", "failed2", "failed").ok()
    assert value(again, "darse_images") == 1
    assert value(again, "process_resident_memory_bytes")


@pytest.mark.parametrize("accept", ["text/plain;version=0.0.4", OPEN_METRICS])
def test_both_formats_are_read_by_prometheus_own_parsers(watched: Engine, port: int, accept: str) -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
    from prometheus_client import openmetrics, parser
    from prometheus_client.openmetrics import parser as open_parser

    assert openmetrics
    text, kind = fetch_text(port, Accept=accept, **{"Accept-Encoding": "gzip"})
    assert kind.startswith(accept.partition(";")[0])
    reader = open_parser if "openmetrics" in accept else parser
    families = {one.name: one for one in reader.text_string_to_metric_families(text)}
    assert {sample.labels["name"] for sample in families["container_memory_rss"].samples} >= {"steady", "frozen"}
    assert families["container_cpu_usage_seconds"].type == "counter"


def test_promtool_finds_nothing(watched: Engine, port: int) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: package prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=fetch_text(port)[0],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_nothing_but_metrics_is_served_there(watched: Engine, port: int) -> None:
    for path, method, status in (("/containers/json", "GET", 404), ("/metrics", "POST", 405), ("/", "GET", 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method), timeout=10)
        assert refused.value.code == status


def test_an_address_that_is_taken_ends_the_engine(port: int, watched: Engine) -> None:
    second = Engine(f"--metrics-addr=127.0.0.1:{port}")
    try:
        with pytest.raises(AssertionError, match=f"cannot serve metrics on 127.0.0.1:{port}: "):
            second.up()
    finally:
        second.close()


def test_a_client_of_another_address_gets_gzip_where_it_takes_that(watched: Engine, port: int) -> None:
    bodies = {}
    for source in ("127.0.0.1", "127.0.0.2"):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
        client.request("GET", "/metrics", headers={"Accept-Encoding": "gzip", "Accept": OPEN_METRICS})
        answer = client.getresponse()
        body, encoding = answer.read(), answer.headers["Content-Encoding"]
        client.close()
        assert encoding == (None if source == "127.0.0.1" else "gzip")
        bodies[source] = gzip.decompress(body) if encoding else body
    names = [
        {re.split(rb"[{ ]", line)[0] for line in body.splitlines() if line[:1] != b"#"} for body in bodies.values()
    ]
    assert names[0] == names[1]
    assert all(body.endswith(b"\n# EOF\n") for body in bodies.values())
