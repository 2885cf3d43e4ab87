"""A transport inside a gRPC call: how clients open their session where there is no second connection.

`Control/Session` carries the bytes of an HTTP/2 connection in messages both ways. Here they come out of a pair of
sockets, so that whoever uses the connection has a transport as any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from grpclib.server import Stream

from darse.buildkit.transport.serving import request_run
from darse.buildkit.wire.control_pb2 import BytesMessage

_PIECE = 32 * 1024
# What a message begins with that has bytes.
_DATA = BytesMessage.DESCRIPTOR.fields_by_name["data"].number << 3 | 2


@contextlib.asynccontextmanager
async def tunnelled(stream: Stream[Any, Any]) -> Any:
    """For the block: the transport's socket, and the task that carries, which ends with the connection or the call."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    tasks = [asyncio.create_task(_from_peer(stream, writer)), asyncio.create_task(_to_peer(stream, reader))]
    try:
        yield theirs, tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        theirs.close()


async def _from_peer(stream: Stream[Any, Any], writer: asyncio.StreamWriter) -> None:
    # Clients send a message for each of their frames: of a directory, for each of its files.
    while True:
        run = await request_run(stream, _DATA)
        if run.starts:
            writer.write(b"".join([BytesMessage.FromString(one).data for one in run.messages()]))
        elif (message := await stream.recv_message()) is not None:
            writer.write(message.data)
        else:
            break
        await writer.drain()
        # There may be more, which has come already: others have their turn.
        await asyncio.sleep(0)
    writer.close()


async def _to_peer(stream: Stream[Any, Any], reader: asyncio.StreamReader) -> None:
    while piece := await reader.read(_PIECE):
        await stream.send_message(BytesMessage(data=piece))
