"""The first page: the engine, its host, and what runs; and the figures of the graphs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

import msgspec

from darse.aiohttp_server import Response, StreamResponse
from darse.client.requests import containers, system
from darse.web.accounts import Role
from darse.web.event_streams import ServerEvent, send_events
from darse.web.history import HOST, UsagePoint
from darse.web.routing import PageRoutes
from darse.web.visit import Visit

PAGES = PageRoutes()


@PAGES.get("/", Role.LOOK)
async def overview(visit: Visit) -> StreamResponse:
    """The engine in figures, and the containers that use most."""
    history = visit.dashboard.history
    running = await visit.do(containers.list_containers())
    used = {one.Id: point for one in running if (point := history.newest(one.Id)) is not None}
    running.sort(key=lambda one: used[one.Id].cpu if one.Id in used else -1.0, reverse=True)
    return visit.render(
        "overview.html",
        info=await visit.do(system.info()),
        running=running[:20],
        used=used,
        host=history.newest(HOST),
        totals=history.latest.Host if history.latest is not None else None,
    )


@PAGES.get("/usage/history", Role.LOOK)
async def usage_history(visit: Visit) -> StreamResponse:
    """The points of a day, of a container or of the host: columns, as the graphs take them."""
    points = visit.dashboard.history.points(visit.query("of", HOST))
    document = {"time": [round(moment, 1) for moment, _ in points]}
    for name in UsagePoint._fields:
        document[name] = [round(getattr(point, name), 1) for _, point in points]
    return Response(
        body=msgspec.json.encode(document), content_type="application/json", headers={"Cache-Control": "no-store"}
    )


@PAGES.get("/usage/stream", Role.LOOK, stream=True)
async def usage_stream(visit: Visit) -> StreamResponse:
    """Each new sample: of one, or of all that run with `of=all`."""
    return await send_events(visit, _samples(visit, visit.query("of", HOST)))


async def _samples(visit: Visit, name: str) -> AsyncGenerator[ServerEvent]:
    async for moment, points in visit.dashboard.history.follow():
        shown = points if name == "all" else {name: points[name]} if name in points else {}
        yield ServerEvent("usage", {"time": round(moment, 1), "points": _rounded(shown)})


def _rounded(points: Mapping[str, UsagePoint]) -> dict[str, list[float]]:
    return {name: [round(value, 1) for value in point] for name, point in points.items()}
