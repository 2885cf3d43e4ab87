"""A transport inside a call."""

from __future__ import annotations

import asyncio
import secrets
import socket
from typing import Any

from grpclib.client import StreamStreamMethod
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from darse.buildkit.transport import TransportChannel, service_protocol
from darse.buildkit.transport.tunnel import tunnelled
from darse.buildkit.wire.control_pb2 import BytesMessage
from tests.unit.buildkit.transport.test_connections import transport_of

_PATH = "/echo/Echo"


class Echo:
    """Sends back what comes through."""

    def __mapping__(self) -> dict[str, Handler]:
        return {_PATH: Handler(self.echo, Cardinality.STREAM_STREAM, BytesMessage, BytesMessage)}

    async def echo(self, stream: Stream[Any, Any]) -> None:
        async with tunnelled(stream) as (connection, tasks):
            reader, writer = await asyncio.open_connection(sock=connection)
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
            writer.close()
            await asyncio.wait(tasks)


async def test_bytes_go_through_in_order_whatever_messages_they_come_in() -> None:
    ours, theirs = socket.socketpair()
    protocol = service_protocol([Echo()])
    protocol.serve(await transport_of(ours))
    channel = TransportChannel()
    channel.open(await transport_of(theirs))
    pieces = [secrets.token_bytes(size) for size in (*[1, 70, 100] * 500, 0, 300_000, 5, 0, 0, 40_000)]
    wanted, found = b"".join(pieces), bytearray()

    async def send(stream: Any) -> None:
        for piece in pieces:
            await stream.send_message(BytesMessage(data=piece))

    call = StreamStreamMethod(channel, _PATH, BytesMessage, BytesMessage)
    async with asyncio.timeout(20), call.open() as stream:
        await stream.send_request()
        sending = asyncio.create_task(send(stream))
        while len(found) < len(wanted):
            found += (await stream.recv_message()).data
        await sending
        await stream.end()
    assert bytes(found) == wanted
    channel.close()
    await protocol.ended()
