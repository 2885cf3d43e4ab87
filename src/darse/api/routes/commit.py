"""`/commit`: an image made of what a container has changed.

The body of the request is a container's configuration, and `changes` are Dockerfile instructions. How they are merged
is said in `darse.containers.filesystem.commit`.
"""

from __future__ import annotations

from darse import aiohttp_server as web
from darse.api import query
from darse.api.body import read_json
from darse.api.responses import json_response
from darse.api.routing import Call, Routes
from darse.containers.filesystem.commit import CommitOptions
from darse.core.errors import InvalidParameter
from darse.wire.containers import ContainerConfig

ROUTES = Routes()


@ROUTES.add("POST", "/commit")
async def commit(call: Call) -> web.StreamResponse:
    """Make an image of a container."""
    request = call.request
    container = query.text(request, "container")
    if not container:
        raise InvalidParameter("bad parameter: container cannot be empty")
    options = CommitOptions(
        repository=query.text(request, "repo"),
        tag=query.text(request, "tag"),
        message=query.text(request, "comment"),
        author=query.text(request, "author"),
        changes=request.query.getall("changes", []),
        pause=query.flag(request, "pause", default=True),
        config=await read_json(request, ContainerConfig, optional=True),
    )
    image = await call.engine.containers.commits.commit(container, options)
    return json_response({"Id": image.id}, 201)
