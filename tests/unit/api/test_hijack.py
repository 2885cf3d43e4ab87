"""Hijacked connections: heads, both directions, half-close, backpressure, departures."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.api.conftest import FakeStreams, Served

Until = Callable[[Callable[[], bool]], Any]


@pytest.mark.parametrize(
    ("version", "multiplexed", "expected"),
    [
        ("/v1.41", True, b"application/vnd.docker.raw-stream"),
        ("/v1.42", True, b"application/vnd.docker.multiplexed-stream"),
        ("", True, b"application/vnd.docker.multiplexed-stream"),
        ("/v1.51", False, b"application/vnd.docker.raw-stream"),
    ],
)
async def test_content_type(served: Served, version: str, multiplexed: bool, expected: bytes) -> None:
    served.engine.containers.attachment = FakeStreams(terminal=not multiplexed)
    head, _, _ = await served.upgrade(f"{version}/containers/box/attach?stream=1&stdout=1")
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    assert b"Content-Type: " + expected + b"\r\n" in head
    assert b"Upgrade: tcp\r\n" in head


async def test_without_upgrade_the_head_is_a_plain_200(served: Served) -> None:
    head, reader, writer = await served.upgrade("/containers/box/attach?stream=1&stdin=1&stdout=1", upgrade=False)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    writer.write(b"abc")
    assert await reader.readexactly(3) == b"ABC"


async def test_output_goes_on_after_the_clients_half_close(served: Served) -> None:
    _, reader, writer = await served.upgrade("/containers/box/attach?stream=1&stdin=1&stdout=1")
    writer.write(b"hello ")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b"HELLO [end]"
    assert served.engine.containers.attachment.closed.is_set()


async def test_input_that_came_with_the_request_is_not_lost(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(
        b"POST /containers/box/attach?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly"
    )
    await reader.readuntil(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(5), 5) == b"EARLY"


async def test_input_and_its_end_may_come_with_the_request(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(
        b"POST /containers/box/attach?stream=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly"
    )
    writer.write_eof()
    assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"EARLY[end]")


async def test_the_end_of_output_ends_the_connection(served: Served) -> None:
    _, reader, _ = await served.upgrade("/containers/box/attach?stream=1&stdout=1")
    served.engine.containers.attachment.put(b"bye")
    served.engine.containers.attachment.end()
    assert await asyncio.wait_for(reader.read(), 5) == b"bye"


async def test_a_client_that_vanishes_closes_its_streams(served: Served, until: Until) -> None:
    _, _, writer = await served.upgrade("/containers/box/attach?stream=1&stdout=1")
    writer.transport.abort()
    await until(served.engine.containers.attachment.closed.is_set)
    await until(lambda: not served.server.connections)


async def test_a_client_that_vanishes_after_its_half_close_is_noticed_by_the_next_output(
    served: Served, until: Until
) -> None:
    streams = served.engine.containers.attachment
    streams.close_stdin = streams.input_ended.wait
    _, _, writer = await served.upgrade("/containers/box/attach?stream=1&stdin=1&stdout=1")
    writer.write_eof()
    writer.close()
    async with asyncio.timeout(10):
        while not streams.closed.is_set():
            streams.put(b"x")
            await asyncio.sleep(0)
    await until(lambda: not served.server.connections)


async def test_a_client_that_vanishes_while_its_input_waits_is_noticed(served: Served, until: Until) -> None:
    streams = served.engine.containers.attachment
    streams.room.clear()
    _, _, writer = await served.upgrade("/containers/box/attach?stream=1&stdin=1&stdout=1")
    sending = asyncio.create_task(_send(writer, b"x" * (8 * 1024 * 1024)))
    await asyncio.wait([sending], timeout=0.1)
    writer.transport.abort()
    await until(streams.closed.is_set)
    sending.cancel()


async def test_input_waits_for_a_slow_process(served: Served, until: Until) -> None:
    streams = served.engine.containers.attachment
    streams.room.clear()
    _, reader, writer = await served.upgrade("/containers/box/attach?stream=1&stdin=1&stdout=1")
    data = os.urandom(8 * 1024 * 1024)
    sending = asyncio.create_task(_send(writer, data))
    done, _ = await asyncio.wait([sending], timeout=0.1)
    assert not done, "everything was taken although the process takes nothing"
    assert streams.received == b""
    streams.room.set()
    received = bytearray()
    while not received.endswith(b"[end]"):
        received += await asyncio.wait_for(reader.read(1 << 20), 10)
    assert bytes(streams.received) == data
    assert received[:-5] == data.upper()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
    writer.write_eof()


async def test_output_waits_for_a_slow_client(served: Served, until: Until) -> None:
    streams = served.engine.containers.attachment
    given = 0

    async def output() -> Any:
        nonlocal given
        for _ in range(1000):
            given += 1
            yield [(1, b"x" * 65536)]

    streams.output = output
    _, reader, writer = await served.upgrade("/containers/box/attach?stream=1&stdout=1")
    (connection,) = served.server.connections
    assert connection.transport is not None
    transport = connection.transport
    # The client's buffer is full, so it reads no more, and so is that of the engine's side.
    await until(lambda: not writer.transport.is_reading() and transport.get_write_buffer_size() > 0)
    assert given < 200, "the output was not held back"
    size = 0
    while piece := await asyncio.wait_for(reader.read(1 << 20), 10):
        size += len(piece)
    assert size == 1000 * 65536


async def test_a_refusal_is_an_ordinary_answer_and_the_connection_goes_on(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(
        b"POST /containers/no/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    assert b"HTTP/1.1 200 OK" in await asyncio.wait_for(reader.readuntil(b"OK\r\n"), 5)


async def test_websocket_carries_plain_data_both_ways(served: Served) -> None:
    served.engine.containers.attachment = streams = FakeStreams(terminal=False)
    reader, writer = await served.connect()
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        b"GET /containers/box/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key.encode() + b"\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    mask = b"\1\2\3\4"
    payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(b"hi"))
    writer.write(b"\x82\x82" + mask + payload)
    assert await asyncio.wait_for(reader.readexactly(4), 5) == b"\x82\x02HI"
    streams.end()
    assert (await asyncio.wait_for(reader.readexactly(1), 5)) == b"\x88"


async def test_websocket_needs_a_container_and_then_a_handshake(served: Served) -> None:
    assert (await served.request("GET", "/containers/no/attach/ws")).status == 404
    assert (await served.request("GET", "/containers/box/attach/ws")).status == 400
    assert served.engine.containers.attachment.closed.is_set()


async def test_an_upgrade_header_alone_upgrades(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(b"POST /containers/box/attach?stream=1 HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n\r\nearly")
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 101 UPGRADED")
    assert answer.endswith(b"EARLY[end]")


@pytest.mark.parametrize("upgrade", [{"Connection": "Upgrade", "Upgrade": "tcp"}, {}])
async def test_a_refused_attachment_is_told_as_text(served: Served, upgrade: dict[str, str]) -> None:
    """Docker writes the plain message where the stream would begin."""
    answer = await served.request("POST", "/containers/no/attach?stream=1", headers=upgrade)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/vnd.docker.raw-stream")
    assert answer.body == b"No such container: no\r\n"
