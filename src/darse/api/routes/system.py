"""The engine as a whole: ping, version, info, events, disk usage; and darse's own `explain` and `doctor`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import msgspec

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.responses import json_response, stream
from darse.api.routing import Call, Routes
from darse.core.errors import InvalidParameter
from darse.core.events import Event
from darse.core.filters import Filters
from darse.engine.system import EVENT_FILTERS, USAGE_TYPES, event_matches

ROUTES = Routes()
_UNCACHED = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}


@ROUTES.add("GET", "/_ping")
@ROUTES.add("HEAD", "/_ping")
async def ping(call: Call) -> web.StreamResponse:
    """Say that the engine is there."""
    body = b"" if call.request.method == "HEAD" else b"OK"
    return web.Response(
        body=body,
        content_type="text/plain",
        headers={**_UNCACHED, "Builder-Version": "2", "Swarm": "inactive"},
    )


@ROUTES.add("GET", "/version")
async def version(call: Call) -> web.StreamResponse:
    """What the engine is."""
    return json_response(await call.engine.system.version())


@ROUTES.add("GET", "/info")
async def info(call: Call) -> web.StreamResponse:
    """How the engine is."""
    return json_response(versions.info(call.version, await call.engine.system.info()))


@ROUTES.add("GET", "/system/df")
async def disk_usage(call: Call) -> web.StreamResponse:
    """What takes how much room."""
    given = call.request.query.getall("type", []) if versions.has(call.version, "system/df type") else []
    types = set(given) or set(USAGE_TYPES)
    if unknown := types - USAGE_TYPES:
        raise InvalidParameter(f"unknown object type: {min(unknown)}")
    verbose = query.flag(call.request, "verbose") and versions.has(call.version, "system/df verbose")
    found = await call.engine.system.disk_usage(types)
    return json_response(versions.disk_usage(call.version, found, verbose=verbose))


@ROUTES.add("GET", "/events")
async def events(call: Call) -> web.StreamResponse:
    """Events as they come, after those since a time, until a time."""
    request = call.request
    filters = Filters.parse(request.query.get("filters"), EVENT_FILTERS)
    since_ns = query.time_ns(request, "since") if query.text(request, "since") else None
    until_ns = query.time_ns(request, "until")
    if until_ns and (since_ns or 0) > until_ns:
        since, until = query.text(request, "since"), query.text(request, "until")
        raise InvalidParameter(f"`since` time ({since}) cannot be after `until` time ({until})")
    left_ns = until_ns - time.time_ns()
    seconds = left_ns / 1e9 if left_ns > 0 else None
    media_type = query.accepted(request, versions.event_streams(call.version), "application/json")
    # A record of RFC 7464 begins with a record separator.
    begin = b"\x1e" if media_type == "application/json-seq" else b""

    def record(event: Event) -> bytes:
        return begin + msgspec.json.encode(versions.event(call.version, event)) + b"\n"

    return await stream(request, _matching(call, filters, since_ns, until_ns, record), media_type, seconds=seconds)


async def _matching(
    call: Call, filters: Filters, since_ns: int | None, until_ns: int, record: Callable[[Event], bytes]
) -> AsyncIterator[bytes]:
    log = call.engine.events
    if until_ns and until_ns <= time.time_ns():
        async for event in log.logged(since_ns or 0, until_ns):
            if event_matches(event, filters):
                yield record(event)
        return
    # With an end and no beginning: all that is remembered, too.
    async for event in log.follow(0 if until_ns and since_ns is None else since_ns):
        if event_matches(event, filters):
            yield record(event)


@ROUTES.add("GET", "/darse/explain")
async def explained(call: Call) -> web.StreamResponse:
    """What operations are on record."""
    return json_response(call.engine.system.traced())


@ROUTES.add("GET", "/darse/explain/{name}")
async def explain(call: Call) -> web.StreamResponse:
    """What the last operation on a container did, or the last pull of an image."""
    operation = call.engine.system.trace(call.match["name"], query.text(call.request, "last") or None)
    document = msgspec.to_builtins(operation)
    names = ("kind", "summary", "command", "begin_ns", "duration_ns", "failed")
    document["steps"] = [dict(zip(names, step, strict=True)) for step in document["steps"]]
    return json_response(document)


@ROUTES.add("GET", "/darse/dns/{id}")
async def explain_dns(call: Call) -> web.StreamResponse:
    """How the name `name` is looked up from a container."""
    name = query.text(call.request, "name")
    if not name:
        raise InvalidParameter("which name is to be looked up? (parameter: name)")
    story = await call.engine.containers.explain_lookup(call.match["id"], name)
    return json_response(msgspec.to_builtins(story))


@ROUTES.add("GET", "/darse/doctor")
async def doctor(call: Call) -> web.StreamResponse:
    """What of the host keeps the engine from doing all it could."""
    return json_response(await call.engine.system.doctor())
