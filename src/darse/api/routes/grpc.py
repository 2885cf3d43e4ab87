"""`/grpc` and `/session`: connections of build clients, which go on as gRPC. What serves it is loaded for the first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from darse import aiohttp_server as web
from darse.api.authorization import check_answer
from darse.api.routing import Call, Routes
from darse.api.server import Hijacked, ServerConnection, connection_of
from darse.core.errors import InvalidParameter

if TYPE_CHECKING:
    from darse.buildkit.server import BuildKitConnection
    from darse.engine.engine import Engine

ROUTES = Routes()
_UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
_SESSION = "X-Docker-Expose-Session-"
_log = logging.getLogger("darse.api")


@ROUTES.add("POST", "/grpc")
async def grpc(call: Call) -> web.StreamResponse:
    """Go on as gRPC: the client asks."""
    server = await call.engine.builds.server()
    return await _upgraded(call.request, server.serve)


@ROUTES.add("POST", "/session")
async def session(call: Call) -> web.StreamResponse:
    """Go on as gRPC: the client answers, until it closes the connection."""
    headers = call.request.headers
    identifier = headers.get(f"{_SESSION}Uuid", "")
    if not identifier:
        raise InvalidParameter("a session needs an ID: X-Docker-Expose-Session-Uuid")
    server = await call.engine.builds.server()
    opened = server.session(
        identifier,
        name=headers.get(f"{_SESSION}Name", ""),
        shared_key=headers.get(f"{_SESSION}Sharedkey", ""),
        methods=headers.getall(f"{_SESSION}Grpc-Method", []),
    )
    return await _upgraded(call.request, opened)


async def serve(engine: Engine, connection: ServerConnection) -> None:
    """Serve gRPC on a connection that is HTTP/2 from its beginning."""
    try:
        server = await engine.builds.server()
        await _carried(connection, server.serve)
    except Exception:
        _log.exception("a gRPC connection failed")
        connection.force_close()


async def _upgraded(request: web.BaseRequest, make: Callable[[], BuildKitConnection]) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() != "h2c":
        raise InvalidParameter(f"{request.path} is for gRPC: the request must say `Upgrade: h2c`")
    connection = connection_of(request)
    connection.detach_from_drain()
    await check_answer(request, 101, {"Upgrade": "h2c"})
    response = Hijacked()
    response.force_close()
    if connection.transport is not None:
        connection.transport.write(_UPGRADED)
        await _carried(connection, make)
    return response


async def _carried(connection: ServerConnection, make: Callable[[], BuildKitConnection]) -> None:
    """Serve until the client has gone; it goes with whoever cancels this."""
    transport = connection.transport
    if transport is None:
        return
    served = make()
    served.protocol.carry_on(connection)
    try:
        served.open(transport, connection.take_early())
        with contextlib.suppress(RuntimeError):  # a transport that reads, in some event loops
            transport.resume_reading()
        await served.ended()
    except asyncio.CancelledError:
        transport.abort()
        raise
    finally:
        transport.close()
