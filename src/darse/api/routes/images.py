"""`/images`: lists, inspections, names and removal (Docker Engine API, "Image").

Pull and push are in `darse.api.routes.distribution`, archives in `image_archives`. Names have slashes in them, so a
route with `{name}` in the middle matches several parts of a path.
"""

from __future__ import annotations

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.responses import empty, json_response
from darse.api.routing import Call, Routes
from darse.core.errors import InvalidParameter, NotFound
from darse.core.filters import Filters
from darse.images.service import LIST_FILTERS, PRUNE_FILTERS

ROUTES = Routes()


@ROUTES.add("GET", "/images/json")
async def list_images(call: Call) -> web.StreamResponse:
    """List images."""
    request = call.request
    filters = Filters.parse(request.query.get("filters"), LIST_FILTERS)
    if versions.has(call.version, "images/json filter") and (name := query.text(request, "filter")):
        filters = filters.adding("reference", name)
    manifests = query.flag(request, "manifests") and versions.has(call.version, "images/json manifests")
    # The identity of an image is a part of its manifests; none is known yet.
    identity = query.flag(request, "identity") and versions.has(call.version, "images/json identity")
    found = call.engine.images.views.list_images(
        filters,
        manifests=manifests or identity,
        shared_size=query.flag(request, "shared-size") and versions.has(call.version, "images/json shared-size"),
        containers=versions.has(call.version, "images/json containers"),
    )
    return json_response(versions.image_list(call.version, found))


@ROUTES.add("GET", "/images/{name}/json")
async def inspect(call: Call) -> web.StreamResponse:
    """Inspect an image."""
    request = call.request
    version = call.version
    manifests = query.flag(request, "manifests") and versions.has(version, "images/inspect manifests")
    platform = query.platform(request) if versions.has(version, "images/inspect platform") else None
    if manifests and platform is not None:
        raise InvalidParameter("conflicting options: manifests and platform options cannot both be set")
    views = call.engine.images.views
    found = views.inspect_image(_name(call), platform, manifests=manifests)
    return json_response(versions.image_inspect(version, found, views.built_from))


@ROUTES.add("GET", "/images/{name}/history")
async def history(call: Call) -> web.StreamResponse:
    """The steps that made an image."""
    platform = query.platform(call.request) if versions.has(call.version, "images/history platform") else None
    return json_response(call.engine.images.views.history(_name(call), platform))


@ROUTES.add("GET", "/images/{name}/attestations")
async def attestations(call: Call) -> web.StreamResponse:
    """The attestations of an image."""
    if not versions.has(call.version, "images/attestations"):
        raise NotFound("page not found")
    request = call.request
    requested = query.platforms_of(request)
    if len(requested) > 1:
        raise InvalidParameter("multiple platform parameters are not supported: give one")
    found = call.engine.images.views.attestations(
        _name(call),
        requested[0] if requested else None,
        types=request.query.getall("type", []),
        statements=query.flag(request, "statement"),
    )
    return json_response(found)


@ROUTES.add("POST", "/images/{name}/tag")
async def tag(call: Call) -> web.StreamResponse:
    """Give an image another name."""
    call.engine.images.tag_image(_name(call), query.text(call.request, "repo"), query.text(call.request, "tag"))
    return empty(201)


@ROUTES.add("DELETE", "/images/{name}")
async def remove(call: Call) -> web.StreamResponse:
    """Remove a name, and with the last one the image."""
    request = call.request
    requested = request.query.getall("platforms", []) if versions.has(call.version, "images/remove platforms") else ()
    removed = await call.engine.images.deletion.remove_image(
        _name(call),
        force=query.flag(request, "force"),
        prune=not query.flag(request, "noprune"),
        platforms=[query.read_platform(text) for text in requested if text],
    )
    return json_response(removed)


@ROUTES.add("POST", "/images/prune")
async def prune(call: Call) -> web.StreamResponse:
    """Remove unused images."""
    filters = Filters.parse(call.request.query.get("filters"), PRUNE_FILTERS)
    return json_response(await call.engine.images.deletion.prune_images(filters))


def _name(call: Call) -> str:
    return call.match["name"]
