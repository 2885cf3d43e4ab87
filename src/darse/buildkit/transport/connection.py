"""An HTTP/2 connection of grpclib, bounded: what a peer sends wrongly ends it, and no message is larger than a limit.

grpclib keeps what a peer has sent within the windows of flow control, but gives credit back while it puts a message
together, whose length is the peer's to say.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol, Stream

#: Bytes of one message, as BuildKit limits them.
MESSAGE_LIMIT = 16 << 20
_log = logging.getLogger("darse.buildkit")


class BoundedProtocol(H2Protocol):
    """The protocol of one connection; `lost` says when it is over."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lost = asyncio.Event()
        self.when_lost: Callable[[Exception | None], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to talk."""
        super().connection_made(transport)
        create = self.connection.create_stream

        def create_bounded(**options: Any) -> Stream:
            stream = create(**options)
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
        if self.lost.is_set():
            return
        try:
            super().data_received(data)
        except Exception as error:
            _log.info("a gRPC connection is closed: %s", error or type(error).__name__)
            self.processor.close("Protocol error")

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
