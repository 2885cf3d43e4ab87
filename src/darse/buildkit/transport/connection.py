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
from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.events import UnknownFrameReceived
from h2.exceptions import ProtocolError

from darse.buildkit.transport.frames import DataRun, FrameReader
from darse.buildkit.transport.stream_buffer import MESSAGE_LIMIT, StreamBuffer

# How long frames are read before others have a turn of the event loop.
_TURN_SECONDS = 0.01
# What is read behind a fault, that the peer sees why its connection ends: for how long, and how many bytes.
_DISCARD_SECONDS, _MOST_DISCARDED = 2.0, 1 << 20
_log = logging.getLogger("darse.buildkit")


class BoundedProtocol(H2Protocol):
    """The protocol of one connection; `lost` says when it is over."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lost = asyncio.Event()
        self._former: asyncio.Protocol | None = None
        self._frames: FrameReader | None = None
        self._is_between = False
        """Whether what has come is read in the next turns; meanwhile the transport reads nothing."""
        self._transport: asyncio.Transport | None = None
        self._discarding: asyncio.TimerHandle | None = None
        self._discarded = 0

    def carry_on(self, former: asyncio.Protocol) -> None:
        """Follow another protocol on its transport: that one's `connection_lost` is called, too."""
        self._former = former

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to talk."""
        super().connection_made(transport)
        self._transport = cast(asyncio.Transport, transport)
        self._frames = FrameReader(self.connection._connection)
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

    def data_received(self, data: bytes) -> None:
        """Take what the peer sends. What HTTP/2 does not allow, and what grpclib does not know, ends the connection."""
        if self._discarding is not None:
            self._discarded += len(data)
            if self._discarded > _MOST_DISCARDED:
                self._end_discarding()
            return
        assert self._frames is not None
        self._frames.add(data)
        if not self._is_between:
            self._read()

    def _read(self) -> None:
        self._is_between = False
        if self.lost.is_set() or self.connection.is_closing():
            return
        assert self._transport is not None
        try:
            is_all = self._read_frames(time.monotonic() + _TURN_SECONDS)
        except Exception as error:
            _log.info("a gRPC connection is closed: %s", error or type(error).__name__)
            self._end_with_reason(error.error_code if isinstance(error, ProtocolError) else ErrorCodes.INTERNAL_ERROR)
            return
        if is_all:
            self._transport.resume_reading()
        else:
            self._is_between = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read)

    def _read_frames(self, end: float) -> bool:
        """Whether all that has come is read, and not only what there was time for. Raises ProtocolError, and others."""
        assert self._frames is not None
        while not self.connection.is_closing() and (found := self._frames.next()) is not None:
            if isinstance(found, DataRun):
                self._take_data(found)
            else:
                events = self.connection.feed(found)
                self.connection.flush()
                for event in events:
                    self.processor.process(event)
                self.connection.flush()
            if time.monotonic() > end:
                return False
        return True

    def _take_data(self, run: DataRun) -> None:
        """As EventsProcessor.process_data_received."""
        size = len(run.data)
        if (stream := self.processor.streams.get(run.stream)) is None:
            self.connection.ack(run.stream, size)
            return
        stream.buffer.add(run.data, size)
        stream.data_received += size
        self.connection.data_received += size
        self.connection.last_data_received = time.monotonic()

    def _end_with_reason(self, code: ErrorCodes) -> None:
        """End all calls, and say why; then read on for a moment.

        What a peer has sent behind its fault is unread when the connection is closed: TCP then resets it, and the
        peer may never see the reason.
        """
        assert self._transport is not None
        assert self._frames is not None
        if self._transport.is_closing():
            return
        self._frames.clear()
        h2 = self.connection._connection
        # h2 has written GOAWAY itself where it has found the fault.
        if h2.state_machine.state is not ConnectionState.CLOSED:
            h2.close_connection(code)
        self.connection.flush()
        self.connection._transport = cast(asyncio.Transport, _KeptOpen(self._transport))
        self.processor.close("Protocol error")
        self._discarding = asyncio.get_running_loop().call_later(_DISCARD_SECONDS, self._end_discarding)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()

    def _end_discarding(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The peer is gone: calls end."""
        if self._discarding is not None:
            self._discarding.cancel()
        if not self.lost.is_set():
            self.lost.set()
            super().connection_lost(exc)
            if self._former is not None:
                self._former.connection_lost(exc if isinstance(exc, Exception) else None)


class _KeptOpen:
    """The transport of a connection that grpclib is to take for closed."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """See asyncio.BaseTransport."""
        return True

    def close(self) -> None:
        """Leave it open."""


async def _receive(receive: Callable[[int], Awaitable[bytes]], size: int) -> bytes:
    if size > MESSAGE_LIMIT:
        raise GRPCError(
            Status.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {MESSAGE_LIMIT})"
        )
    return await receive(size)
