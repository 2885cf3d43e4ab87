"""`/images`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from darse.api import aiohttp_server as web
from darse.api import query
from darse.api.app import Call, Routes
from darse.api.responses import empty, json_response, progress, stream
from darse.engine.errors import InvalidParameter, NotFound, NotImplementedHere
from darse.engine.filters import Filters
from darse.images import references
from darse.images.service import LIST_FILTERS, PRUNE_FILTERS

ROUTES = Routes()
_PIECE = 256 * 1024
# How long the first piece of an archive may fail before the head of the answer is sent; seconds.
_PATIENCE = 5


@ROUTES.add("GET", "/images/json")
async def list_images(call: Call) -> web.StreamResponse:
    """List images."""
    filters = Filters.parse(call.request.query.get("filters"), LIST_FILTERS)
    shared = query.flag(call.request, "shared-size")
    return json_response(call.engine.images.list_images(filters, shared_size=shared))


@ROUTES.add("POST", "/images/create")
async def create(call: Call) -> web.StreamResponse:
    """Import a root file system (`fromSrc=-`), or get an image by its name (`fromImage`)."""
    request = call.request
    if source := query.text(request, "fromSrc"):
        return await _import(call, source)
    image = query.text(request, "fromImage")
    if not image:
        raise InvalidParameter("either fromImage or fromSrc is wanted")
    tag = query.text(request, "tag")
    separator = "@" if tag.startswith("sha256:") else ":"
    return await progress(request, _pull(call, f"{image}{separator}{tag}" if tag else image))


async def _import(call: Call, source: str) -> web.StreamResponse:
    if source != "-":
        raise NotImplementedHere("importing from a URL is not supported: download it, and import from standard input")
    request = call.request
    repository, tag = query.text(request, "repo"), query.text(request, "tag")
    name = f"{repository}:{tag}" if repository and tag else repository
    messages = call.engine.images.import_(
        request.content.iter_chunked(_PIECE),
        name,
        request.query.getall("changes", []),
        query.text(request, "message"),
        query.text(request, "platform"),
    )
    return await progress(request, messages)


async def _pull(call: Call, text: str) -> AsyncIterator[dict[str, Any]]:
    reference = references.parse(text)
    try:
        image = await call.engine.images.ensure(text)
    except NotFound as error:
        raise NotFound(
            f"pull access denied for {reference.familiar_name}: this engine has no registry client yet; load the image "
            "with `docker load`, or use builtin/busybox"
        ) from error
    yield {"status": f"Pulling from {reference.path}", "id": reference.tag}
    yield {"status": f"Digest: {image.manifest.digest}"}
    yield {"status": f"Status: Image is up to date for {reference.familiar}"}


@ROUTES.add("POST", "/images/load")
async def load(call: Call) -> web.StreamResponse:
    """Load images from an archive."""
    messages = call.engine.images.load(
        call.request.content.iter_chunked(_PIECE), quiet=query.flag(call.request, "quiet")
    )
    return await progress(call.request, messages)


@ROUTES.add("GET", "/images/get")
async def save_many(call: Call) -> web.StreamResponse:
    """Save images to an archive."""
    names = call.request.query.getall("names", [])
    if not names:
        raise InvalidParameter("names of images to save are wanted")
    return await stream(call.request, call.engine.images.save(names), "application/x-tar", patience=_PATIENCE)


@ROUTES.add("GET", "/images/{name}/get")
async def save(call: Call) -> web.StreamResponse:
    """Save an image to an archive."""
    return await stream(call.request, call.engine.images.save([_name(call)]), "application/x-tar", patience=_PATIENCE)


@ROUTES.add("GET", "/images/{name}/json")
async def inspect(call: Call) -> web.StreamResponse:
    """Inspect an image."""
    return json_response(call.engine.images.inspect(_name(call)))


@ROUTES.add("GET", "/images/{name}/history")
async def history(call: Call) -> web.StreamResponse:
    """The steps that made an image."""
    return json_response(call.engine.images.history(_name(call)))


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
        _name(call), force=query.flag(request, "force"), prune=not query.flag(request, "noprune")
    )
    return json_response(removed)


@ROUTES.add("POST", "/images/prune")
async def prune(call: Call) -> web.StreamResponse:
    """Remove unused images."""
    filters = Filters.parse(call.request.query.get("filters"), PRUNE_FILTERS)
    return json_response(await call.engine.images.prune(filters))


def _name(call: Call) -> str:
    return call.match["name"]
