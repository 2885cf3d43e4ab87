"""Looking at one container: its settings, logs, processes, changes, and what the engine did for it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from darse.aiohttp_server import StreamResponse
from darse.client.errors import ApiError
from darse.client.requests import archives, containers, system
from darse.client.streams import STDERR
from darse.web.accounts import Role
from darse.web.errors import InvalidForm
from darse.web.event_streams import ServerEvent, send_events
from darse.web.routing import PageRoutes
from darse.web.visit import Visit
from darse.wire.containers import ContainerInspect

PAGES = PageRoutes()
_TAIL = 500
_MOST_TAIL = 10_000
_LONGEST_LINE = 16 * 1024
# What programs send to terminals: colours and the like (ECMA-48), and other control characters but the tabulator.
_CONTROLS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


@PAGES.get("/containers/{id}", Role.LOOK)
async def container_page(visit: Visit) -> StreamResponse:
    """A container's state, ports, mounts and networks, with a graph of what it uses."""
    found = await _inspect(visit)
    return visit.render("container.html", container=found, tab="state")


@PAGES.get("/containers/{id}/inspect", Role.LOOK)
async def inspect_page(visit: Visit) -> StreamResponse:
    """All about a container, as the API has it."""
    found = await _inspect(visit)
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    return visit.render("inspect.html", container=found, tab="inspect", text=text)


async def _inspect(visit: Visit) -> ContainerInspect:
    """A container; its environment often has passwords, and is for those who may operate it."""
    found = await visit.do(containers.inspect(visit.match["id"]))
    if visit.session.role < Role.OPERATE:
        found.Config.Env = [f"{one.partition('=')[0]}=…" for one in found.Config.Env or ()]
    return found


@PAGES.get("/containers/{id}/processes", Role.LOOK)
async def processes_page(visit: Visit) -> StreamResponse:
    """The processes of a container."""
    found = await _inspect(visit)
    top = None
    if found.State.Running:
        top = await visit.do(containers.top(found.Id))
    return visit.render("processes.html", container=found, tab="processes", top=top)


@PAGES.get("/containers/{id}/changes", Role.OPERATE)
async def changes_page(visit: Visit) -> StreamResponse:
    """What a container has changed in the files of its image."""
    found = await _inspect(visit)
    changed = await visit.do(archives.changes(found.Id)) or []
    return visit.render("changes.html", container=found, tab="changes", changes=changed[:5000], count=len(changed))


@PAGES.get("/containers/{id}/explain", Role.LOOK)
async def explain_page(visit: Visit) -> StreamResponse:
    """What the engine did to the host for a container's last operation, step by step, on a line of time."""
    found = await _inspect(visit)
    last = visit.query("last")
    try:
        operation = await visit.do(system.explain(found.Id, last=last))
    except ApiError as error:
        if error.http_status != 404:
            raise
        operation = None
    shows_commands = visit.session.role >= Role.OPERATE
    return visit.render(
        "explain.html", container=found, tab="explain", operation=operation, last=last, shows_commands=shows_commands
    )


@PAGES.get("/containers/{id}/logs", Role.LOOK)
async def logs_page(visit: Visit) -> StreamResponse:
    """The last lines of a container's log; the browser follows it from there."""
    found = await _inspect(visit)
    search = visit.query("search")
    lines = [line async for line in _lines(visit, found.Id, search, "", follow=False)]
    return visit.render("logs.html", container=found, tab="logs", lines=lines[-_TAIL:], search=search)


@PAGES.get("/containers/{id}/logs/stream", Role.LOOK, stream=True)
async def logs_stream(visit: Visit) -> StreamResponse:
    """The same, as it goes on; after a break from the line that came last."""
    since = visit.request.headers.get("Last-Event-ID", "") or visit.query("since")
    return await send_events(visit, _events(visit, visit.match["id"], visit.query("search"), since))


async def _events(visit: Visit, name: str, search: str, since: str) -> AsyncGenerator[ServerEvent]:
    async for line in _lines(visit, name, search, since, follow=True):
        yield ServerEvent("line", line, line["time"])


async def _lines(visit: Visit, name: str, search: str, since: str, *, follow: bool) -> AsyncGenerator[dict[str, Any]]:
    """The lines of a log that have a text in them; without a search the last ones."""
    if since and re.fullmatch(r"[0-9T:.Z+-]{1,40}", since) is None:
        raise InvalidForm("since")
    tail = "all" if search or since else str(min(_MOST_TAIL, _TAIL))
    request = containers.logs(name, follow=follow, since=since, timestamps=True, tail=tail)
    needle = search.casefold()
    rest: dict[int, bytes] = {}
    async for stream, data in visit.output(request):
        *complete, last = (rest.get(stream, b"") + data).split(b"\n")
        # A line without an end is shown in pieces.
        if len(last) > _LONGEST_LINE:
            complete.append(last)
            last = b""
        rest[stream] = last
        for raw in complete:
            line = _line(raw, stream)
            if line["time"] > since and needle in line["text"].casefold():
                yield line
    for stream, raw in rest.items():
        if raw and needle in (line := _line(raw, stream))["text"].casefold() and line["time"] > since:
            yield line


def _line(raw: bytes, stream: int) -> dict[str, Any]:
    moment, _, text = raw[: _LONGEST_LINE + 64].decode(errors="replace").partition(" ")
    return {"time": moment, "error": stream == STDERR, "text": printable(text)}


def printable(text: str) -> str:
    """A line without what would move a terminal's cursor or change its colours."""
    return _CONTROLS.sub("", text.rstrip("\r"))
