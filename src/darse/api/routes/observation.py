"""`/containers/{id}/top`, `/stats`, `/changes` and `/update`: looking at what runs, and changing its limits.

Also darse's own `/darse/usage`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.body import read_json
from darse.api.responses import json_response, stream
from darse.api.routing import Call, Routes
from darse.core.errors import InvalidParameter
from darse.wire.observation import UpdateRequest

ROUTES = Routes()


@ROUTES.add("GET", "/containers/{id}/top")
async def top(call: Call) -> web.StreamResponse:
    """List a container's processes."""
    arguments = query.text(call.request, "ps_args")
    return json_response(await call.engine.containers.observation.top(call.match["id"], arguments))


@ROUTES.add("GET", "/containers/{id}/stats")
async def stats(call: Call) -> web.StreamResponse:
    """Sample what a container uses, once or as a stream."""
    request, service = call.request, call.engine.containers.observation
    one_shot = query.flag(request, "one-shot") and versions.has(call.version, "containers/stats one-shot")
    if query.flag(request, "stream", default=True):
        if one_shot:
            raise InvalidParameter("cannot have stream=true and one-shot=true")
        return await stream(request, service.stats_stream(call.match["id"]), "application/json")
    return json_response(await service.stats(call.match["id"], one_shot=one_shot))


@ROUTES.add("GET", "/darse/usage")
async def usage(call: Call) -> web.StreamResponse:
    """Sample the host and all running containers at once (darse's own)."""
    return json_response(await call.engine.containers.observation.usage())


@ROUTES.add("GET", "/containers/{id}/changes")
async def changes(call: Call) -> web.StreamResponse:
    """List what a container has changed in its files."""
    changed = call.engine.containers.observation.changes(call.match["id"])
    first = await anext(changed)
    second = await anext(changed, None)
    if second is None:
        return json_response(first)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"[" + msgspec.json.encode(first)[1:-1]
        if second:
            yield b"," + msgspec.json.encode(second)[1:-1]
        async for some in changed:
            if some:
                yield b"," + msgspec.json.encode(some)[1:-1]
        yield b"]\n"

    return await stream(call.request, pieces(), "application/json")


@ROUTES.add("POST", "/containers/{id}/update")
async def update(call: Call) -> web.StreamResponse:
    """Change a container's limits and restart policy."""
    body = await read_json(call.request, UpdateRequest)
    versions.update_request(call.version, body)
    return json_response(await call.engine.containers.observation.update(call.match["id"], body))
