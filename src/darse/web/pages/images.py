"""Images: the list, one with its layers as a picture of what takes the room, pulls and removals."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from darse.aiohttp_server import StreamResponse
from darse.client.errors import ApiError
from darse.client.requests import images
from darse.web.accounts import Role
from darse.web.event_streams import ServerEvent, send_events
from darse.web.rendering import segment
from darse.web.routing import PageRoutes
from darse.web.visit import Visit

PAGES = PageRoutes()


@PAGES.get("/images", Role.LOOK)
async def image_list(visit: Visit) -> StreamResponse:
    """All images."""
    found = await visit.do(images.list_images())
    return visit.render("images.html", images=sorted(found, key=lambda one: -one.Size))


@PAGES.get("/images/{id}", Role.LOOK)
async def image_page(visit: Visit) -> StreamResponse:
    """An image with the steps that made it, each as large as what it added."""
    found = await visit.do(images.inspect(visit.match["id"]))
    history = await visit.do(images.history(visit.match["id"]))
    history.reverse()
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    return visit.render(
        "image.html", image=found, history=history, text=text, largest=max([1, *(one.Size for one in history)])
    )


@PAGES.post("/images/{id}/remove", Role.ADMINISTRATE)
async def remove(visit: Visit) -> StreamResponse:
    """Remove an image, or a name of one."""
    try:
        await visit.do(images.remove(visit.match["id"], force=visit.form.get("force") == "1"))
    except ApiError as error:
        visit.fail(error)
        return visit.redirect("/images" if error.http_status == 404 else f"/images/{segment(visit.match['id'])}")
    return visit.redirect("/images", "message.done")


@PAGES.post("/images/{id}/tag", Role.ADMINISTRATE)
async def tag(visit: Visit) -> StreamResponse:
    """Give an image one more name. Raises InvalidForm."""
    name = visit.field("name")
    repository, separator, word = name.rpartition(":")
    if not separator or "/" in word:
        repository, word = name, "latest"
    await visit.do(images.tag(visit.match["id"], repository, word))
    return visit.redirect(f"/images/{segment(visit.match['id'])}", "message.done")


@PAGES.post("/pull", Role.OPERATE)
async def pull(visit: Visit) -> StreamResponse:
    """Pull an image; the answer is its progress. Raises InvalidForm."""
    return await send_events(visit, _progress(visit, visit.field("image")))


async def _progress(visit: Visit, image: str) -> AsyncGenerator[ServerEvent]:
    async for one in visit.follow(images.pull(image, tag="" if _has_tag(image) else "latest")):
        detail = one.progressDetail
        figures = (detail.current, detail.total) if detail is not None else (0, 0)
        yield ServerEvent("error" if one.error else "progress", [one.id, one.error or one.status, *figures])


def _has_tag(image: str) -> bool:
    return "@" in image or ":" in image.rpartition("/")[2]
