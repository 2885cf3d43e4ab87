"""darse's own `/darse/volumes/{id}`: archives, copies and snapshots of volumes, and what takes their room."""

from __future__ import annotations

import msgspec

from darse import aiohttp_server as web
from darse.api import query
from darse.api.body import read_json
from darse.api.responses import json_response, stream
from darse.api.routing import Call, Routes
from darse.api.uploads import Upload
from darse.core.errors import InvalidParameter
from darse.volumes.model import VolumeRecord
from darse.wire.volumes import VolumeCopy

ROUTES = Routes()
_DEEPEST = 100


def _volume(call: Call, record: VolumeRecord, status: int = 201) -> web.StreamResponse:
    return json_response(call.engine.volumes.view(record), status)


def _labels(text: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(text, type=dict[str, str]) if text else {}
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"invalid labels: {error}") from error


@ROUTES.add("GET", "/darse/volumes/{id}/archive")
async def export(call: Call) -> web.StreamResponse:
    """All files of a volume."""
    async with call.engine.volumes.data.export(call.match["id"]) as pieces:
        return await stream(call.request, pieces, "application/x-tar", error_timeout=None)


@ROUTES.add("PUT", "/darse/volumes/{id}/archive")
async def import_archive(call: Call) -> web.StreamResponse:
    """Make a volume of an archive, or replace what it holds."""
    record = await call.engine.volumes.data.import_archive(
        call.match["id"],
        Upload(call.request).pieces(),
        _labels(query.text(call.request, "labels")),
        replace=query.flag(call.request, "replace"),
    )
    return _volume(call, record)


@ROUTES.add("POST", "/darse/volumes/{id}/clone")
async def clone(call: Call) -> web.StreamResponse:
    """Make another volume with what this one holds."""
    body = await read_json(call.request, VolumeCopy)
    return _volume(call, await call.engine.volumes.data.clone(call.match["id"], body.Name, body.Labels or {}))


@ROUTES.add("POST", "/darse/volumes/{id}/snapshots")
async def snapshot(call: Call) -> web.StreamResponse:
    """Keep what a volume holds now."""
    body = await read_json(call.request, VolumeCopy, optional=True)
    return _volume(call, await call.engine.volumes.data.snapshot(call.match["id"], body.Name))


@ROUTES.add("POST", "/darse/volumes/{id}/restore")
async def restore(call: Call) -> web.StreamResponse:
    """Have a volume hold what a snapshot has."""
    body = await read_json(call.request, VolumeCopy)
    return _volume(call, await call.engine.volumes.data.restore(call.match["id"], body.Name), 200)


@ROUTES.add("GET", "/darse/volumes/{id}/usage")
async def usage(call: Call) -> web.StreamResponse:
    """What in a volume takes the room."""
    depth = query.number(call.request, "depth", 1) or 1
    if not 1 <= depth <= _DEEPEST:
        raise InvalidParameter(f"invalid depth {depth}: 1 to {_DEEPEST}")
    found = await call.engine.volumes.data.usage(call.match["id"], query.text(call.request, "path"), depth)
    return json_response(found)
