"""The frames of HTTP/2 in what a peer has sent: runs of plain DATA are read here, everything else by h2.

h2 makes objects, flags and events of each frame, some 25 µs: half of the time of a directory of twenty thousand files,
each a DATA frame of a hundred bytes. A frame of DATA without padding that does not end its stream, on a stream that is
open, changes nothing but two windows: its content is cut out here, and h2 gets their sum once.

h2 is fed with whole frames, so that none is in its own buffer when a run begins. What is not certain is left to it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.stream import H2Stream, StreamState

# Length with the type in its last byte, flags, stream.
_HEADER = struct.Struct(">IBI")
_HEADER_BYTES = _HEADER.size
_PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_IS_OPEN = frozenset({StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL})
_CONNECTION_IS_OPEN = frozenset({ConnectionState.CLIENT_OPEN, ConnectionState.SERVER_OPEN})
# What one call reads, in bytes: frames for h2, which may be hundreds of calls; and DATA.
_PIECE, _RUN = 4 << 10, 64 << 10


class FrameTooLong(ProtocolError):
    """A frame is longer than this end has said it may be."""

    error_code = ErrorCodes.FRAME_SIZE_ERROR


class DataRun(NamedTuple):
    """The content of frames of one stream."""

    stream: int
    data: bytes


class FrameReader:
    """Of one connection."""

    def __init__(self, connection: H2Connection) -> None:
        self._connection = connection
        self._preface = 0 if connection.config.client_side else _PREFACE
        self._unread = bytearray()

    def add(self, data: bytes) -> None:
        """Take what the peer has sent."""
        self._unread += data

    def clear(self) -> None:
        """Forget what has come."""
        self._unread.clear()

    def next(self) -> DataRun | bytes | None:
        """A run of DATA, or bytes for h2, which end with a frame; None where there is no whole frame.

        h2 knows of the run already. Raises ProtocolError.
        """
        unread = self._unread
        if self._preface:
            piece = bytes(unread[: self._preface])
            self._preface -= len(piece)
            del unread[: len(piece)]
            return piece or None
        at, end, limit = 0, len(unread), self._connection.max_inbound_frame_size
        while at < _PIECE and end - at >= _HEADER_BYTES:
            start, flags, number = _HEADER.unpack_from(unread, at)
            length = start >> 8
            if length > limit:
                if at:
                    break
                raise FrameTooLong(f"a frame of {length} bytes: {limit} are allowed")
            if end - at < _HEADER_BYTES + length:
                break
            if not start & 0xFF and not flags and (stream := self._open_stream(number)) is not None:
                if at:
                    break
                return self._run(number, stream, limit)
            at += _HEADER_BYTES + length
        piece = bytes(unread[:at])
        del unread[:at]
        return piece or None

    def _open_stream(self, number: int) -> H2Stream | None:
        """The stream of a frame of plain DATA that is as it is to be."""
        connection = self._connection
        if connection.state_machine.state not in _CONNECTION_IS_OPEN or connection.incoming_buffer._headers_buffer:
            return None
        stream = connection.streams.get(number)
        if stream is None or stream._expected_content_length is not None:
            return None
        state = stream.state_machine
        return stream if state.state in _IS_OPEN and state.headers_received else None

    def _run(self, number: int, stream: H2Stream, limit: int) -> DataRun:
        unread, pieces, at = self._unread, [], 0
        end = min(len(unread), _RUN)
        view = memoryview(unread)
        unpack = _HEADER.unpack_from
        while end - at >= _HEADER_BYTES:
            start, flags, other = unpack(unread, at)
            first = at + _HEADER_BYTES
            after = first + (start >> 8)
            if after > end or start & 0xFF or flags or other != number or start >> 8 > limit:
                break
            pieces.append(view[first:after])
            at = after
        data = b"".join(pieces)
        pieces.clear()
        view.release()
        del unread[:at]
        self._connection._inbound_flow_control_window_manager.window_consumed(len(data))
        stream._inbound_window_manager.window_consumed(len(data))
        return DataRun(number, data)
