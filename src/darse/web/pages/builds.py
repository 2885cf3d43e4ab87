"""Builds: their history, and one as a graph of its steps with what they printed."""

from __future__ import annotations

from darse.aiohttp_server import StreamResponse
from darse.client.requests import builds
from darse.drawings.builds import seconds, svg
from darse.web.accounts import Role
from darse.web.pages.container_views import printable
from darse.web.pages.networks import svg_response
from darse.web.routing import PageRoutes
from darse.web.visit import Visit

PAGES = PageRoutes()


@PAGES.get("/builds", Role.LOOK)
async def build_list(visit: Visit) -> StreamResponse:
    """The builds that run and that were."""
    return visit.render("builds.html", builds=await visit.do(builds.list_builds()), seconds=seconds)


@PAGES.get("/builds/{id}", Role.LOOK)
async def build_page(visit: Visit) -> StreamResponse:
    """One build: each step with its time and why it was done or not, and what it printed."""
    found = await visit.do(builds.inspect(visit.match["id"]))
    logs = {
        one["Vertex"]: "\n".join(map(printable, one["Text"].split("\n")))
        for one in await visit.do(builds.logs(found["ID"]))
    }
    return visit.render("build.html", build=found, logs=logs, seconds=seconds)


@PAGES.get("/builds/{id}/graph.svg", Role.LOOK)
async def build_graph(visit: Visit) -> StreamResponse:
    """Its graph."""
    found = await visit.do(builds.inspect(visit.match["id"]))
    return svg_response(svg(found))
