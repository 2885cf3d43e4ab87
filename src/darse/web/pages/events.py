"""What happens in the engine: the last hour, and from now on."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

from darse.aiohttp_server import StreamResponse
from darse.client.messages import EngineEvent
from darse.client.requests import system
from darse.web.accounts import Role
from darse.web.event_streams import ServerEvent, send_events
from darse.web.routing import PageRoutes
from darse.web.visit import Visit

PAGES = PageRoutes()
_SHOWN = 300
_LONGEST = 512


@PAGES.get("/events", Role.LOOK)
async def events_page(visit: Visit) -> StreamResponse:
    """The events of the last hour, the newest first."""
    now = int(time.time())
    found = [_document(event) async for event in visit.follow(system.events(since=str(now - 3600), until=str(now + 1)))]
    return visit.render("events.html", events=found[: -_SHOWN - 1 : -1])


@PAGES.get("/events/stream", Role.LOOK, stream=True)
async def events_stream(visit: Visit) -> StreamResponse:
    """Each event from now on."""
    return await send_events(visit, _events(visit))


async def _events(visit: Visit) -> AsyncGenerator[ServerEvent]:
    async for event in visit.follow(system.events()):
        yield ServerEvent("event", _document(event))


def _document(event: EngineEvent) -> dict[str, Any]:
    attributes = event.Actor.Attributes
    name = attributes.get("name", "")
    details = " ".join(f"{key}={value}" for key, value in attributes.items() if key != "name")
    return {
        "time": event.timeNano // 1_000_000_000,
        "type": event.Type,
        "action": event.Action,
        "id": event.Actor.ID,
        "name": name[:_LONGEST],
        "details": details[:_LONGEST],
    }
