"""The asyncio client: typed requests, streams as asynchronous iterators.

Each request has a connection for itself while it runs; connections whose answer was read to its end are used again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from darse.client import API_VERSION, EngineEndpoint
from darse.client.connection import connect, no_answer, no_connection, not_let_in, tcp_address, tls_alert, tls_context
from darse.client.errors import ClientError, ConnectionFailed, ConnectionLost
from darse.client.http import (
    PIECE,
    ConnectionEnded,
    Documents,
    Parser,
    encode_query,
    no_http,
    refused,
    request_head,
)
from darse.client.streams import STDOUT, Frames

if TYPE_CHECKING:
    import socket

    from darse.client.http import Reading, ResponseHead
    from darse.client.requests import ApiRequest, AttachRequest, BytesRequest, DocumentsRequest, StreamsRequest

T = TypeVar("T")
# Connections that are kept when no request has them: as many as a project may have services that start at once.
_IDLE = 64
_MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


class AsyncClient:
    """An engine. An asynchronous context manager: its end closes every connection."""

    def __init__(self, endpoint: EngineEndpoint) -> None:
        self.endpoint = endpoint
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def do(self, request: ApiRequest[T]) -> T:
        """Do a request and return its typed answer.

        Raises ApiError when the engine refuses it, ConnectionFailed when none answers.
        """
        connection, head = await self._send(request)
        try:
            body = await connection.body()
        except BaseException:
            connection.close()
            raise
        if head.closes or len(self._idle) >= _IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        result = request.result()
        if result is type(None):
            return None
        return _decode(body, result)

    async def follow(self, request: DocumentsRequest[T]) -> AsyncIterator[T]:
        """Yield the documents of an answer as they come. Raises ConnectionLost when it ends too early."""
        async with self.subscribe(request) as documents:
            async for document in documents:
                yield document

    @contextlib.asynccontextmanager
    async def subscribe(self, request: DocumentsRequest[T]) -> AsyncIterator[AsyncIterator[T]]:
        """The same, as a context that begins when the answer has: what happens from then on is in the documents."""
        async with self._answer(request) as (connection, _):
            yield _documents(connection, request.result())

    async def read(self, request: BytesRequest) -> AsyncGenerator[bytes]:
        """Yield an answer as it comes. Raises ConnectionLost when it ends too early."""
        async with self._answer(request) as (connection, _):
            while piece := await connection.piece():
                yield piece

    async def output(self, request: StreamsRequest) -> AsyncIterator[tuple[int, bytes]]:
        """Yield what a process prints: 1 and its standard output, 2 and its standard error. All of a terminal is 1."""
        async with self._answer(request) as (connection, head):
            frames = Frames() if head.headers.get("content-type") == _MULTIPLEXED else None
            while piece := await connection.piece():
                for frame in frames.feed(piece) if frames else ((STDOUT, piece),):
                    yield frame

    @contextlib.asynccontextmanager
    async def attach(self, request: AttachRequest) -> AsyncIterator[AttachedStreams]:
        """The streams of a process, for as long as the context lasts."""
        async with self._answer(request) as (connection, head):
            yield AttachedStreams(connection, multiplexed=head.headers.get("content-type") == _MULTIPLEXED)

    @contextlib.asynccontextmanager
    async def _answer(self, request: ApiRequest[Any]) -> AsyncIterator[tuple[_Connection, ResponseHead]]:
        """A connection whose answer has begun; closed at the end."""
        connection, head = await self._send(request)
        try:
            yield connection, head
        finally:
            connection.close()

    async def _send(self, request: ApiRequest[Any]) -> tuple[_Connection, ResponseHead]:
        headers = dict(request.headers)
        body = None
        if request.content is not None:
            body = request.content if isinstance(request.content, bytes) else b"".join(request.content)
            headers["Content-Type"] = "application/x-tar"
        elif request.body is not None:
            body = msgspec.json.encode(request.body)
            headers["Content-Type"] = "application/json"
        if request.upgrade:
            headers |= {"Connection": "Upgrade", "Upgrade": "tcp"}
        target = f"/v{request.version or API_VERSION}{request.path}{encode_query(request.query)}"
        connection = await self._connection()
        with contextlib.ExitStack() as undo:
            undo.callback(connection.close)
            connection.write(request_head(request.method, target, headers, body) + (body or b""))
            head = await connection.head(request.method)
            if head.status >= 400:
                raise refused(head.status, await connection.body())
            undo.pop_all()
        return connection, head

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_ended:
                return connection
            connection.close()
        return _Connection(self.endpoint, *await _open(self.endpoint))


class AttachedStreams:
    """The standard streams of a process that a connection belongs to."""

    def __init__(self, connection: _Connection, *, multiplexed: bool) -> None:
        self._connection = connection
        self._frames = Frames() if multiplexed else None

    async def write(self, data: bytes) -> None:
        """Write to the process's standard input; returns when there is room for more."""
        self._connection.write(data)
        await self._connection.drained()

    def end_input(self) -> None:
        """End the process's standard input; its output goes on."""
        self._connection.end_writing()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield what the process prints, to its end: see `AsyncClient.output`."""
        while data := await self._connection.raw():
            for frame in self._frames.feed(data) if self._frames else ((STDOUT, data),):
                yield frame


class _Connection:
    """One connection, and what is read of its answers."""

    def __init__(self, endpoint: EngineEndpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._writer = writer
        self._parser = Parser()

    @property
    def has_ended(self) -> bool:
        return self._reader.at_eof() or self._writer.is_closing()

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def drained(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise self._lost() from error

    def end_writing(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    async def head(self, method: str) -> ResponseHead:
        try:
            return await self._read(self._parser.head(has_body=method != "HEAD"))
        except ConnectionEnded as error:
            raise no_answer(self._endpoint.host, "") from error

    async def piece(self) -> bytes:
        try:
            return await self._read(self._parser.piece())
        except ConnectionEnded as error:
            raise self._lost() from error

    async def body(self) -> bytes:
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def raw(self) -> bytes:
        """What comes next on a connection that is a stream; empty at its end."""
        data, self._parser.buffer = self._parser.buffer, b""
        return data or await self._receive()

    async def _read(self, reading: Reading[T]) -> T:
        try:
            next(reading)
            while True:
                reading.send(await self._receive())
        except StopIteration as end:
            answer: T = end.value
            return answer
        except ValueError as error:
            no_http(self._endpoint.host, error)

    async def _receive(self) -> bytes:
        try:
            return await self._reader.read(PIECE)
        except OSError as error:
            if alert := tls_alert(error):
                raise not_let_in(self._endpoint.host, alert) from error
            return b""  # the connection's end, however it ended

    @staticmethod
    def _lost() -> ConnectionLost:
        return ConnectionLost("the engine went away before its answer was complete")


async def _documents(connection: _Connection, result: type[T]) -> AsyncIterator[T]:
    documents = Documents()
    while piece := await connection.piece():
        for document in documents.feed(piece):
            yield _decode(document, result)
    for document in documents.end():
        yield _decode(document, result)


async def _open(endpoint: EngineEndpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect. Raises ConnectionFailed when no engine answers."""
    scheme, _, rest = endpoint.host.partition("://")
    if scheme in ("unix", "ssh"):
        connected = await _connect(endpoint, scheme)
        connected.setblocking(False)
        return await asyncio.open_connection(sock=connected)
    try:
        name, port = tcp_address(rest)
        context = tls_context(endpoint) if endpoint.tls or scheme == "https" else None
        return await asyncio.open_connection(name, port, ssl=context)
    except ValueError as error:
        raise ClientError(f"unable to parse docker host `{endpoint.host}`: {error}") from error
    except OSError as error:
        raise no_connection(endpoint.host, error) from error


async def _connect(endpoint: EngineEndpoint, scheme: str) -> socket.socket:
    """Connect to a unix socket at once, where an engine listens; in a thread what takes its time."""
    if scheme == "unix":
        with contextlib.suppress(ConnectionFailed):
            return connect(endpoint, may_start=False)
    # Starting an engine, or ssh.
    return await asyncio.to_thread(connect, endpoint)


def _decode(document: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(document, type=type_)
    except msgspec.MsgspecError as error:
        raise ClientError(f"the engine's answer is not what its API says: {error}") from error
