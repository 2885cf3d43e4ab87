"""Serves gRPC on a transport.

grpclib#217: a call that is reset before its task first ran never gives back what the peer may send, so that a long
connection stops for ever: a task that is cancelled then runs nothing, its `finally` neither. Here what such a task
would have released is released by whoever cancels it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from grpclib.config import Configuration
from grpclib.const import Handler as Method
from grpclib.const import Status
from grpclib.encoding.proto import ProtoCodec
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError
from grpclib.metadata import encode_grpc_message
from grpclib.protocol import Stream
from grpclib.server import Handler, request_handler
from grpclib.server import Stream as Call
from h2.config import H2Configuration
from h2.exceptions import StreamClosedError

from darse.buildkit.transport.connection import BoundedProtocol
from darse.buildkit.transport.status import DetailsCodec
from darse.buildkit.transport.stream_buffer import MessageRun, StreamBuffer


async def request_of(stream: Call[Any, Any]) -> Any:
    """The message of a call that has one. Raises GRPCError where the client has sent none."""
    message = await stream.recv_message()
    if message is None:
        raise GRPCError(Status.INVALID_ARGUMENT, "the call has no message")
    return message


async def request_run(stream: Call[Any, Any], first: int) -> MessageRun:
    """The next messages of a request that are here: as `darse.buildkit.transport.calling.answer_run`."""
    buffer = cast(StreamBuffer, stream._stream.buffer)
    await buffer.wait_for_message()
    return buffer.take_messages(first)


class Servicer(Protocol):
    """An implementation of a service, as grpclib generates its base."""

    def __mapping__(self) -> dict[str, Method]:
        """Methods by their paths."""
        ...


class ServiceHandler(Handler):
    """The calls of one connection."""

    def __init__(self, services: Sequence[Servicer]) -> None:
        mapping: dict[str, Method] = {}
        for service in services:
            mapping.update(service.__mapping__())
        super().__init__(mapping, ProtoCodec(), DetailsCodec(), _DispatchServerEvents())
        self._waiting: dict[Stream, Callable[[], Any]] = {}
        """What calls have to release whose tasks have not run yet."""

    def accept(self, stream: Stream, headers: Any, release_stream: Callable[[], Any]) -> None:
        """Serve a call."""
        self.__gc_step__()
        self._waiting[stream] = release_stream
        self._tasks[stream] = self.loop.create_task(self._serve(stream, headers, release_stream))

    async def _serve(self, stream: Stream, headers: Any, release_stream: Callable[[], Any]) -> None:
        del self._waiting[stream]
        path = dict(headers).get(":path", "")
        if path not in self.mapping:
            await _refuse(stream, f"unknown method {path}", release_stream)
            return
        await request_handler(
            self.mapping, stream, headers, self.codec, self.status_details_codec, self.dispatch, release_stream
        )

    def cancel(self, stream: Stream) -> None:
        """End a call that the peer has reset."""
        task = self._tasks.pop(stream, None)
        if task is not None:
            task.cancel()
            self._cancelled.add(task)
        if (release := self._waiting.pop(stream, None)) is not None:
            release()

    def close(self) -> None:
        """End all calls: the connection is over."""
        super().close()
        self._waiting.clear()


async def _refuse(stream: Stream, message: str, release_stream: Callable[[], Any]) -> None:
    """Say that there is no such method, in a form that all clients take for an answer of gRPC: with a content type."""
    try:
        status = [("grpc-status", str(Status.UNIMPLEMENTED.value)), ("grpc-message", encode_grpc_message(message))]
        await stream.send_headers([(":status", "200"), ("content-type", "application/grpc"), *status], end_stream=True)
        if stream.closable:
            stream.reset_nowait()
    except StreamClosedError:
        pass  # the client has gone on
    finally:
        release_stream()


class ServiceProtocol(BoundedProtocol):
    """One connection on which services are called."""

    handler: ServiceHandler

    def serve(self, transport: asyncio.Transport, early: bytes = b"") -> None:
        """Take a transport. early: what the peer has sent already."""
        transport.set_protocol(self)
        self.connection_made(transport)
        if early:
            self.data_received(early)

    async def ended(self) -> None:
        """Return when the connection is over, and all calls have ended."""
        await self.lost.wait()
        await self.handler.wait_closed()


def service_protocol(services: Sequence[Servicer]) -> ServiceProtocol:
    """The protocol of a connection on which these services are called."""
    config = Configuration().__for_server__()
    h2_config = H2Configuration(client_side=False, header_encoding="utf-8")
    return ServiceProtocol(ServiceHandler(services), config, h2_config)
