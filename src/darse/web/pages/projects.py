"""Compose projects: the containers that have its labels, by project and service."""

from __future__ import annotations

from collections.abc import Callable

from darse.aiohttp_server import StreamResponse
from darse.client.errors import ApiError
from darse.client.requests import ApiRequest, containers
from darse.web.accounts import Role
from darse.web.errors import InvalidForm, PageNotFound
from darse.web.rendering import segment
from darse.web.routing import PageRoutes
from darse.web.visit import Visit
from darse.wire.containers import ContainerSummary

PAGES = PageRoutes()
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_NUMBER = "com.docker.compose.container-number"
_ACTIONS: dict[str, Callable[[str], ApiRequest[None]]] = {
    "start": containers.start,
    "stop": containers.stop,
    "restart": containers.restart,
}


@PAGES.get("/projects", Role.LOOK)
async def project_list(visit: Visit) -> StreamResponse:
    """All projects."""
    projects: dict[str, list[ContainerSummary]] = {}
    for one in await _containers(visit, ""):
        projects.setdefault(one.Labels[_PROJECT], []).append(one)
    return visit.render("projects.html", projects=sorted(projects.items()))


@PAGES.get("/projects/{name}", Role.LOOK)
async def project_page(visit: Visit) -> StreamResponse:
    """The services of a project. Raises PageNotFound."""
    found = await _containers(visit, visit.match["name"])
    if not found:
        raise PageNotFound
    services: dict[str, list[ContainerSummary]] = {}
    for one in sorted(found, key=lambda one: (len(one.Labels.get(_NUMBER, "")), one.Labels.get(_NUMBER, ""))):
        services.setdefault(one.Labels.get(_SERVICE, ""), []).append(one)
    folder = found[0].Labels.get("com.docker.compose.project.working_dir", "")
    return visit.render("project.html", name=visit.match["name"], services=sorted(services.items()), folder=folder)


@PAGES.post("/projects/{name}/{action}", Role.OPERATE)
async def act(visit: Visit) -> StreamResponse:
    """Start, stop or restart each container of a project. Raises InvalidForm, PageNotFound."""
    action = _ACTIONS.get(visit.match["action"])
    if action is None:
        raise InvalidForm("action")
    found = await _containers(visit, visit.match["name"])
    if not found:
        raise PageNotFound
    failed = False
    for one in found:
        try:
            await visit.do(action(one.Id))
        except ApiError as error:
            failed = True
            visit.fail(error)
    return visit.redirect(f"/projects/{segment(visit.match['name'])}", "" if failed else "message.done")


async def _containers(visit: Visit, project: str) -> list[ContainerSummary]:
    """The containers of a project, or of all; those of a single run are none of its services."""
    label = f"{_PROJECT}={project}" if project else _PROJECT
    found = await visit.do(containers.list_containers(all=True, filters={"label": [label]}))
    return [one for one in found if one.Labels.get("com.docker.compose.oneoff") != "True"]
