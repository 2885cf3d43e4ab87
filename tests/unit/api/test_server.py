"""What is no proper HTTP, and clients that take their time or leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from darse.api import body, server
from darse.containers.streams.output import STDOUT, Batch
from darse.core.errors import SystemFault
from darse.wire.containers import WaitResponse
from tests.unit.api.conftest import Served, read_answer


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n", 400),
        (b"GET /_ping HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 10_000_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /_ping HTTP/1.1\r\n" + b"A: x\r\n" * 100_000 + b"\r\n", 431),
        (b"GET http://[::1/_ping HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}", 400),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{}", 413),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400),
    ],
)
async def test_malformed_and_oversized_requests_are_answered(served: Served, data: bytes, status: int) -> None:
    answer = await served.raw(data)
    assert answer.status == status
    assert answer.message
    assert answer.headers["server"].startswith("darse/")
    assert (await served.request("GET", "/_ping")).status == 200


async def test_a_body_that_grows_too_large_is_refused_while_it_comes(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "SIZE_LIMIT", 1000)
    head = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    answer = await served.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b" " * 0x400 + b"\r\n")
    assert answer.status == 413


async def test_a_body_that_never_comes_ends_with_an_error(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_SECONDS", 0.05)
    answer = await served.raw(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    assert (answer.status, "not complete" in answer.message) == (400, True)


async def test_a_head_that_is_never_complete_ends_the_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.05)
    reader, writer = await served.connect()
    writer.write(b"GET /_ping HTTP/1.1\r\nHost:")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    # also after a first request on the same connection
    reader, writer = await served.connect()
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await read_answer(reader)).status == 200
    writer.write(b"GET /_ping HT")
    assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_the_limits_end_where_a_stream_begins(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(b"POST /containers/box/wait HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    (connection,) = served.server.connections
    assert connection._head_timer is None
    assert connection._idle_timer is None
    served.engine.containers.ended.set_result(WaitResponse(3))
    assert b'"StatusCode":3' in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)


async def test_many_requests_on_one_connection(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
    for _ in range(40):
        assert (await asyncio.wait_for(read_answer(reader), 5)).body == b"OK"


async def test_a_wait_is_given_up_when_its_client_leaves(
    served: Served, until: Callable[[Callable[[], bool]], Any]
) -> None:
    reader, writer = await served.connect()
    writer.write(b"POST /containers/box/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert served.engine.containers.calls == [("wait", "next-exit")]
    writer.close()
    await until(served.engine.containers.ended.cancelled)


async def test_following_a_log_ends_when_its_client_leaves(
    served: Served, until: Callable[[Callable[[], bool]], Any]
) -> None:
    streams = served.engine.containers.attachment
    reader, writer = await served.connect()
    writer.write(b"GET /containers/box/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await until(streams.closed.is_set)
    await until(lambda: ("close_log", "box") in served.engine.containers.calls)


async def test_an_event_is_sent_at_once(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    served.engine.events.publish("network", "create", "abc", {"name": "n"})
    await asyncio.wait_for(reader.readline(), 5)
    assert b'"Action":"create"' in await asyncio.wait_for(reader.readline(), 5)
    assert served.engine.events.listeners == 1


async def test_a_stream_that_fails_in_the_middle_ends_the_connection_and_sends_no_second_answer(served: Served) -> None:
    streams = served.engine.containers.attachment

    async def output() -> AsyncIterator[Batch]:
        yield [(STDOUT, b"first")]
        await asyncio.sleep(0)
        raise SystemFault("the disk is gone")

    streams.output = output
    reader, writer = await served.connect()
    writer.write(b"GET /containers/box/logs?stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.endswith(b"first\r\n"), "the end of the chunks would say that all is well"


async def test_a_stream_that_fails_at_once_is_an_ordinary_error(served: Served) -> None:
    async def output() -> AsyncIterator[Batch]:
        raise SystemFault("the disk is gone")
        yield b""

    served.engine.containers.attachment.output = output
    answer = await served.request("GET", "/containers/box/logs?stdout=1")
    assert (answer.status, answer.message) == (500, "the disk is gone")


async def test_events_end_at_until_also_when_some_came(served: Served) -> None:
    reader, writer = await served.connect()
    soon = time.time() + 0.3
    writer.write(f"GET /events?until={soon:.3f}&since=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    served.engine.events.publish("network", "create", "abc", {"name": "n"})
    served.engine.events.publish("network", "destroy", "abc", {"name": "n"})
    rest = await asyncio.wait_for(reader.read(), 5)
    assert (rest.count(b'"Action"'), rest.endswith(b"0\r\n\r\n")) == (2, True)
    assert time.time() >= soon - 0.01
    assert served.engine.events.listeners == 0


async def test_past_events_are_replayed_and_filtered(served: Served) -> None:
    for name in ("a", "b"):
        served.engine.events.publish("network", "create", name, {"name": name})
    now = time.time()
    answer = await served.request("GET", f"/events?since=0&until={now + 0.001:.9f}")
    assert answer.body.count(b'"Action":"create"') == 2
    filtered = await served.request("GET", f'/events?since=0&until={now:.9f}&filters={{"network":["b"]}}')
    assert b'"ID":"b"' in filtered.body
    assert b'"ID":"a"' not in filtered.body


@pytest.mark.parametrize("count", [1, 3])
async def test_a_client_may_end_its_input_behind_its_requests(served: Served, count: int) -> None:
    reader, writer = await served.connect()
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" * count)
    writer.write_eof()
    assert (await asyncio.wait_for(reader.read(), 5)).count(b"\r\n\r\nOK") == count


async def test_an_operation_is_answered_to_a_client_that_ended_its_input(
    served: Served, until: Callable[[Callable[[], bool]], Any]
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def start(reference: str) -> None:
        begun.set()
        await go_on.wait()

    served.engine.containers.start = start
    reader, writer = await served.connect()
    writer.write(b"POST /containers/box/start HTTP/1.1\r\nHost: x\r\n\r\n")
    await begun.wait()
    writer.write_eof()
    (connection,) = served.server.connections
    await until(lambda: connection.input_ended)
    go_on.set()
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 204 ")


async def test_an_end_of_input_in_the_middle_of_a_body_ends_the_connection(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await served.connect()
    writer.write(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    writer.write_eof()
    assert b"201" not in await asyncio.wait_for(reader.read(), 5)
    async with asyncio.timeout(5):
        while served.server.connections:  # aiohttp tells its server some turns of the loop later
            await asyncio.sleep(0)
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == []


async def test_a_body_that_looks_like_a_request_to_upgrade_is_a_body(served: Served) -> None:
    text = b'{"Image": 1}\r\nUpgrade: tcp\r\n\r\nand so on'
    reader, writer = await served.connect()
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await asyncio.wait_for(read_answer(reader), 5)).status == 200
    writer.write(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(text))
    # The head is read by itself: the connection answers nothing yet, and another one shows that the engine goes on.
    assert (await served.request("GET", "/_ping")).status == 200
    writer.write(text)
    assert (await asyncio.wait_for(read_answer(reader), 5)).status == 400
