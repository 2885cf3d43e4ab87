"""`/volumes`: volumes of all drivers (Docker Engine API, "Volume").

Their contents go through `darse.api.routes.volume_data`.
"""

from __future__ import annotations

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.body import read_json
from darse.api.responses import empty, json_response
from darse.api.routing import Call, Routes
from darse.core.filters import Filters
from darse.volumes.service import LIST_FILTERS, PRUNE_FILTERS
from darse.wire.volumes import VolumeCreate

ROUTES = Routes()


@ROUTES.add("GET", "/volumes")
async def list_volumes(call: Call) -> web.StreamResponse:
    """List volumes."""
    filters = Filters.parse(call.request.query.get("filters"), LIST_FILTERS)
    return json_response(await call.engine.volumes.list_volumes(filters))


@ROUTES.add("POST", "/volumes/create")
async def create(call: Call) -> web.StreamResponse:
    """Create a volume."""
    body = await read_json(call.request, VolumeCreate, optional=True)
    return json_response(await call.engine.volumes.create(body), 201)


@ROUTES.add("POST", "/volumes/prune")
async def prune(call: Call) -> web.StreamResponse:
    """Remove unused volumes. Before API 1.42 that meant named ones too."""
    filters = Filters.parse(call.request.query.get("filters"), PRUNE_FILTERS)
    if not versions.has(call.version, "volumes/prune all"):
        filters = Filters({"all": ["true"], "label": filters.values("label"), "label!": filters.values("label!")})
    return json_response(await call.engine.volumes.prune(filters))


@ROUTES.add("GET", "/volumes/{id}")
async def inspect(call: Call) -> web.StreamResponse:
    """Inspect a volume."""
    return json_response(await call.engine.volumes.inspect(call.match["id"]))


@ROUTES.add("DELETE", "/volumes/{id}")
async def remove(call: Call) -> web.StreamResponse:
    """Remove a volume."""
    await call.engine.volumes.remove_volume(call.match["id"], force=query.flag(call.request, "force"))
    return empty()
