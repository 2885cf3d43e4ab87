"""The HTTP server under the API: limits, the API's error bodies for what is no HTTP, and clients' departures.

The limits are on what comes before a handler runs: the request line and each header (64 KiB), their number, and the
time in which they must be complete. What comes afterwards has limits where it is read; streams may last for ever.

A client may send the input of a hijacked stream right behind its request. aiohttp knows upgrades to websockets only:
what follows a request to upgrade to `tcp` it would drop, or read as a request. So it is kept aside here, until the
connection is hijacked or the request is answered otherwise.

A connection that begins as HTTP/2 does, without a request before it (RFC 9113 section 3.3), is gRPC's: all of it is
given to whoever serves that (`darse.api.routes.grpc`).

The body of an archive for a container, or of images, is kept aside, too, and reading stops, until it is clear who reads
it: aiohttp, or those whom it is for (`darse.api.uploads`). Only on connections that have brought nothing but requests
without a body before, for on these a read begins where a request does, and no body can pass for a request's head.

Nothing here depends on attributes that aiohttp keeps to itself. It says that a request has come by asking the server's
`request_factory` for it, and it reads through the connection's `transport`, which is exchanged while reading must stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from darse import aiohttp_server as web
from darse.api.errors import HEADERS, error_response
from darse.core.exhaustion import descriptors_for_clients, too_many_open_files
from darse.linux.proc.memory import trim_heap

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader

# A registry credential in a header is some kilobytes; nothing larger is meant well.
_LINE_LIMIT = 64 * 1024
_FIELD_LIMIT = 64 * 1024
_HEADERS_LIMIT = 128
_HEAD_SECONDS = 30
_IDLE_SECONDS = 300
_LINGER_SECONDS = 1.0
# After the end of input and an answer: a request that came before that end begins within this time.
_NEXT_REQUEST_SECONDS = 0.01
# Connections that have not brought a whole request yet. Beyond, the oldest of them is closed for each new one.
_MOST_WITHOUT_REQUEST = 1000
# So many clients' buffers leave holes in the C library's heap that it does not give back by itself.
_CROWD_THAT_LEAVES = 64
_EARLY_LIMIT = 256 * 1024
_UPLOAD = re.compile(rb"PUT [^ \r\n]*/archive\?|POST [^ \r\n]*/images/load[? ]")
_HAS_MORE = re.compile(rb"[\r\n](?:content-length|transfer-encoding|upgrade)[ \t]*:", re.IGNORECASE)
_REQUEST = re.compile(rb"[A-Z]+ [^ \r\n]+ HTTP/1\.[01]\r\n")
_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*(?:tcp|h2c)[ \t]*(?:\r|\Z)", re.IGNORECASE)
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,10})[ \t]*(?:\r|\Z)", re.IGNORECASE)
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b"
)
_log = logging.getLogger("darse.api")
ServeHTTP2: TypeAlias = Callable[["ServerConnection"], None]


class Hijacked(web.StreamResponse):
    """What a handler returns when the answer went out already and the connection is done with."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """There is nothing to send."""

    async def write_eof(self, data: bytes = b"") -> None:
        """There is nothing to end."""


class _Departures:
    """Gives memory back when many clients have left within a second."""

    def __init__(self) -> None:
        self._left = 0
        self._counting: asyncio.TimerHandle | None = None

    def one_left(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count a client that has left."""
        self._left += 1
        if self._counting is None:
            self._counting = loop.call_later(1.0, self._settle)

    def _settle(self) -> None:
        self._counting = None
        left, self._left = self._left, 0
        if left >= _CROWD_THAT_LEAVES:
            trim_heap()


class _Paused:
    """A transport whose reading aiohttp cannot resume; everything else goes to the transport itself."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def resume_reading(self) -> None:
        """Leave what comes where it is: aiohttp reads on whenever it has room, as at the end of a body."""


class ServerConnection(web.RequestHandler):
    """One client's connection."""

    __slots__ = (
        "_answered",
        "_at_head",
        "_begun",
        "_body_left",
        "_crowd",
        "_departures",
        "_early",
        "_handed_over",
        "_head_timer",
        "_http2",
        "_idle_timer",
        "_is_new",
        "_payload",
        "_refused",
        "body_aside",
        "gone",
        "input_ended",
        "operation",
    )

    def __init__(
        self,
        manager: web.Server,
        crowd: dict[ServerConnection, None],
        departures: _Departures,
        http2: ServeHTTP2 | None,
        **options: Any,
    ) -> None:
        """`crowd` holds the connections, oldest first, that have not brought a whole request yet."""
        super().__init__(manager, **options)
        self._http2 = http2
        # Whether nothing is known yet of what the client speaks.
        self._is_new = True
        self._crowd = crowd
        self._departures = departures
        self._idle_timer: asyncio.TimerHandle | None = None
        self.gone = asyncio.Event()
        self._head_timer: asyncio.TimerHandle | None = None
        # Behind a request to upgrade: how much of its body is to come, and what came after that.
        self._body_left = 0
        self._early: bytes | None = None
        # Whether the next read begins with a request's head, as far as is known.
        self._at_head = True
        # What was read of the body of an archive, and whether the rest is somebody else's to read.
        self.body_aside: bytes | None = None
        self._handed_over = False
        self._refused = False
        self.input_ended = False
        # Requests handed to a handler, answers sent, and the body of the latest request.
        self._begun = 0
        self._answered = 0
        self._payload: StreamReader | None = None
        self.operation: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve a client, unless the engine needs its last descriptors for itself; expect a request."""
        super().connection_made(transport)
        descriptor = transport.get_extra_info("socket")
        # The kernel gives the lowest number that is free.
        if descriptor is not None and descriptor.fileno() >= descriptors_for_clients():
            self._refused = True
            body = msgspec.json.encode({"message": str(too_many_open_files())})
            cast(asyncio.Transport, transport).write(_UNAVAILABLE % (len(body), body))
            transport.close()
            return
        self._idle_timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self.force_close)
        self._crowd[self] = None
        if len(self._crowd) > _MOST_WITHOUT_REQUEST:
            oldest = next(iter(self._crowd))
            del self._crowd[oldest]
            oldest.force_close()

    def _has_request(self) -> None:
        self._crowd.pop(self, None)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def detach_from_drain(self) -> None:
        """The request in progress has done its work, and goes on for as long as its streams: nobody waits for that."""
        if self.operation is not None and not self.operation.done():
            self.operation.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Feed the parser with requests, and keep what follows a request to upgrade."""
        if self._refused:
            return
        if self._is_new:
            data = (self._early or b"") + data
            self._early = None
            if self._http2 is not None and (data.startswith(_HTTP2) or _HTTP2.startswith(data)):
                self._early = data
                if len(data) >= len(_HTTP2):
                    self._begin_http2(self._http2)
                return
            self._is_new = False
        if self.body_aside is not None:
            self.body_aside += data
            return
        if self._at_head and self._buffer_early(data):
            return
        if self._body_left:
            body, data = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(body)
            self._parse(body)
            if not data:
                return
        if self._early is None:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end or _REQUEST.match(head) is None or _UPGRADE.search(head) is None:
                self._parse(data)
                return
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            self._body_left = max(0, length - len(rest))
            self._early = b""
            self._parse(head + end + rest[:length])
            data = rest[length:]
        self._early += data
        if len(self._early) >= _EARLY_LIMIT and self.transport is not None:
            self.transport.pause_reading()

    def _begin_http2(self, serve: ServeHTTP2) -> None:
        """Leave the connection to whoever serves HTTP/2; `take_early` has what came until they are loaded."""
        self._has_request()
        self._http2 = None
        assert self.transport is not None
        self.transport.pause_reading()
        serve(self)

    def _buffer_early(self, data: bytes) -> bool:
        """Take a request that brings an archive, without what follows its head; False when it is another one."""
        head, end, rest = data.partition(b"\r\n\r\n")
        self._at_head = bool(end) and not rest and _HAS_MORE.search(head) is None
        if not end or _UPLOAD.match(head) is None or self.transport is None:
            return False
        self._at_head = False
        self.transport.pause_reading()
        self.transport = cast(asyncio.Transport, _Paused(self.transport))
        self.body_aside = rest
        self._parse(head + end)
        return True

    def keep(self) -> None:
        """Read the body that was kept aside as any other."""
        rest, self.body_aside = self.body_aside, None
        if rest is not None and self.transport is not None:
            self._resume_socket()
            self._parse(rest)

    def _resume_socket(self) -> None:
        """Read from the client again."""
        if isinstance(self.transport, _Paused):
            self.transport = self.transport.transport
        if self.transport is not None:
            self.transport.resume_reading()

    def hand_over(self) -> None:
        """Leave the body, and the connection's input with it, to another reader; it is closed after the answer."""
        self.body_aside = None
        self._handed_over = True
        assert self._payload is not None
        self._payload.feed_eof()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own signature
        """Answer what was asked for completely; streams end, as they do with dockerd."""
        self.input_ended = True
        self.gone.set()
        return self._payload is not None and self._answered < self._begun and self._payload.is_eof()

    def take_early(self) -> bytes:
        """Take what followed the request to upgrade."""
        early, self._early = self._early or b"", None
        if len(early) >= _EARLY_LIMIT and self.transport is not None:
            self.transport.resume_reading()
        return early

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; when it is no upgrade, what followed the request is the next request."""
        if self._handed_over:
            resp.force_close()
            if resp.status >= 400:
                self._take_back()
        finished = await super().finish_response(request, resp, start_time)
        self._answered += 1
        if self._refused and self.body_aside is not None:
            self._take_back()
        self.keep()
        if not isinstance(resp, Hijacked) and (early := self.take_early()):
            self.data_received(early)
        if self._refused:
            await self._linger()
        if self.input_ended:
            asyncio.get_running_loop().call_later(_NEXT_REQUEST_SECONDS, self._close_if_idle)
        return finished

    def _close_if_idle(self) -> None:
        if self._answered == self._begun:
            self.force_close()

    def _take_back(self) -> None:
        """Read on, to drop what comes: nobody wants the rest of the body."""
        self._refused = True
        self.body_aside = None
        self._resume_socket()

    async def _linger(self) -> None:
        """Let the client read why it was refused: closing with its data unread would reset the connection."""
        if self.transport is None:
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                await self.gone.wait()

    def _parse(self, data: bytes) -> None:
        """Feed the parser; the head of a request that has begun must be complete in time."""
        super().data_received(data)
        # An empty line ends every head.
        if self._head_timer is None and self._begun == self._answered and data and not data.endswith(b"\r\n\r\n"):
            self._head_timer = asyncio.get_running_loop().call_later(_HEAD_SECONDS, self._head_is_late)

    def request_begins(self, payload: StreamReader) -> None:
        """A request's head is complete, and those before it are answered."""
        self._begun += 1
        self._payload = payload
        self._stop_timer()
        self._has_request()
        if self.input_ended and not payload.is_eof():
            self.force_close()  # the rest of its body cannot come

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._begun == self._answered:
            self.force_close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.gone.set()
        self._stop_timer()
        self._has_request()
        self._departures.one_left(asyncio.get_running_loop())
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused, and what no handler foresaw, as the API answers errors; then hang up."""
        if request.writer.output_size > 0:
            if not isinstance(exc, ConnectionError):  # of that the log has a line already, or the client has gone
                _log.error("failed in the middle of an answer", exc_info=exc)
            raise ConnectionError("the answer has begun")
        text = _first_line(message or str(exc))
        if isinstance(exc, web.LineTooLong):
            status, text = 431, f"the request line or a header is larger than {_LINE_LIMIT} bytes"
        elif text.startswith("Too many headers"):
            status = 431
        if status >= 500:
            if isinstance(exc, ConnectionError) and (request.transport is None or request.transport.is_closing()):
                _log.debug("the client has gone in the middle of its request")
            else:
                _log.error("a request failed", exc_info=exc)
            response = error_response(status, f"internal error: {type(exc).__name__}")
        else:
            response = error_response(status, f"invalid request: {text}")
        response.headers.update(HEADERS)
        self._refused = True
        response.force_close()
        return response


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["malformed"])[0][:200].rstrip(":")


class ApiServer(web.Server):
    """Makes connections."""

    def __init__(self, handler: Any, http2: Callable[[], ServeHTTP2 | None] = lambda: None) -> None:
        """`http2` returns what serves the connections that begin as HTTP/2 does, where anything does now."""
        super().__init__(handler, request_factory=_make_request, access_log=None)
        self._http2 = http2
        self._crowd: dict[ServerConnection, None] = {}
        self._departures = _Departures()

    def __call__(self) -> web.RequestHandler:
        return ServerConnection(
            self,
            self._crowd,
            self._departures,
            self._http2(),
            loop=asyncio.get_running_loop(),
            logger=_log,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGER_SECONDS,
            max_line_size=_LINE_LIMIT,
            max_field_size=_FIELD_LIMIT,
            max_headers=_HEADERS_LIMIT,
            auto_decompress=False,
        )


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Make a request as aiohttp does, and tell its connection."""
    assert isinstance(protocol, ServerConnection)
    protocol.request_begins(payload)
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())


async def until_gone(request: web.BaseRequest) -> None:
    """Return when the client has closed its connection."""
    await connection_of(request).gone.wait()


def connection_of(request: web.BaseRequest) -> ServerConnection:
    """The connection that a request came on."""
    connection = request.protocol
    assert isinstance(connection, ServerConnection)
    return connection
