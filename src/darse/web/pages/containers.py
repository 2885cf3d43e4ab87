"""Containers: the list, what is done with them, and the form for a new one."""

from __future__ import annotations

import shlex

import msgspec

from darse.aiohttp_server import StreamResponse
from darse.client.errors import ApiError
from darse.client.requests import ApiRequest, containers, images, networks
from darse.mount_specs import InvalidMount, volumes_and_binds
from darse.port_specs import InvalidPort, parse_ports
from darse.units import parse_size
from darse.web.accounts import Role
from darse.web.errors import InvalidForm
from darse.web.rendering import segment
from darse.web.routing import PageRoutes
from darse.web.visit import Visit
from darse.wire.containers import CreateRequest
from darse.wire.host_config import HostConfig, PortBinding, RestartPolicy

PAGES = PageRoutes()
_RESTART_POLICIES = ("no", "on-failure", "unless-stopped", "always")


@PAGES.get("/containers", Role.LOOK)
async def container_list(visit: Visit) -> StreamResponse:
    """All containers, or those that run."""
    running_only = visit.query("running") == "1"
    found = await visit.do(containers.list_containers(all=not running_only))
    history = visit.dashboard.history
    used = {one.Id: point for one in found if (point := history.newest(one.Id)) is not None}
    return visit.render("containers.html", containers=found, used=used, running_only=running_only)


@PAGES.post("/containers/{id}/start", Role.OPERATE)
async def start(visit: Visit) -> StreamResponse:
    """Start a container."""
    return await _act(visit, containers.start(visit.match["id"]))


@PAGES.post("/containers/{id}/stop", Role.OPERATE)
async def stop(visit: Visit) -> StreamResponse:
    """Stop a container."""
    return await _act(visit, containers.stop(visit.match["id"]))


@PAGES.post("/containers/{id}/restart", Role.OPERATE)
async def restart(visit: Visit) -> StreamResponse:
    """Stop and start a container."""
    return await _act(visit, containers.restart(visit.match["id"]))


@PAGES.post("/containers/{id}/kill", Role.OPERATE)
async def kill(visit: Visit) -> StreamResponse:
    """Kill a container."""
    return await _act(visit, containers.kill(visit.match["id"]))


@PAGES.post("/containers/{id}/pause", Role.OPERATE)
async def pause(visit: Visit) -> StreamResponse:
    """Freeze a container."""
    return await _act(visit, containers.pause(visit.match["id"]))


@PAGES.post("/containers/{id}/unpause", Role.OPERATE)
async def unpause(visit: Visit) -> StreamResponse:
    """Let a container go on."""
    return await _act(visit, containers.unpause(visit.match["id"]))


@PAGES.post("/containers/{id}/remove", Role.ADMINISTRATE)
async def remove(visit: Visit) -> StreamResponse:
    """Remove a container; with the field `force` one that runs, too."""
    force = visit.form.get("force") == "1"
    return await _act(visit, containers.remove(visit.match["id"], force=force), gone=True)


async def _act(visit: Visit, request: ApiRequest[None], *, gone: bool = False) -> StreamResponse:
    """Ask the engine, and go back to where the form was, with its refusal where there is one."""
    back = "/containers" if gone or visit.form.get("from") == "list" else f"/containers/{segment(visit.match['id'])}"
    try:
        await visit.do(request)
    except ApiError as error:
        visit.fail(error)
        refused_at = "/containers" if visit.form.get("from") == "list" else f"/containers/{segment(visit.match['id'])}"
        return visit.redirect(refused_at if error.http_status != 404 else "/containers")
    return visit.redirect(back, "message.done")


@PAGES.get("/create", Role.ADMINISTRATE)
async def create_form(visit: Visit) -> StreamResponse:
    """The form of a new container."""
    found = await visit.do(images.list_images())
    return visit.render(
        "create.html",
        image=visit.query("image"),
        images=sorted({tag for one in found for tag in one.RepoTags}),
        networks=[one.Name for one in await visit.do(networks.list_networks())],
        policies=_RESTART_POLICIES,
    )


@PAGES.post("/create", Role.ADMINISTRATE)
async def create(visit: Visit) -> StreamResponse:
    """Create a container, and start it where the form says so. Raises InvalidForm."""
    request = read_create_form(visit)
    created = await visit.do(containers.create(request, name=visit.form.get("name", "").strip()))
    path = f"/containers/{created.Id}"
    if visit.form.get("start") == "1":
        try:
            await visit.do(containers.start(created.Id))
        except ApiError as error:
            visit.fail(error)
            return visit.redirect(path)
    return visit.redirect(path, "message.created")


def read_create_form(visit: Visit) -> CreateRequest:
    """What a form describes. Raises InvalidForm."""
    form = visit.form
    try:
        bindings, exposed = parse_ports(_lines(form.get("ports", "")), [])
        volumes, binds = volumes_and_binds(_lines(form.get("volumes", "")))
        command = shlex.split(form.get("command", ""))
        memory = parse_size(form["memory"].strip()) if form.get("memory", "").strip() else 0
        cpus = float(form["cpus"]) if form.get("cpus", "").strip() else 0.0
    except (InvalidPort, InvalidMount, ValueError) as error:
        raise InvalidForm(str(error)) from error
    policy = form.get("restart", "no")
    if policy not in _RESTART_POLICIES:
        raise InvalidForm("restart")
    host = HostConfig(
        Binds=binds or None,
        PortBindings=msgspec.convert(bindings, dict[str, list[PortBinding] | None]) or None,
        NetworkMode=form.get("network", ""),
        RestartPolicy=RestartPolicy(policy),
        AutoRemove=form.get("remove") == "1",
    )
    host.Memory, host.NanoCpus = memory, int(cpus * 1e9)
    terminal = form.get("terminal") == "1"
    return CreateRequest(
        Image=visit.field("image"),
        Cmd=command or None,
        Env=_lines(form.get("environment", "")) or None,
        ExposedPorts=exposed or None,
        Volumes=volumes or None,
        Tty=terminal,
        OpenStdin=terminal,
        HostConfig=host,
    )


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
