"""`/images`."""

from __future__ import annotations

import msgspec

from darse.api import aiohttp_server as web
from darse.api import query
from darse.api.app import Call, Routes
from darse.api.responses import empty, json_response
from darse.engine.errors import InvalidParameter
from darse.engine.filters import Filters
from darse.images import platforms
from darse.images.service import LIST_FILTERS, PRUNE_FILTERS
from darse.wire.images import ImageInspect, ImageSummary

ROUTES = Routes()
_MANIFESTS_SINCE, _DESCRIPTOR_SINCE, _VIRTUAL_SIZE_UNTIL = (1, 47), (1, 48), (1, 44)


@ROUTES.add("GET", "/images/json")
async def list_images(call: Call) -> web.StreamResponse:
    """List images."""
    request = call.request
    filters = Filters.parse(request.query.get("filters"), LIST_FILTERS)
    if call.version < (1, 41) and (name := query.text(request, "filter")):
        filters = filters.adding("reference", name)
    found = call.engine.images.list_images(
        filters,
        manifests=query.flag(request, "manifests") and call.version >= _MANIFESTS_SINCE,
        shared_size=query.flag(request, "shared-size"),
    )
    for summary in found:
        _as_in(call.version, summary)
    return json_response(found)


def _as_in(version: tuple[int, int], image: ImageSummary | ImageInspect) -> None:
    """Take and give what versions of the API differ in."""
    if version < _DESCRIPTOR_SINCE:
        image.Descriptor = msgspec.UNSET
    if version < _VIRTUAL_SIZE_UNTIL:
        image.VirtualSize = image.Size


@ROUTES.add("GET", "/images/{name}/json")
async def inspect(call: Call) -> web.StreamResponse:
    """Inspect an image."""
    request = call.request
    manifests, platform = query.flag(request, "manifests"), query.platform(call.request)
    if manifests and platform is not None:
        raise InvalidParameter("conflicting options: manifests and platform options cannot both be set")
    found = call.engine.images.inspect(_name(call), platform, manifests=manifests and call.version >= _DESCRIPTOR_SINCE)
    _as_in(call.version, found)
    return json_response(found)


@ROUTES.add("GET", "/images/{name}/history")
async def history(call: Call) -> web.StreamResponse:
    """The steps that made an image."""
    return json_response(call.engine.images.history(_name(call), query.platform(call.request)))


@ROUTES.add("POST", "/images/{name}/tag")
async def tag(call: Call) -> web.StreamResponse:
    """Give an image another name."""
    call.engine.images.tag(_name(call), query.text(call.request, "repo"), query.text(call.request, "tag"))
    return empty(201)


@ROUTES.add("DELETE", "/images/{name}")
async def remove(call: Call) -> web.StreamResponse:
    """Remove a name, and with the last one the image."""
    request = call.request
    removed = await call.engine.images.remove(
        _name(call),
        force=query.flag(request, "force"),
        prune=not query.flag(request, "noprune"),
        platforms=[platforms.parse_json(text) for text in request.query.getall("platforms", []) if text],
    )
    return json_response(removed)


@ROUTES.add("POST", "/images/prune")
async def prune(call: Call) -> web.StreamResponse:
    """Remove unused images."""
    filters = Filters.parse(call.request.query.get("filters"), PRUNE_FILTERS)
    return json_response(await call.engine.images.prune(filters))


def _name(call: Call) -> str:
    return call.match["name"]
