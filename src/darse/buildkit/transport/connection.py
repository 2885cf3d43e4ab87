"""An HTTP/2 connection of grpclib, bounded: what a peer sends wrongly ends it, and no message is larger than a limit.

grpclib keeps what a peer has sent within the windows of flow control, but gives credit back while it puts a message
together, whose length is the peer's to say.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import Connection, H2Protocol, Stream
from h2.events import UnknownFrameReceived

from darse.buildkit.transport.stream_buffer import StreamBuffer

#: Bytes of one message, as BuildKit limits them.
MESSAGE_LIMIT = 16 << 20
# What is read in one piece, in bytes: it may be hundreds of calls.
_PIECE = 4 << 10
# How long pieces are read before others have a turn of the event loop.
_TURN_SECONDS = 0.01
_log = logging.getLogger("darse.buildkit")


class BoundedProtocol(H2Protocol):
    """The protocol of one connection; `lost` says when it is over."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lost = asyncio.Event()
        self.when_lost: Callable[[Exception | None], None] | None = None
        #: What has come and is read in the next turns; meanwhile the transport reads nothing.
        self._unread = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to talk."""
        super().connection_made(transport)
        self._transport = cast(asyncio.Transport, transport)
        # Extensions are passed over (RFC 9113, 5.5): grpclib takes them for faults.
        self.processor.processors[UnknownFrameReceived] = lambda _: None
        create = self.connection.create_stream

        def create_bounded(**options: Any) -> Stream:
            stream = create(**options)
            begin = stream.init_stream

            def begin_buffered(stream_id: int, connection: Connection) -> None:
                begin(stream_id, connection)
                stream.buffer = StreamBuffer(functools.partial(connection.ack, stream_id))

            stream.init_stream = begin_buffered  # type: ignore[method-assign]
            if stream.id is not None:
                stream.buffer = StreamBuffer(functools.partial(self.connection.ack, stream.id))
            receive = stream.recv_data
            stream.recv_data = functools.partial(_receive, receive)  # type: ignore[method-assign]
            return stream

        self.connection.create_stream = create_bounded  # type: ignore[method-assign]
        close = self.connection.close

        def close_with_reason() -> None:
            """Say why: h2 has written GOAWAY where the peer was wrong, and grpclib does not send it."""
            if not self.lost.is_set():
                self.connection.flush()
            close()

        self.connection.close = close_with_reason  # type: ignore[method-assign]

    def data_received(self, data: bytes) -> None:
        """Take what the peer sends. What HTTP/2 does not allow, and what grpclib does not know, ends the connection."""
        is_between = bool(self._unread)
        self._unread += data
        if not is_between:
            self._read()

    def _read(self) -> None:
        if self.lost.is_set():
            return
        end = time.monotonic() + _TURN_SECONDS
        try:
            while self._unread and not self.lost.is_set():
                piece = bytes(self._unread[:_PIECE])
                super().data_received(piece)
                del self._unread[:_PIECE]
                if time.monotonic() > end:
                    break
        except Exception as error:
            _log.info("a gRPC connection is closed: %s", error or type(error).__name__)
            self.processor.close("Protocol error")
            return
        assert self._transport is not None
        if self._unread:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read)
        else:
            self._transport.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The peer is gone: calls end."""
        if not self.lost.is_set():
            self.lost.set()
            super().connection_lost(exc)
            if self.when_lost is not None:
                self.when_lost(exc if isinstance(exc, Exception) else None)


async def _receive(receive: Callable[[int], Awaitable[bytes]], size: int) -> bytes:
    if size > MESSAGE_LIMIT:
        raise GRPCError(
            Status.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {MESSAGE_LIMIT})"
        )
    return await receive(size)
