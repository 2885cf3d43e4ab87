"""`/containers/{id}/exec` and `/exec`: processes that are added to a running container (Docker Engine API, "Exec").

An exec is created first and started with a second request, whose connection becomes its streams.
"""

from __future__ import annotations

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.body import read_json
from darse.api.hijack import hijack
from darse.api.responses import empty, json_response
from darse.api.routing import Call, Routes
from darse.wire.execs import ExecConfig, ExecStartRequest

ROUTES = Routes()


@ROUTES.add("POST", "/containers/{id}/exec")
async def create(call: Call) -> web.StreamResponse:
    """Create an exec."""
    config = await read_json(call.request, ExecConfig)
    if not versions.has(call.version, "exec ConsoleSize"):
        config.ConsoleSize = None
    return json_response({"Id": await call.engine.execs.create(call.match["id"], config)}, 201)


@ROUTES.add("POST", "/exec/{id}/start")
async def start(call: Call) -> web.StreamResponse:
    """Start an exec; unless detached, the connection becomes its streams."""
    options = await read_json(call.request, ExecStartRequest, optional=True)
    attachment = await call.engine.execs.start(call.match["id"], options)
    if attachment is None:
        return empty(200)
    return await hijack(
        call.request,
        attachment,
        multiplexed=not attachment.terminal,
        multiplexed_type=versions.has(call.version, "multiplexed media type"),
    )


@ROUTES.add("POST", "/exec/{id}/resize")
async def resize(call: Call) -> web.StreamResponse:
    """Resize an exec's terminal."""
    height, width = query.size(call.request, "h"), query.size(call.request, "w")
    await call.engine.execs.resize(call.match["id"], height, width)
    return empty(200)


@ROUTES.add("GET", "/exec/{id}/json")
async def inspect(call: Call) -> web.StreamResponse:
    """Inspect an exec."""
    return json_response(call.engine.execs.inspect(call.match["id"]))
