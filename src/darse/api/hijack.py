"""Hijacked connections: after the reply's head the connection belongs to the streams of a process.

The reply is `101 UPGRADED` for clients that asked to upgrade and `200 OK` for older ones; then come raw bytes, both
ways, until the process has ended or the client has gone. Clients close the writing half of the connection to say that
their input has ended, so the end of input must not end the output: aiohttp's own protocol would close the
transport, ours takes its place.

Backpressure goes through in both directions. Towards the client, a full socket stops the output; towards the
process, input that waits to be taken stops the reading.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol

from darse.aiohttp_server import BaseRequest, StreamResponse
from darse.api.authorization import check_answer
from darse.api.multiplexing import MULTIPLEXED, RAW, contents, encoding
from darse.api.server import Hijacked, ServerConnection, connection_of
from darse.containers.streams.output import Batch
from darse.linux.net.hangup import HangupWatch

if TYPE_CHECKING:
    from aiohttp.web_ws import WebSocketResponse

_INPUT_LIMIT = 256 * 1024


class Streams(Protocol):
    """The streams of a process, as `darse.containers.streams.console.Attachment` has them."""

    def output(self) -> AsyncIterator[Batch]:
        """Yield output."""

    async def write(self, data: bytes) -> None:
        """Take input."""

    async def close_stdin(self) -> None:
        """Take the end of input."""

    async def close(self) -> None:
        """The client is gone."""

    def when_let_go(self, leave: Callable[[], None]) -> None:
        """Have `leave` called if the client is let go because it does not read."""


async def hijack(
    request: BaseRequest, streams: Streams, *, multiplexed: bool, multiplexed_type: bool
) -> StreamResponse:
    """Reply, and carry the streams until they end. The streams are closed when this returns.

    `multiplexed` is whether the output goes in frames that name its stream. With `multiplexed_type` (from API 1.42 on)
    those have a content type of their own.
    """
    connection = connection_of(request)
    connection.detach_from_drain()
    transport = connection.transport
    response = Hijacked()
    response.force_close()
    if transport is None:
        await streams.close()
        return response
    kind = MULTIPLEXED if multiplexed and multiplexed_type else RAW
    upgraded = bool(request.headers.get("Upgrade"))
    try:
        await check_answer(request, 101 if upgraded else 200, {"Content-Type": kind})
    except BaseException:
        await streams.close()
        raise
    # Docker asks for no `Connection: Upgrade` beside it.
    if upgraded:
        head = f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    else:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n"
    hijacked = HijackedConnection(connection, transport, streams, encoding(multiplexed=multiplexed))
    streams.when_let_go(transport.abort)
    # The streams are bounded, so the transport need not keep more than what it could not send.
    transport.set_write_buffer_limits(high=0)
    transport.set_protocol(hijacked)
    transport.write(head.encode())
    if early := connection.take_early():
        hijacked.data_received(early)
    if connection.input_ended:
        hijacked.eof_received()
    await hijacked.run()
    return response


async def websocket(request: BaseRequest, streams: Streams) -> StreamResponse:
    """Carry the streams as binary messages, both ways, never multiplexed; as docker does for browsers."""
    from aiohttp.web_ws import WebSocketResponse  # noqa: PLC0415 - browsers' consoles are rare

    connection = connection_of(request)
    connection.detach_from_drain()
    if connection.transport is not None:
        streams.when_let_go(connection.transport.abort)
    response = WebSocketResponse(autoping=True, heartbeat=30)
    try:
        await check_answer(request, response.status, response.headers)
        await response.prepare(request)
        output = asyncio.create_task(_send_messages(response, streams))
        try:
            async for message in response:
                await streams.write(message.data if isinstance(message.data, bytes) else message.data.encode())
        finally:
            output.cancel()
            await asyncio.gather(output, return_exceptions=True)
    finally:
        await streams.close()
    return response


async def _send_messages(response: WebSocketResponse, streams: Streams) -> None:
    async for batch in streams.output():
        await response.send_bytes(contents(batch))
    await response.close()


class HijackedConnection(asyncio.Protocol):
    """The protocol of a hijacked connection."""

    def __init__(
        self,
        connection: ServerConnection,
        transport: asyncio.Transport,
        streams: Streams,
        encode: Callable[[Batch], bytes],
    ) -> None:
        """`encode` makes of the output what the client gets."""
        self._connection = connection
        self._transport = transport
        self._streams = streams
        self._encode = encode
        self._input: list[bytes] = []
        self._input_size = 0
        self._input_ended = False
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()
        self._hangup: HangupWatch | None = None

    async def run(self) -> None:
        """Carry until the output ends or the client is gone."""
        carry_input = asyncio.create_task(self._carry_input())
        carry_output = asyncio.create_task(self._carry_output())
        gone = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait((carry_output, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = (carry_input, carry_output, gone)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._streams.close()
            if self._hangup is not None:
                self._hangup.close()
            self._transport.close()
        if carry_output.done() and not carry_output.cancelled():
            carry_output.result()

    # From the client

    def data_received(self, data: bytes) -> None:
        self._input.append(data)
        self._input_size += len(data)
        if self._input_size >= _INPUT_LIMIT:
            self._transport.pause_reading()
            self._watch_for_hangup()
        self._changed.set()

    def eof_received(self) -> bool:
        self._input_ended = True
        self._changed.set()
        self._watch_for_hangup()
        return True  # the output goes on

    def _watch_for_hangup(self) -> None:
        """Nothing is read now, and perhaps nothing printed: find out all the same when the client is gone."""
        if self._hangup is None:
            self._hangup = HangupWatch(self._transport.get_extra_info("socket").fileno(), self._lost.set)

    async def _carry_input(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._input:
                data = b"".join(self._input)
                self._input.clear()
                self._input_size = 0
                await self._streams.write(data)
                if not self._lost.is_set() and not self._input_ended and self._input_size < _INPUT_LIMIT:
                    # Resuming a transport that reads is an error to none of the event loops in use.
                    with contextlib.suppress(RuntimeError):
                        self._transport.resume_reading()
            if self._input_ended:
                await self._streams.close_stdin()
                return

    # To the client

    async def _carry_output(self) -> None:
        async for batch in self._streams.output():
            if self._lost.is_set():
                return  # each write to a connection that is lost would be a warning
            self._transport.write(self._encode(batch))
            await self._writable.wait()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        self._writable.set()
        self._connection.connection_lost(exc)
