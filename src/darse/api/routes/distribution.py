"""Operations on registries: pull, push, search, login; and imports, which share the path of pulls."""

from __future__ import annotations

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.body import read_json
from darse.api.progress import import_messages, pull_all_messages, pull_messages, push_messages
from darse.api.registry_auth import credentials_of, read_credentials, read_others
from darse.api.responses import json_response, progress
from darse.api.routing import Call, Routes
from darse.core.errors import InvalidParameter
from darse.core.filters import Filters
from darse.image_spec.platforms import Platform
from darse.images import references
from darse.images.references import Reference
from darse.images.transfer.service import SEARCH_FILTERS
from darse.wire.registries import AuthConfig, AuthResponse

ROUTES = Routes()
_PIECE = 256 * 1024
_SEARCH_LIMIT = 100


@ROUTES.add("POST", "/images/create")
async def create(call: Call) -> web.StreamResponse:
    """Pull (`fromImage`), or import a root file system (`fromSrc`: `-` for the body, or a URL)."""
    request = call.request
    if source := query.text(request, "fromSrc"):
        return await _import(call, source)
    image = query.text(request, "fromImage")
    if not image:
        raise InvalidParameter("either fromImage or fromSrc is required")
    from darse.images.transfer.pull import PullOptions  # noqa: PLC0415 - as all of pulls, when one is asked for

    reference, all_tags = _asked(image, query.text(request, "tag"))
    platform = _platform(call)
    options = PullOptions(platform, read_credentials(request), read_others(request))
    puller = call.engine.registries.puller
    messages = (
        pull_all_messages(lambda report: puller.pull_all_tags(reference, options, report), reference, platform)
        if all_tags
        else pull_messages(lambda report: puller.pull_image(reference, options, report), platform)
    )
    return await progress(request, messages, interruptible=True)


def _asked(image: str, tag: str) -> tuple[Reference, bool]:
    """The reference to pull, and whether all tags of its repository are meant: it has neither tag nor digest."""
    name = references.parse_name(image.removesuffix(":"))
    if tag:
        separator = "@" if tag.startswith("sha256:") else ":"
        name = references.parse_name(f"{name.name}{separator}{tag}")
    all_tags = not name.tag and not name.digest
    return references.parse(str(name)), all_tags


async def _import(call: Call, source: str) -> web.StreamResponse:
    request = call.request
    repository, tag = query.text(request, "repo"), query.text(request, "tag")
    name = f"{repository}:{tag}" if repository and tag else repository
    reference = references.parse_tag(name) if name else None
    platform = _platform(call)
    content = request.content.iter_chunked(_PIECE) if source == "-" else call.engine.registries.download_url(source)
    loader = call.engine.images.loader
    messages = import_messages(
        lambda _: loader.import_image(
            content,
            name=reference,
            changes=request.query.getall("changes", []),
            message=query.text(request, "message") or f"Imported from {source}",
            platform=platform,
        )
    )
    return await progress(request, messages)


def _platform(call: Call) -> Platform | None:
    text = query.text(call.request, "platform") if versions.has(call.version, "images/create platform") else ""
    return query.read_platform(text) if text else None


@ROUTES.add("POST", "/images/{name}/push")
async def push(call: Call) -> web.StreamResponse:
    """Push an image; without a tag, all tags of the name."""
    request = call.request
    name = references.parse_name(call.match["name"])
    tag = query.text(request, "tag")
    if tag:
        name = references.parse_name(f"{name.name}:{tag}")
    platform = query.platform(request) if versions.has(call.version, "images/push platform") else None
    credentials = read_credentials(request)
    pusher = call.engine.registries.pusher
    messages = push_messages(
        lambda report: pusher.push_image(name, platform=platform, credentials=credentials, report=report)
    )
    return await progress(request, messages, interruptible=True)


@ROUTES.add("POST", "/auth")
async def login(call: Call) -> web.StreamResponse:
    """Try credentials on a registry."""
    given = await read_json(call.request, AuthConfig)
    token = await call.engine.registries.log_in(given.serveraddress, credentials_of(given))
    return json_response(AuthResponse("Login Succeeded", token))


@ROUTES.add("GET", "/images/search")
async def search(call: Call) -> web.StreamResponse:
    """Search repositories."""
    request = call.request
    limit = query.number(request, "limit", 0) or 25
    if not 1 <= limit <= _SEARCH_LIMIT:
        raise InvalidParameter(f"limit {limit} is outside the range of [1, {_SEARCH_LIMIT}]")
    filters = Filters.parse(request.query.get("filters"), SEARCH_FILTERS)
    found = await call.engine.registries.search_repositories(
        query.text(request, "term"), limit, filters, read_credentials(request)
    )
    return json_response(found)


@ROUTES.add("GET", "/distribution/{name}/json")
async def distribution(call: Call) -> web.StreamResponse:
    """Inspect what a registry has under a name, without a pull."""
    reference = references.parse(call.match["name"])
    return json_response(await call.engine.registries.inspect_manifest(reference, read_credentials(call.request)))
