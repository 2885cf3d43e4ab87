"""`/build`: images of Dockerfiles, and the cache of builds; and darse's own `/darse/builds`, their history."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING

from darse import aiohttp_server as web
from darse.api import query
from darse.api.hijack import hijack
from darse.api.progress import Message
from darse.api.responses import empty, json_response, progress, stream
from darse.api.routing import Call, Routes
from darse.core import executors
from darse.core.errors import InvalidParameter, NotFound
from darse.core.filters import Filters
from darse.wire.system import CachesPruned

if TYPE_CHECKING:
    from darse.build.history import BuildHistoryService

ROUTES = Routes()
PRUNE_FILTERS = ("description", "id", "inuse", "parent", "private", "shared", "type", "until")


@ROUTES.add("POST", "/build")
async def build(call: Call) -> web.StreamResponse:
    """Build an image of an archive, or of a URL's content."""
    messages_of = _loaded() if _is_loaded() else await executors.storage.run(_loaded)
    return await progress(call.request, await messages_of(call), interruptible=True)


def _is_loaded() -> bool:
    return _loaded.cache_info().currsize > 0


@functools.cache
def _loaded() -> Callable[[Call], Awaitable[AsyncGenerator[list[Message]]]]:
    """Import what reads builds, in a thread: an engine that builds nothing loads none of it, and others do not wait."""
    from darse.api.builds.request import messages_of  # noqa: PLC0415

    return messages_of


@ROUTES.add("POST", "/build/cancel")
async def cancel(call: Call) -> web.StreamResponse:
    """Cancel a build by the id that its client gave it."""
    identifier = query.text(call.request, "id")
    if not identifier:
        raise InvalidParameter("build ID not provided")
    call.engine.builds.cancel(identifier)
    return empty(200)


@ROUTES.add("POST", "/build/agents")
async def agents(call: Call) -> web.StreamResponse:
    """Carry a connection to an SSH agent of a build's client, who was asked for it."""
    service = await call.engine.builds.load()
    connection = await service.agent_calls.answer(query.text(call.request, "connection"))
    return await hijack(call.request, connection, multiplexed=False, multiplexed_type=False)


@ROUTES.add("POST", "/build/contexts")
async def contexts(call: Call) -> web.StreamResponse:
    """Carry what has changed of a context to a build whose client was asked for it."""
    service = await call.engine.builds.load()
    connection = await service.agent_calls.answer(query.text(call.request, "connection"))
    return await hijack(call.request, connection, multiplexed=False, multiplexed_type=False)


@ROUTES.add("GET", "/build/caches/{token}")
async def cache(call: Call) -> web.StreamResponse:
    """The image layout of a cache that a build has exported for its client, once."""
    archive = (await call.engine.builds.load()).cache_exports.take(call.match["token"])
    return await stream(call.request, archive, "application/x-tar")


@ROUTES.add("POST", "/build/prune")
async def prune(call: Call) -> web.StreamResponse:
    """Remove what of the build cache is not used."""
    request = call.request
    # `system prune` of docker's client sends what it filters other objects by: that is passed over.
    filters = Filters.parse(request.query.get("filters"), (*PRUNE_FILTERS, "label", "label!"))
    conditions = [f"{name}={value}" if value else name for name in PRUNE_FILTERS for value in filters.values(name)]
    removed = await call.engine.builds.prune(
        conditions,
        everything=query.flag(request, "all"),
        reserved_space=query.number(request, "reserved-space") or query.number(request, "keep-storage") or 0,
        max_used_space=query.number(request, "max-used-space") or 0,
    )
    return json_response(CachesPruned([one.ID for one in removed] or None, sum(one.Size for one in removed)))


@ROUTES.add("GET", "/darse/builds")
async def list_builds(call: Call) -> web.StreamResponse:
    """The builds that run and those that were, the newest first."""
    history = await call.engine.builds.history()
    if history is None:
        return json_response([])
    from darse.api.builds.history import summary_document  # noqa: PLC0415

    return json_response([summary_document(one) for one in history.summaries()])


# Before the next: names have slashes.
@ROUTES.add("GET", "/darse/builds/{name}/logs")
async def build_logs(call: Call) -> web.StreamResponse:
    """What the steps of a build said."""
    history = await _history(call)
    from darse.api.builds.history import log_document  # noqa: PLC0415

    return json_response([log_document(one) for one in history.logs(call.match["name"])])


@ROUTES.add("GET", "/darse/builds/{name}")
async def explain_build(call: Call) -> web.StreamResponse:
    """What became of each step of a build, and why."""
    history = await _history(call)
    from darse.api.builds.history import explanation_document  # noqa: PLC0415

    return json_response(explanation_document(await history.explain(call.match["name"])))


async def _history(call: Call) -> BuildHistoryService:
    history = await call.engine.builds.history()
    if history is None:
        raise NotFound(f"no build {call.match['name']}: there was none yet")
    return history
