"""A channel of calls over a transport that is open already."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from grpclib.client import Channel, Handler, Stream
from grpclib.encoding.proto import ProtoCodec
from grpclib.protocol import H2Protocol

from darse.buildkit.transport.connection import BoundedProtocol
from darse.buildkit.transport.status import DetailsCodec
from darse.buildkit.transport.stream_buffer import MessageRun, StreamBuffer


class TransportChannel(Channel):
    """Calls the gRPC server at the other end of a transport. A channel whose transport is lost is not opened again."""

    def __init__(self) -> None:
        super().__init__("localhost", codec=ProtoCodec(), status_details_codec=DetailsCodec())
        self.protocol = BoundedProtocol(Handler(), self._config, self._h2_config)

    def open(self, transport: asyncio.Transport, early: bytes = b"") -> None:
        """Take a transport. early: what the peer has sent already."""
        transport.set_protocol(self.protocol)
        self.protocol.connection_made(transport)
        self._protocol = self.protocol
        if early:
            self.protocol.data_received(early)

    @property
    def is_lost(self) -> bool:
        """Whether the connection is over."""
        return self.protocol.lost.is_set() or self._protocol is None

    async def _create_connection(self) -> H2Protocol:
        raise ConnectionError("the client's session is closed")

    def close(self) -> None:
        """Close the connection."""
        if self._protocol is not None:
            super().close()
            self._protocol = None


async def answer_run(stream: Stream[Any, Any], first: int) -> MessageRun:
    """The next messages of an answer that are here, as far as each begins with a byte; waits for one.

    They are not decoded. Where there is none, the next message begins otherwise, is too large, or is the end: it is
    `recv_message` that says which.
    """
    if not stream._recv_initial_metadata_done:
        await stream.recv_initial_metadata()
    buffer = cast(StreamBuffer, stream._stream.buffer)
    with stream._wrapper:
        await buffer.wait_for_message()
    return buffer.take_messages(first)
