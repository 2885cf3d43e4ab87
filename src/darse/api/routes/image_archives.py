"""`/images/load`, `/images/get` and `/images/{name}/get`: archives of images, docker's form and OCI layouts.

Archives go through piece by piece, in both directions: no size is a limit, and a client that leaves ends the work.
"""

from __future__ import annotations

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.progress import load_messages
from darse.api.responses import progress, stream
from darse.api.routing import Call, Routes
from darse.api.uploads import Upload
from darse.archive.request_body import LONGEST_START
from darse.core.errors import InvalidParameter
from darse.image_spec.platforms import Platform

ROUTES = Routes()
# Seconds in which a failure of the first piece is still an error status: then the head of the answer is sent.
_ERROR_SECONDS = 5


@ROUTES.add("POST", "/images/load")
async def load(call: Call) -> web.StreamResponse:
    """Load images from an archive."""
    quiet, platforms = query.flag(call.request, "quiet"), _platforms(call)
    upload = Upload(call.request)
    body = upload.take(LONGEST_START) or upload.pieces()
    loader = call.engine.images.loader
    messages = load_messages(lambda report: loader.load_images(body, platforms=platforms, report=report), quiet=quiet)
    return await progress(call.request, messages, errors_inside=True)


@ROUTES.add("GET", "/images/get")
async def save_many(call: Call) -> web.StreamResponse:
    """Save images to an archive."""
    names = call.request.query.getall("names", [])
    if not names:
        raise InvalidParameter("names of images to save are required")
    archive = call.engine.images.saver.save_images(names, _platforms(call))
    return await stream(call.request, archive, "application/x-tar", error_timeout=_ERROR_SECONDS)


@ROUTES.add("GET", "/images/{name}/get")
async def save(call: Call) -> web.StreamResponse:
    """Save an image to an archive."""
    archive = call.engine.images.saver.save_images([call.match["name"]], _platforms(call))
    return await stream(call.request, archive, "application/x-tar", error_timeout=_ERROR_SECONDS)


def _platforms(call: Call) -> list[Platform]:
    if not versions.has(call.version, "images/archives platform"):
        return []
    requested = query.platforms_of(call.request)
    if len(requested) > 1 and not versions.has(call.version, "several platforms"):
        raise InvalidParameter(
            "multiple platform parameters are not supported in this API version; use API version 1.52 or later"
        )
    return requested
