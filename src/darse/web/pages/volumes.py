"""Volumes: the list with what uses them, one, new ones and removals."""

from __future__ import annotations

import msgspec

from darse.aiohttp_server import StreamResponse
from darse.client.errors import ApiError
from darse.client.requests import containers, volumes
from darse.web.accounts import Role
from darse.web.rendering import segment
from darse.web.routing import PageRoutes
from darse.web.visit import Visit
from darse.wire.volumes import VolumeCreate

PAGES = PageRoutes()


@PAGES.get("/volumes", Role.LOOK)
async def volume_list(visit: Visit) -> StreamResponse:
    """All volumes, with the containers that have them."""
    found = (await visit.do(volumes.list_volumes())).Volumes
    return visit.render("volumes.html", volumes=found, users=await _users(visit))


@PAGES.get("/volumes/{name}", Role.LOOK)
async def volume_page(visit: Visit) -> StreamResponse:
    """One volume."""
    found = await visit.do(volumes.inspect(visit.match["name"]))
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    return visit.render("volume.html", volume=found, text=text, users=(await _users(visit)).get(found.Name, []))


async def _users(visit: Visit) -> dict[str, list[tuple[str, str]]]:
    """The containers of each volume: ID and name."""
    users: dict[str, list[tuple[str, str]]] = {}
    for container in await visit.do(containers.list_containers(all=True)):
        for mount in container.Mounts:
            if mount.Type == "volume" and isinstance(mount.Name, str):
                users.setdefault(mount.Name, []).append((container.Id, container.Names[0].removeprefix("/")))
    return users


@PAGES.post("/volumes", Role.ADMINISTRATE)
async def create(visit: Visit) -> StreamResponse:
    """Create a volume. Raises InvalidForm."""
    made = await visit.do(volumes.create(VolumeCreate(Name=visit.field("name"))))
    return visit.redirect(f"/volumes/{segment(made.Name)}", "message.created")


@PAGES.post("/volumes/{name}/remove", Role.ADMINISTRATE)
async def remove(visit: Visit) -> StreamResponse:
    """Remove a volume with all that is in it."""
    try:
        await visit.do(volumes.remove(visit.match["name"]))
    except ApiError as error:
        visit.fail(error)
        return visit.redirect("/volumes" if error.http_status == 404 else f"/volumes/{segment(visit.match['name'])}")
    return visit.redirect("/volumes", "message.done")
