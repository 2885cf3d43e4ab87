"""The console of a container: a new process on a terminal, or its main process, through a websocket (RFC 6455).

The first message of the browser is a document: the session's token, what to run, and the size of the terminal. After
that its binary messages are input, and its texts are new sizes; what comes back is output, and at the end a document.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
from collections.abc import AsyncIterator

import msgspec
from aiohttp.http_websocket import WSMsgType
from aiohttp.web_ws import WebSocketResponse

from darse.aiohttp_server import StreamResponse
from darse.client.asynchronous import AttachedStreams
from darse.client.errors import ApiError, ClientError
from darse.client.requests import containers, execs
from darse.web.accounts import Role
from darse.web.checks import POLICY, is_websocket
from darse.web.errors import PageNotFound
from darse.web.routing import PageRoutes
from darse.web.visit import Visit
from darse.wire.execs import ExecConfig

PAGES = PageRoutes()
_OPENING_SECONDS = 10.0
_ALIVE_SECONDS = 30.0
_MESSAGE_LIMIT = 256 * 1024
_WRONG_MESSAGE, _REFUSED = 4400, 4403


class ConsoleSize(msgspec.Struct):
    """The size of a terminal, in characters."""

    columns: int
    rows: int

    def __post_init__(self) -> None:
        if not (1 <= self.columns <= 1000 and 1 <= self.rows <= 1000):
            raise ValueError("a terminal has 1 to 1000 columns and rows")


class ConsoleOpening(msgspec.Struct):
    """The first message; an empty command attaches to the main process."""

    csrf: str
    command: str
    size: ConsoleSize


@PAGES.get("/containers/{id}/console", Role.ADMINISTRATE)
async def console_page(visit: Visit) -> StreamResponse:
    """The terminal."""
    found = await visit.do(containers.inspect(visit.match["id"]))
    nonce = secrets.token_urlsafe(18)
    response = visit.render("console.html", container=found, tab="console", nonce=nonce)
    response.headers["Content-Security-Policy"] = POLICY.format(style=f" 'nonce-{nonce}'")
    return response


@PAGES.get("/containers/{id}/console/stream", Role.ADMINISTRATE, stream=True)
async def console_stream(visit: Visit) -> StreamResponse:
    """Its websocket. Raises PageNotFound for what is none."""
    if not is_websocket(visit.request):
        raise PageNotFound
    socket = WebSocketResponse(heartbeat=_ALIVE_SECONDS, max_msg_size=_MESSAGE_LIMIT, compress=False)
    await socket.prepare(visit.request)
    try:
        async with asyncio.timeout(_OPENING_SECONDS):
            opening = msgspec.json.decode(await socket.receive_str(), type=ConsoleOpening)
        command = shlex.split(opening.command)
    except (TimeoutError, TypeError, ValueError, RecursionError):
        await socket.close(code=_WRONG_MESSAGE)
        return socket
    if not visit.session.has_token(opening.csrf):
        visit.outcome = "refused: 403 token"
        visit.dashboard.record(visit, "/containers/{id}/console")
        await socket.close(code=_REFUSED)
        return socket
    visit.form = {"command": opening.command}
    visit.dashboard.record(visit, "/containers/{id}/console")
    error = ""
    try:
        await _run(visit, socket, command, opening.size)
    except ApiError as refused:
        error = refused.reason
    except ClientError as failure:
        error = str(failure)
    if not socket.closed:
        await socket.send_str(msgspec.json.encode({"end": error}).decode())
        await socket.close()
    return socket


async def _run(visit: Visit, socket: WebSocketResponse, command: list[str], size: ConsoleSize) -> None:
    """Carry bytes between a process and the browser until one of them ends. Raises ClientError."""
    name = visit.match["id"]
    if command:
        config = ExecConfig(AttachStdin=True, AttachStdout=True, AttachStderr=True, Tty=True, Cmd=command)
        config.Env, config.ConsoleSize = ["TERM=xterm-256color"], [size.rows, size.columns]
        identifier = (await visit.do(execs.create(name, config)))["Id"]
        request = execs.start(identifier, terminal=True)
    else:
        identifier = ""
        request = containers.attach(name, stdin=True, logs=True)

    async def resize(new: ConsoleSize) -> None:
        ask = execs.resize(identifier, height=new.rows, width=new.columns) if identifier else None
        with contextlib.suppress(ApiError):  # it has just ended
            await visit.do(ask or containers.resize(name, height=new.rows, width=new.columns))

    async with visit.attach(request) as streams:
        await resize(size)
        showing = asyncio.create_task(_show(streams, socket))
        try:
            async for input_or_size in _messages(socket):
                if isinstance(input_or_size, bytes):
                    await streams.write(input_or_size)
                else:
                    await resize(input_or_size)
            streams.end_input()
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)


async def _show(streams: AttachedStreams, socket: WebSocketResponse) -> None:
    """Send what the process prints; at its end the browser is asked for no more."""
    with contextlib.suppress(ConnectionError):  # the browser has left
        async for _, data in streams.output():
            await socket.send_bytes(data)
        await socket.send_str('{"end":""}')
        await socket.close()


async def _messages(socket: WebSocketResponse) -> AsyncIterator[bytes | ConsoleSize]:
    """What the browser sends, until it leaves or sends what is not right."""
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            yield message.data
        elif message.type is WSMsgType.TEXT:
            try:
                yield msgspec.json.decode(message.data, type=ConsoleSize)
            except (ValueError, RecursionError):
                await socket.close(code=_WRONG_MESSAGE)
