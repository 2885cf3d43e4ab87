"""Clients that do not read, or do not speak, cost the engine little and others nothing."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import connect
from tests.support.waiting import wait_until

_PING = 0.1
_ATTACH = b"POST /containers/noisy/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
_EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
_NOISE = 'i=0; while :; do i=$((i+1)); echo $i > /next; mv /next /count; head -c 60000 /dev/zero | tr "\\0" x; done'


@pytest.fixture(scope="module")
def target() -> Iterator[Engine]:
    """An engine, with descriptors enough for this process's own ends of the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    engine = Engine.start()
    yield engine
    engine.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident(engine: Engine) -> int:
    """The engine's own memory in bytes."""
    for line in Path(f"/proc/{engine.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the engine is gone")


def patient(engine: Engine) -> socket.socket:
    """A connection, also when the engine is about to accept as many as the kernel keeps waiting (unix(7): EAGAIN)."""

    def attempt() -> socket.socket | None:
        try:
            return connect(str(engine.socket))
        except BlockingIOError:
            return None

    return wait_until(attempt, 30)


def silent(engine: Engine, request: bytes, count: int) -> list[socket.socket]:
    """Clients that read no more than the beginning of their answer."""
    opened = []
    for _ in range(count):
        connection = patient(engine)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request)
        opened.append(connection)
    for connection in opened:
        assert connection.recv(12).startswith(b"HTTP/1.1 200")
    return opened


def slowest_ping(engine: Engine, seconds: float) -> float:
    """How long the engine lets a bystander wait: the second longest of many, for the machine may be busy elsewhere."""
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        assert engine.api("GET", "/_ping", timeout=60).status == 200
        took.append(time.monotonic() - begun)
        time.sleep(0.02)
    return sorted(took)[-2 if len(took) > 1 else -1]


def counted(engine: Engine) -> int:
    return int(engine.docker("exec", "noisy", "cat", "/count").ok().out or 0)


def crowd(target: Engine, count: int, tell: Callable[[str], None]) -> None:
    target.docker("run", "-d", "--name", "noisy", "--log-opt", "max-size=1m", BUSYBOX, "sh", "-c", _NOISE).ok()
    before = resident(target)
    clients = silent(target, _ATTACH, count)
    slowest = slowest_ping(target, 8)
    highest = resident(target)
    # They are let go, and the container goes on.
    wait_until(lambda: "do not read, and are let go" in target.log(), 40)
    first = counted(target)
    wait_until(lambda: counted(target) > first, 20)
    for client in clients:
        client.close()
    # Their buffers come back; of what connections are made of, holes in the heap stay, for the next ones.
    wait_until(lambda: resident(target) < before + (12 << 20) + count * (24 << 10), 20)
    after = resident(target)
    tell(
        f"{count} attachments that do not read: slowest ping {slowest * 1000:.0f} ms; memory {before >> 20} MiB, "
        f"{highest >> 20} MiB with them, {after >> 20} MiB after them"
    )
    target.docker("rm", "-f", "noisy").ok()
    assert slowest < _PING
    assert highest < before + count * (160 << 10) + (16 << 20)


def test_attachments_that_do_not_read(target: Engine, tell: Callable[[str], None]) -> None:
    crowd(target, 300, tell)


@pytest.mark.heavy
def test_1500_attachments_that_do_not_read(target: Engine, tell: Callable[[str], None]) -> None:
    crowd(target, 1500, tell)


def test_subscribers_of_events_that_do_not_read(target: Engine, tell: Callable[[str], None]) -> None:
    before = resident(target)
    clients = silent(target, _EVENTS, 200)
    label = {"large": "x" * 20_000}
    for _ in range(120):
        made = target.api("POST", "/volumes/create", {"Name": "eventful", "Labels": label})
        assert made.status == 201
        created = target.api("POST", "/containers/create", {"Image": BUSYBOX, "Labels": label}).json()["Id"]
        assert target.api("DELETE", f"/containers/{created}").status == 204
    highest = resident(target)
    assert slowest_ping(target, 1) < _PING
    for client in clients:
        client.close()
    wait_until(lambda: resident(target) < before + (24 << 20), 20)
    tell(f"200 silent subscribers of events: {before >> 20} MiB, {highest >> 20}, then {resident(target) >> 20} MiB")
    assert highest < before + (64 << 20)


def test_a_client_that_leaves_is_one_line_at_most(target: Engine) -> None:
    target.docker("run", "-d", "--name", "noisy", BUSYBOX, "sh", "-c", _NOISE).ok()
    written = target.log_path.stat().st_size
    for request in (
        _ATTACH,
        b"GET /containers/noisy/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /containers/noisy/stats HTTP/1.1\r\nHost: x\r\n\r\n",
        _EVENTS,
    ):
        connection = connect(str(target.socket))
        connection.sendall(request)
        connection.recv(12)
        time.sleep(0.2)
        connection.close()
    created = target.api("POST", "/containers/noisy/exec", {"Cmd": ["cat", "/dev/zero"], "AttachStdout": True}).json()
    connection = connect(str(target.socket))
    body = json.dumps({"Detach": False}).encode()
    head = f"POST /exec/{created['Id']}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    connection.recv(100_000)
    connection.close()
    target.docker("rm", "-f", "noisy").ok()
    with target.log_path.open(errors="replace") as log:
        log.seek(written)
        lines = [line for line in log if "noisy" in line or "raised" in line or "Traceback" in line or "Error" in line]
    assert len(lines) <= 5, "".join(lines)


def test_connections_without_a_request_are_bounded(target: Engine) -> None:
    """Thousands that say nothing, and thousands that never end their request's head."""
    before = resident(target)
    clients = []
    for number in range(3000):
        connection = patient(target)
        if number % 2:
            connection.sendall(b"GET /_ping HTTP/1.1\r\nX-Slow: ")
        clients.append(connection)
    # It stands in line behind those that the kernel keeps waiting.
    assert target.api("GET", "/_ping").status == 200
    assert slowest_ping(target, 1) < _PING
    assert resident(target) < before + (48 << 20)
    # The oldest have been closed.
    clients[0].settimeout(5)
    assert clients[0].recv(1) == b""
    for connection in clients:
        connection.close()
    assert target.api("GET", "/_ping").status == 200
