"""`/containers/{id}/checkpoints`: state of processes written to files, by CRIU (Engine API, "Container").

A start from a checkpoint is a parameter of `/start`, in `darse.api.routes.containers`.
"""

from __future__ import annotations

from darse import aiohttp_server as web
from darse.api import query
from darse.api.body import read_json
from darse.api.responses import empty, json_response
from darse.api.routing import Call, Routes
from darse.containers.filesystem.checkpoints import CheckpointPlace
from darse.wire.checkpoints import CheckpointCreate

ROUTES = Routes()


@ROUTES.add("POST", "/containers/{id}/checkpoints")
async def create(call: Call) -> web.StreamResponse:
    """Make a checkpoint."""
    await call.engine.containers.checkpoints.create(call.match["id"], await read_json(call.request, CheckpointCreate))
    return empty(201)


@ROUTES.add("GET", "/containers/{id}/checkpoints")
async def list_checkpoints(call: Call) -> web.StreamResponse:
    """List checkpoints."""
    found = await call.engine.containers.checkpoints.list_checkpoints(call.match["id"], query.text(call.request, "dir"))
    return json_response(found)


@ROUTES.add("DELETE", "/containers/{id}/checkpoints/{checkpoint}")
async def remove(call: Call) -> web.StreamResponse:
    """Remove a checkpoint."""
    place = CheckpointPlace(call.match["checkpoint"], query.text(call.request, "dir"))
    await call.engine.containers.checkpoints.remove_checkpoint(call.match["id"], place)
    return empty(204)
