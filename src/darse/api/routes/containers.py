"""`/containers`: their life, lists and streams (Docker Engine API, "Container").

Handlers read the query and the body, call `ContainerService`, and put its answer into the API's form; what differs
between versions of the API is asked of `darse.api.versions`. Files of containers, execs, checkpoints and statistics
have modules of their own.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.authorization import check_answer
from darse.api.body import read_json
from darse.api.errors import HEADERS, status_of
from darse.api.hijack import hijack, websocket
from darse.api.multiplexing import MULTIPLEXED, RAW, encoded
from darse.api.responses import empty, json_response, stream
from darse.api.routing import Call, Routes
from darse.api.server import connection_of, until_gone
from darse.containers.filesystem.checkpoints import CheckpointPlace
from darse.containers.list_filters import LIST_FILTERS, PRUNE_FILTERS
from darse.containers.logs import LogOptions
from darse.containers.streams.options import AttachOptions
from darse.core.errors import EngineError, InvalidParameter
from darse.core.filters import Filters
from darse.wire.containers import CreateRequest

ROUTES = Routes()


@ROUTES.add("GET", "/containers/json")
async def list_containers(call: Call) -> web.StreamResponse:
    """List containers."""
    request = call.request
    filters = Filters.parse(request.query.get("filters"), LIST_FILTERS)
    limit = query.number(request, "limit", 0) or 0
    found = await call.engine.containers.listing.list_containers(
        filters, everything=query.flag(request, "all"), limit=limit, size=query.flag(request, "size")
    )
    return json_response(versions.container_list(call.version, found))


@ROUTES.add("POST", "/containers/create")
async def create(call: Call) -> web.StreamResponse:
    """Create a container."""
    name = query.text(call.request, "name") or None
    body = await read_json(call.request, CreateRequest)
    versions.create_request(call.version, body)
    warnings = versions.create_warnings(call.version, body)
    text = query.text(call.request, "platform") if versions.has(call.version, "containers/create platform") else ""
    made = await call.engine.containers.create(
        name,
        body,
        query.read_platform(text) if text else None,
        recursive_read_only=versions.recursive_read_only(call.version),
    )
    made.Warnings += warnings
    return json_response(made, 201)


@ROUTES.add("GET", "/containers/{id}/json")
async def inspect(call: Call) -> web.StreamResponse:
    """Inspect a container."""
    size = query.flag(call.request, "size")
    found = await call.engine.containers.listing.inspect_container(call.match["id"], size=size)
    return json_response(versions.container_inspect(call.version, found))


@ROUTES.add("POST", "/containers/{id}/start")
async def start(call: Call) -> web.StreamResponse:
    """Start a container, or let it go on from a checkpoint."""
    if name := query.text(call.request, "checkpoint"):
        place = CheckpointPlace(name, query.text(call.request, "checkpoint-dir"))
        await call.engine.containers.start(call.match["id"], place)
    else:
        await call.engine.containers.start(call.match["id"])
    return empty()


@ROUTES.add("POST", "/containers/{id}/stop")
async def stop(call: Call) -> web.StreamResponse:
    """Stop a container."""
    seconds, signal = _stop_options(call)
    await call.engine.containers.stop(call.match["id"], seconds, signal)
    return empty()


@ROUTES.add("POST", "/containers/{id}/restart")
async def restart(call: Call) -> web.StreamResponse:
    """Restart a container."""
    seconds, signal = _stop_options(call)
    await call.engine.containers.restart(call.match["id"], seconds, signal)
    return empty()


def _stop_options(call: Call) -> tuple[int | None, str | None]:
    seconds = query.number(call.request, "t")
    if seconds is not None and not -1 <= seconds <= 2**31:
        raise InvalidParameter(f"invalid value for t: {seconds}")
    signal = query.text(call.request, "signal") if versions.has(call.version, "containers/stop signal") else ""
    return seconds, signal or None


@ROUTES.add("POST", "/containers/{id}/kill")
async def kill(call: Call) -> web.StreamResponse:
    """Send a signal to a container."""
    await call.engine.containers.kill(call.match["id"], query.text(call.request, "signal"))
    return empty()


@ROUTES.add("POST", "/containers/{id}/pause")
async def pause(call: Call) -> web.StreamResponse:
    """Freeze a container."""
    await call.engine.containers.pause(call.match["id"])
    return empty()


@ROUTES.add("POST", "/containers/{id}/unpause")
async def unpause(call: Call) -> web.StreamResponse:
    """Let a container go on."""
    await call.engine.containers.unpause(call.match["id"])
    return empty()


@ROUTES.add("POST", "/containers/{id}/rename")
async def rename(call: Call) -> web.StreamResponse:
    """Rename a container."""
    await call.engine.containers.rename(call.match["id"], query.text(call.request, "name"))
    return empty()


@ROUTES.add("POST", "/containers/{id}/resize")
async def resize(call: Call) -> web.StreamResponse:
    """Resize a container's terminal."""
    height, width = query.size(call.request, "h"), query.size(call.request, "w")
    call.engine.containers.streams.resize_terminal(call.match["id"], height, width)
    return empty(200)


# A link's name has a slash in it.
@ROUTES.add("DELETE", "/containers/{name}")
async def remove(call: Call) -> web.StreamResponse:
    """Remove a container."""
    request = call.request
    await call.engine.containers.remove_container(
        call.match["name"],
        force=query.flag(request, "force"),
        volumes=query.flag(request, "v"),
        link=query.flag(request, "link"),
    )
    return empty()


@ROUTES.add("POST", "/containers/prune")
async def prune(call: Call) -> web.StreamResponse:
    """Remove stopped containers."""
    filters = Filters.parse(call.request.query.get("filters"), PRUNE_FILTERS)
    return json_response(await call.engine.containers.prune(filters))


@ROUTES.add("POST", "/containers/{id}/wait")
async def wait(call: Call) -> web.StreamResponse:
    """Wait for a container's end. The head is sent when the wait is registered, so that a client can start it then."""
    request = call.request
    condition = query.text(request, "condition") if versions.has(call.version, "containers/wait condition") else ""
    ended = call.engine.containers.wait(call.match["id"], condition)
    response = web.StreamResponse(headers={**HEADERS, "Content-Type": "application/json"})
    await check_answer(request, response.status, response.headers)
    await response.prepare(request)
    connection_of(request).detach_from_drain()
    gone = asyncio.create_task(until_gone(request))
    try:
        await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            with contextlib.suppress(ConnectionError):
                await response.write(msgspec.json.encode(ended.result()) + b"\n")
                await response.write_eof()
    finally:
        ended.cancel()
        gone.cancel()
    return response


@ROUTES.add("GET", "/containers/{id}/logs")
async def logs(call: Call) -> web.StreamResponse:
    """Read a container's log."""
    request = call.request
    tail = query.text(request, "tail", "all")
    lines = None if not tail.isascii() or not tail.isdigit() or len(tail) > 18 else int(tail)
    options = LogOptions(
        stdout=query.flag(request, "stdout"),
        stderr=query.flag(request, "stderr"),
        follow=query.flag(request, "follow"),
        since_ns=query.time_ns(request, "since"),
        until_ns=query.time_ns(request, "until"),
        timestamps=query.flag(request, "timestamps"),
        tail=lines,
        details=query.flag(request, "details"),
    )
    service = call.engine.containers.streams
    log = await service.read_log(call.match["id"], options)
    multiplexed = not log.terminal
    content_type = MULTIPLEXED if multiplexed and versions.has(call.version, "multiplexed media type") else RAW
    try:
        return await stream(request, encoded(log.output(), multiplexed=multiplexed), content_type)
    finally:
        await log.close()
        service.close_log(log, call.match["id"])


def _attach_options(request: web.BaseRequest) -> AttachOptions:
    return AttachOptions(
        stream=query.flag(request, "stream"),
        stdin=query.flag(request, "stdin"),
        stdout=query.flag(request, "stdout"),
        stderr=query.flag(request, "stderr"),
        logs=query.flag(request, "logs"),
        detach_keys=query.text(request, "detachKeys"),
    )


@ROUTES.add("POST", "/containers/{id}/attach")
async def attach(call: Call) -> web.StreamResponse:
    """Take over the connection for a container's streams."""
    try:
        attachment = call.engine.containers.streams.attach(call.match["id"], _attach_options(call.request))
    except EngineError as error:
        # Docker writes the plain message where the stream would begin.
        return web.Response(body=f"{error}\r\n".encode(), status=status_of(error), content_type=RAW)
    return await hijack(
        call.request,
        attachment,
        multiplexed=not attachment.terminal,
        multiplexed_type=versions.has(call.version, "multiplexed media type"),
    )


@ROUTES.add("GET", "/containers/{id}/attach/ws")
async def attach_websocket(call: Call) -> web.StreamResponse:
    """A container's streams over a websocket."""
    options = _attach_options(call.request)
    if not versions.has(call.version, "containers/attach/ws streams"):
        options = msgspec.structs.replace(options, stdin=True, stdout=True, stderr=True)
    attachment = call.engine.containers.streams.attach(call.match["id"], options)
    if call.request.headers.get("Upgrade", "").lower() != "websocket":
        await attachment.close()
        raise InvalidParameter("attach/ws takes a websocket handshake")
    return await websocket(call.request, attachment)
