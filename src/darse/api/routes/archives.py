"""`/containers/{id}/archive` and `/export`: a container's files as archives."""

from __future__ import annotations

import base64

import msgspec

from darse import aiohttp_server as web
from darse.api import query
from darse.api.responses import empty, json_response, stream
from darse.api.routing import Call, Routes
from darse.api.uploads import Upload
from darse.wire.archives import ContainerPathStat

ROUTES = Routes()
_STAT = "X-Docker-Container-Path-Stat"
_TAR = "application/x-tar"
# How long the first piece may fail before the head of the answer is sent; seconds.
_ERROR_SECONDS = 5


def _stat_header(stat: ContainerPathStat) -> dict[str, str]:
    return {_STAT: base64.b64encode(msgspec.json.encode(stat)).decode()}


@ROUTES.add("HEAD", "/containers/{id}/archive")
async def stat(call: Call) -> web.StreamResponse:
    """Look at a file in a container."""
    found = await call.engine.containers.archives.stat(call.match["id"], query.text(call.request, "path"))
    response = empty(200)
    response.headers.update(_stat_header(found))
    return response


@ROUTES.add("GET", "/darse/containers/{id}/files")
async def list_files(call: Call) -> web.StreamResponse:
    """List a directory of a container (darse's own)."""
    archives = call.engine.containers.archives
    return json_response(await archives.list_directory(call.match["id"], query.text(call.request, "path")))


@ROUTES.add("GET", "/containers/{id}/archive")
async def get(call: Call) -> web.StreamResponse:
    """Copy out of a container."""
    path = query.text(call.request, "path")
    async with call.engine.containers.archives.get(call.match["id"], path) as archive:
        headers = _stat_header(archive.stat)
        return await stream(call.request, archive.pieces(), _TAR, error_timeout=_ERROR_SECONDS, headers=headers)


@ROUTES.add("PUT", "/containers/{id}/archive")
async def put(call: Call) -> web.StreamResponse:
    """Copy into a container."""
    request = call.request
    await call.engine.containers.archives.put(
        call.match["id"],
        query.text(request, "path"),
        Upload(request),
        keep_kinds=query.flag(request, "noOverwriteDirNonDir"),
        container_owner=query.flag(request, "copyUIDGID"),
    )
    return empty(200)


@ROUTES.add("GET", "/containers/{id}/export")
async def export(call: Call) -> web.StreamResponse:
    """All files of a container."""
    async with call.engine.containers.archives.export(call.match["id"]) as archive:
        return await stream(call.request, archive.pieces(), _TAR, error_timeout=_ERROR_SECONDS)
