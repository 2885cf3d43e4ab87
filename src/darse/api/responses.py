"""Writing responses: JSON through msgspec, streams piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import msgspec

from darse import aiohttp_server as web
from darse.api.authorization import check_answer
from darse.api.errors import HEADERS
from darse.api.server import connection_of, until_gone
from darse.core.errors import EngineError
from darse.core.exhaustion import exhausted, reason

_encode = msgspec.json.encode


def json_response(value: Any, status: int = 200) -> web.Response:
    """A JSON document."""
    return web.Response(body=_encode(value) + b"\n", status=status, content_type="application/json")


def empty(status: int = 204) -> web.Response:
    """No body."""
    return web.Response(status=status)


async def stream(
    request: web.BaseRequest,
    pieces: AsyncIterator[bytes],
    content_type: str,
    *,
    error_timeout: float | None = 0,
    seconds: float | None = None,
    interruptible: bool = True,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Send pieces as they come, until they end or the client leaves, also while none comes.

    The source is started before the head is sent: who has the head is subscribed. What it raises within `error_timeout`
    seconds (None: before its first piece), and at once in any case, is raised here, when a plain error can still be
    sent. `seconds` is how long to wait for a source that may go on for ever. A stop of the engine waits for what is
    not `interruptible`. `headers` go with the answer's own.
    """
    if interruptible:
        connection_of(request).detach_from_drain()
    response = web.StreamResponse(headers={**HEADERS, **(headers or {}), "Content-Type": content_type})
    gone = asyncio.create_task(until_gone(request))
    following: asyncio.Task[bytes | None] = asyncio.create_task(_next(pieces))
    try:
        await asyncio.wait((following, gone), timeout=error_timeout, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
        await check_answer(request, response.status, response.headers)
        await response.prepare(request)
        end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        while not gone.done():
            left = None if end is None else max(0.0, end - asyncio.get_running_loop().time())
            await asyncio.wait((following, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not following.done() or (piece := following.result()) is None:
                break
            if piece:
                await response.write(piece)
            following = asyncio.create_task(_next(pieces))
        if not gone.done():
            await response.write_eof()
    except ConnectionError:
        if not response.prepared:
            raise
    finally:
        for task in (following, gone):
            task.cancel()
        await asyncio.gather(following, gone, return_exceptions=True)
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
    return response


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


async def progress(
    request: web.BaseRequest,
    messages: AsyncIterator[dict[str, Any]] | AsyncIterator[list[dict[str, Any]]],
    *,
    interruptible: bool = False,
    errors_inside: bool = False,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Send JSON messages, a line each; those of a list together.

    What fails before the first is a plain error; later, an error message.
    The operation ends when the client leaves, and if it is `interruptible` when the engine stops. With `errors_inside`
    every failure is a message: clients of some operations look for it there only. `headers` are `stream`'s.
    """
    pieces = _lines(messages, begun=errors_inside)
    return await stream(
        request, pieces, "application/json", error_timeout=None, interruptible=interruptible, headers=headers
    )


async def _lines(
    messages: AsyncIterator[dict[str, Any]] | AsyncIterator[list[dict[str, Any]]], *, begun: bool
) -> AsyncGenerator[bytes]:
    try:
        async for message in messages:
            together = message if isinstance(message, list) else (message,)
            yield b"".join(_encode(one) + b"\r\n" for one in together)
            begun = True
    except (EngineError, OSError) as error:
        if not begun or isinstance(error, ConnectionError):
            raise
        fault = (exhausted(error) or reason(error)) if isinstance(error, OSError) else error
        yield _encode({"errorDetail": {"message": str(fault)}, "error": str(fault)}) + b"\r\n"
    finally:
        if isinstance(messages, AsyncGenerator):
            await messages.aclose()
