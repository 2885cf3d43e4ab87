"""Bad input: a 4xx with a message, never a 5xx, never a hang; and the engine lives on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests.faults.requests import Request, check, requests, send
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import connect

EXAMPLES = int(os.environ.get("DARSE_FUZZ_EXAMPLES", "1000"))
MANY_EXAMPLES = int(os.environ.get("DARSE_FUZZ_EXAMPLES", "5000"))
_MEMORY_LIMIT = 400 << 20


@pytest.fixture(scope="module")
def target() -> Iterator[Engine]:
    """An engine with a container, running, a stopped one, a volume: names that the requests hit."""
    # Requests that would reach registries end at a port where nobody listens.
    engine = Engine.start("--http-proxy", "http://127.0.0.1:9", "--https-proxy", "http://127.0.0.1:9")
    prepare(engine)
    yield engine
    engine.close()


def prepare(engine: Engine) -> None:
    # It ends at once when it is stopped: waiting for that is no part of these tests.
    engine.docker("run", "-d", "--name", "sleeper", "--stop-signal", "KILL", BUSYBOX, "sleep", "10000").ok()
    engine.docker("create", "--name", "victim", "-v", "data:/data", BUSYBOX, "true").ok()


def resident(engine: Engine) -> int:
    """The engine's resident memory in bytes."""
    for line in Path(f"/proc/{engine.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the engine is gone")


@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(MANY_EXAMPLES, marks=pytest.mark.heavy)])
def test_hostile_requests(target: Engine, tell: Callable[[str], None], examples: int) -> None:
    statuses: dict[int, int] = {}
    number = 0
    began = time.monotonic()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(weighted_routes(target)))
    def one(request: Request) -> None:
        nonlocal number
        number += 1
        data = request.encode()
        status, body = send(str(target.socket), data)
        statuses[status] = statuses.get(status, 0) + 1
        check(data, status, body)
        if number % 250 == 0:
            # What was created and started must not pile up.
            target.remove_all()
            prepare(target)

    one()
    seconds = time.monotonic() - began
    tell(f"hostile requests: {number} in {seconds:.0f} s, answered with {dict(sorted(statuses.items()))}")
    assert number >= examples
    assert target.api("GET", "/_ping").status == 200
    assert resident(target) < _MEMORY_LIMIT, f"{resident(target) >> 20} MiB"
    target.docker("run", "--rm", BUSYBOX, "true").ok()


def weighted_routes(engine: Engine) -> list[tuple[str, str]]:
    """Every route; those that create and start more often, those that are not there yet once."""
    from darse.api.app import all_routes

    there, later = [], []
    for method, path in sorted(set(all_routes().templates)):
        probe = (
            engine.api(method, path.replace("{id}", "nobody").replace("{name}", "nobody"), timeout=5)
            if (path not in ("/events", "/containers/prune", "/volumes/prune", "/images/prune", "/networks/prune"))
            else None
        )
        (later if probe is not None and probe.status in (501, 503) else there).append((method, path))
    often = [route for route in there if route[1].endswith(("/create", "/start", "/exec"))]
    return there * 4 + often * 8 + later


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


CREATE = "POST /containers/create HTTP/1.1"
RAW = {
    "ten megabytes of one header": raw("GET /_ping HTTP/1.1", "Host: x", "X-Large: " + "x" * 10_000_000),
    "ten megabytes of many headers": raw("GET /_ping HTTP/1.1", *(f"X-{n}: {'y' * 90}" for n in range(100_000))),
    "a path of ten megabytes": raw("GET /" + "a" * 10_000_000 + " HTTP/1.1", "Host: x"),
    "no body": raw(CREATE, "Host: x"),
    "an empty body": raw(CREATE, "Host: x", "Content-Length: 0"),
    "a body of null": raw(CREATE, "Host: x", "Content-Length: 4", body=b"null"),
    "a body of an array": raw(CREATE, "Host: x", "Content-Length: 2", body=b"[]"),
    "a body of nested arrays": raw(CREATE, "Host: x", "Content-Length: 1000000", body=b"[" * 1_000_000),
    "a body of bytes that are no UTF-8": raw(CREATE, "Host: x", "Content-Length: 4", body=b'{"\xff\xfe'),
    "a body of forty megabytes": raw(CREATE, "Host: x", "Content-Length: 40000000", body=b'{"' + b"a" * 39_999_998),
    "a negative length": raw(CREATE, "Host: x", "Content-Length: -1"),
    "a length that is no number": raw(CREATE, "Host: x", "Content-Length: many"),
    "two lengths": raw(CREATE, "Host: x", "Content-Length: 2", "Content-Length: 3", body=b"{}"),
    "a length and chunks": raw(
        CREATE, "Host: x", "Content-Length: 2", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"
    ),
    "chunks that are none": raw(CREATE, "Host: x", "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n"),
    "a protocol that is none": raw("GET /_ping NONSENSE/9.9", "Host: x"),
    "a method that is none": raw("BREW /_ping HTTP/1.1", "Host: x"),
    "no protocol": b"GET /_ping\r\n\r\n",
    "TLS to a plain socket": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200 + b"\r\n\r\n",
    "a NUL in the path": b"GET /containers/\x00/json HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is no UTF-8": b"GET /containers/\xff\xfe/json HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": raw("GET /_ping HTTP/1.1", "Host: x", "nonsense"),
    "a path that climbs": raw("GET /containers/../../../etc/passwd HTTP/1.1", "Host: x"),
    "a path that climbs, encoded": raw("GET /containers/%2e%2e%2f%2e%2e%2fetc/json HTTP/1.1", "Host: x"),
    "a whole address": raw("GET http://elsewhere/_ping HTTP/1.1", "Host: x"),
    "an asterisk": raw("GET * HTTP/1.1", "Host: x"),
}


@pytest.mark.parametrize("name", RAW)
def test_raw_nonsense_is_answered(target: Engine, name: str) -> None:
    status, _ = send(str(target.socket), RAW[name])
    assert status < 500 or status in (501, 505), status
    assert target.api("GET", "/_ping").status == 200


def test_a_body_that_never_comes_disturbs_nobody(target: Engine) -> None:
    waiting = [connect(str(target.socket)) for _ in range(50)]
    for connection in waiting:
        connection.sendall(
            raw(CREATE, "Host: x", "Content-Type: application/json", "Content-Length: 1000", body=b'{"I')
        )
    began = time.monotonic()
    assert target.api("GET", "/containers/json").status == 200
    assert time.monotonic() - began < 5
    for connection in waiting:
        connection.close()
    assert target.api("GET", "/_ping").status == 200


def test_clients_that_go_away_in_the_middle(target: Engine) -> None:
    for path in (
        "/events",
        "/containers/sleeper/logs?follow=1&stdout=1",
        "/containers/sleeper/attach?stream=1&stdout=1",
    ):
        for _ in range(20):
            connection = connect(str(target.socket))
            method = "POST" if "attach" in path else "GET"
            connection.sendall(raw(f"{method} {path} HTTP/1.1", "Host: x", "Content-Length: 0"))
            connection.close()
    assert target.api("GET", "/_ping").status == 200
    assert target.api("GET", "/containers/sleeper/json").json()["State"]["Running"] is True


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a b", "", ".", "-x", "x" * 5000, "é", "a\x00b", "/", "//", "a;b", "sha256:abc"]
)
def test_names_that_are_none(target: Engine, name: str) -> None:
    created = target.api("POST", "/containers/create", {"Image": BUSYBOX}, query={"name": name})
    assert created.status == (201 if name == "" else 400), (name, created)
    if name:
        volume = target.api("POST", "/volumes/create", {"Name": name})
        assert volume.status == 400, (name, volume)
