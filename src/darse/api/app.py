"""The API's door: finds the route, negotiates the version, and turns errors into the API's bodies.

Every path is served with and without a `/v1.NN` prefix.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from darse import aiohttp_server as web
from darse.api.audit import RequestAudit
from darse.api.authorization import Authorizer, check_answer
from darse.api.errors import API_VERSION, HEADERS, TooLarge, error_response, status_of
from darse.api.request_spans import VERSION, request_span
from darse.api.routes import (
    archives,
    builds,
    checkpoints,
    cluster,
    commit,
    containers,
    distribution,
    docker_import,
    execs,
    grpc,
    image_archives,
    images,
    networks,
    observation,
    plugins,
    system,
    system_check,
    volume_data,
    volumes,
)
from darse.api.routing import Call, Routes
from darse.api.server import ServerConnection, connection_of
from darse.core.errors import EngineError, InvalidParameter
from darse.core.exhaustion import exhausted, reason

if TYPE_CHECKING:
    from darse.engine.engine import Engine

MINIMUM_VERSION = (1, 24)
_READING = frozenset(("GET", "HEAD", "OPTIONS"))
_log = logging.getLogger("darse.api")


def all_routes() -> Routes:
    """Every route of the API."""
    routes = Routes()
    for module in (
        system,
        checkpoints,  # before containers, of which any path may be a name
        containers,
        observation,
        archives,
        builds,
        commit,
        execs,
        grpc,
        distribution,
        images,
        image_archives,
        system_check,
        docker_import,
        networks,
        volumes,
        volume_data,
        plugins,
        cluster,
    ):
        routes.extend(module.ROUTES)
    return routes


class Api:
    """Handles the requests of all listeners."""

    def __init__(self, engine: Engine, audit: RequestAudit | None = None) -> None:
        """audit: where requests that change something are recorded."""
        self._engine = engine
        self._audit = audit
        self._routes = all_routes()
        self._authorizer = Authorizer(engine.plugins, lambda: engine.config.authorization_plugins)
        self._operations: set[asyncio.Future[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()

    async def drain(self, seconds: float) -> None:
        """Wait until every operation in progress is done; streams are none."""
        if self._operations:
            await asyncio.wait(self._operations, timeout=seconds)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request; never raises but to end the connection."""
        connection = connection_of(request)
        operation = connection.operation = asyncio.get_running_loop().create_future()
        self._operations.add(operation)
        operation.add_done_callback(self._operations.discard)
        begun = time.perf_counter()
        status, audited = 0, self._audit.begin(request) if self._audit is not None else None
        try:
            with request_span(self._routes, request) as answered:
                response = await self._authorized(request, await self._answer(request))
                answered(response.status)
            status = response.status
            if _log.isEnabledFor(logging.DEBUG):
                took = (time.perf_counter() - begun) * 1000
                _log.debug("%s %s: %d in %.1f ms", request.method, request.raw_path, response.status, took)
            return response
        finally:
            connection.detach_from_drain()
            if self._audit is not None and audited is not None:
                self._audit.end(audited, status)

    def serve_http2(self, connection: ServerConnection) -> None:
        """Serve gRPC on a connection that is HTTP/2 from its beginning."""
        if self._audit is not None:
            self._audit.record_http2(connection.transport)
        task = asyncio.create_task(grpc.serve(self._engine, connection))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._dispatch(request)
            if request.method not in _READING:
                # What a client has been answered survives a power failure; the end of a stream is an answer, too.
                await self._engine.state.flush()
        except EngineError as error:
            response = self._failed(request, error, status_of(error), str(error))
            if isinstance(error, TooLarge):
                response.force_close()  # the rest of the body was not read
        except web.HTTPException as error:
            response = self._failed(request, error, error.status, error.reason)
        except Exception as error:
            if isinstance(error, ConnectionError) and request.transport is None:
                raise  # the client has gone, and nobody else
            fault = exhausted(error) if isinstance(error, OSError) else None
            if fault is None:
                _log.exception("%s %s failed", request.method, request.path)
            message = (
                reason(error) if isinstance(error, OSError) else f"internal error: {type(error).__name__}: {error}"
            )
            response = self._failed(request, error, 500, message if fault is None else str(fault))
        if not response.prepared:
            response.headers.update(HEADERS)
            if self._engine.config.experimental:
                response.headers["Docker-Experimental"] = "true"
        return response

    async def _authorized(self, request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
        """The answer, or an error's if a plugin refuses it; streams have asked before their heads."""
        if not isinstance(response, web.Response) or response.prepared:
            return response
        body = response.body if isinstance(response.body, bytes) else b""
        try:
            await check_answer(request, response.status, response.headers, body)
        except EngineError as error:
            response = self._failed(request, error, status_of(error), str(error))
            response.headers.update(HEADERS)
        return response

    def _failed(self, request: web.BaseRequest, error: Exception, status: int, message: str) -> web.Response:
        """An error's answer; in the middle of another answer, the end of the connection is all that can be said."""
        if request.writer.output_size > 0:
            _log.warning("%s %s broke off: %s", request.method, request.path, message)
            request.protocol.force_close()
            raise ConnectionAbortedError(message) from error
        return error_response(status, message)

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        version = API_VERSION
        if (prefix := VERSION.match(path)) is not None:
            version = (int(prefix[1]), int(prefix[2]))
            path = path[prefix.end() :] or "/"
            _check_version(version)
        found = self._routes.find(request.method, path)
        if found is None:
            return error_response(404, "page not found")
        handler, match = found
        for name, value in match.items():
            if "\0" in value:
                raise InvalidParameter(f"invalid {name}: it contains a NUL byte")
        await self._authorizer.check_request(request)
        return await handler(Call(self._engine, request, version, match))


def _check_version(version: tuple[int, int]) -> None:
    asked = ".".join(map(str, version))
    if version > API_VERSION:
        newest = ".".join(map(str, API_VERSION))
        raise InvalidParameter(f"client version {asked} is too new. Maximum supported API version is {newest}")
    if version < MINIMUM_VERSION:
        oldest = ".".join(map(str, MINIMUM_VERSION))
        raise InvalidParameter(
            f"client version {asked} is too old. Minimum supported API version is {oldest}, please upgrade your client "
            "to a newer version"
        )
