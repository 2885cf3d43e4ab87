"""Networks: the list, a picture of which container is on which, one, new ones and removals."""

from __future__ import annotations

import msgspec

from darse.aiohttp_server import Response, StreamResponse
from darse.client.errors import ApiError
from darse.client.requests import containers, networks
from darse.drawings.networks import arrange, as_svg
from darse.web.accounts import Role
from darse.web.rendering import segment
from darse.web.routing import PageRoutes
from darse.web.visit import Visit
from darse.wire.networks import NetworkCreate

PAGES = PageRoutes()


@PAGES.get("/networks", Role.LOOK)
async def network_list(visit: Visit) -> StreamResponse:
    """All networks."""
    return visit.render("networks.html", networks=await visit.do(networks.list_networks()))


@PAGES.get("/networks.svg", Role.LOOK)
async def network_graph(visit: Visit) -> StreamResponse:
    """Networks and what is on them, as a picture."""
    found = msgspec.to_builtins(await visit.do(networks.list_networks()))
    running = msgspec.to_builtins(await visit.do(containers.list_containers()))
    return svg_response(as_svg(arrange(found, running)))


def svg_response(text: str) -> Response:
    """A picture; opened by itself it may do nothing."""
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; sandbox"}
    return Response(text=text, content_type="image/svg+xml", charset="utf-8", headers=headers)


@PAGES.get("/networks/{id}", Role.LOOK)
async def network_page(visit: Visit) -> StreamResponse:
    """One network, with the containers that are on it."""
    found = await visit.do(networks.inspect(visit.match["id"]))
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    return visit.render("network.html", network=found, text=text)


@PAGES.post("/networks", Role.ADMINISTRATE)
async def create(visit: Visit) -> StreamResponse:
    """Create a bridge network. Raises InvalidForm."""
    request = NetworkCreate(Name=visit.field("name"), Internal=visit.form.get("internal") == "1")
    made = await visit.do(networks.create(request))
    return visit.redirect(f"/networks/{made.Id}", "message.created")


@PAGES.post("/networks/{id}/remove", Role.ADMINISTRATE)
async def remove(visit: Visit) -> StreamResponse:
    """Remove a network."""
    try:
        await visit.do(networks.remove(visit.match["id"]))
    except ApiError as error:
        visit.fail(error)
        return visit.redirect("/networks" if error.http_status == 404 else f"/networks/{segment(visit.match['id'])}")
    return visit.redirect("/networks", "message.done")
