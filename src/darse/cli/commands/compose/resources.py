"""`darse compose volumes`, `events` and `push`."""

from __future__ import annotations

import json
import sys

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.projects import load, load_or_name
from darse.cli.errors import CliError
from darse.client.errors import ClientError
from darse.client.messages import EngineEvent
from darse.client.requests import images as image_requests
from darse.client.requests import system as system_requests
from darse.client.requests import volumes as volume_requests
from darse.compose import label_names as labels
from darse.compose.model.project import Project
from darse.compose.operations.images import refuse_failure
from darse.compose.operations.progress import DONE, FAILED, WARNING
from darse.compose.operations.session import ProjectSession, together
from darse.image_spec.references import split

_BILLION = 1_000_000_000


def volumes(invocation: Invocation) -> int:
    """List the volumes of a project, or of some of its services."""
    from darse.cli.output.format import write
    from darse.cli.output.volume_rows import HEADINGS, VolumeRow

    options = invocation.options
    name, project = load_or_name(invocation)
    filters = {"label": [f"{labels.PROJECT}={name}"]}
    found = invocation.client.do(volume_requests.list_volumes(filters=filters))["Volumes"] or []
    if invocation.arguments:
        services = project.all_services() if project is not None else {}
        for one in invocation.arguments:
            if one not in services:
                raise CliError(f"no such service: {one}")
        used = {
            project.volumes[mount.source].name
            for one in invocation.arguments
            for mount in services[one].volumes
            if project is not None and mount.type == "volume" and mount.source in project.volumes
        }
        found = [one for one in found if one["Name"] in used]
    if options.quiet:
        sys.stdout.writelines(f"{one['Name']}\n" for one in found)
        return 0
    form = "table {{.Driver}}\t{{.Name}}" if options.format in ("", "table") else options.format
    write("json" if form == "json" else form, [VolumeRow(one) for one in found], HEADINGS)
    return 0


def events(invocation: Invocation) -> int:
    """Print what happens to the containers of a project, as it happens."""
    from darse.cli.commands.containers.logs import moment

    options = invocation.options
    name, project = load_or_name(invocation)
    requested = set(invocation.arguments)

    async def operation(session: ProjectSession) -> None:
        filters = {"type": ["container"], "label": [f"{labels.PROJECT}={name}"]}
        request = system_requests.events(
            since=moment(options.since, "since") or "", until=moment(options.until, "until") or "", filters=filters
        )
        async for event in session.client.follow(request):
            facts = event.Actor.Attributes
            if facts.get(labels.ONE_OFF) == "True" or (requested and facts.get(labels.SERVICE) not in requested):
                continue
            sys.stdout.write(f"{_json(event) if options.json else _line(event)}\n")
            sys.stdout.flush()

    return run(invocation, name, project, operation)


def _shown(event: EngineEvent) -> dict[str, str]:
    """The attributes without compose's own."""
    return {key: value for key, value in event.Actor.Attributes.items() if not key.startswith("com.docker.compose.")}


def _line(event: EngineEvent) -> str:
    from datetime import datetime

    seconds, rest = divmod(event.timeNano, _BILLION)
    moment = f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}.{rest // 1000:06d}"
    facts = ", ".join(f"{key}={value}" for key, value in sorted(_shown(event).items()))
    return f"{moment} container {event.Action} {event.Actor.ID} ({facts})"


def _json(event: EngineEvent) -> str:
    from datetime import UTC, datetime

    seconds, rest = divmod(event.timeNano, _BILLION)
    document = {
        "action": event.Action,
        "attributes": _shown(event),
        "id": event.Actor.ID,
        "service": event.Actor.Attributes.get(labels.SERVICE, ""),
        "time": f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z",
        "type": "container",
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def push(invocation: Invocation) -> int:
    """Push the images of services that are built."""
    options = invocation.options
    project = load(invocation, invocation.arguments, without_dependencies=not options.include_deps)

    async def operation(session: ProjectSession) -> None:
        await push_all(session, project, quiet=options.quiet, ignore_failures=options.ignore_push_failures)

    return run(invocation, project.name, project, operation)


async def push_all(session: ProjectSession, project: Project, *, quiet: bool, ignore_failures: bool) -> None:
    """Push the images of services that are built. Raises ClientError unless failures are ignored."""
    names: dict[str, str] = {}
    for name, service in project.services.items():
        if service.build is None or not service.image:
            session.report(name, "Skipped", DONE)
            continue
        for image in (service.image, *service.build.tags):
            names.setdefault(image, name)
    pushes = (_push(session, image, name, quiet, ignore_failures) for image, name in names.items())
    await together(pushes)


async def _push(session: ProjectSession, image: str, name: str, quiet: bool, ignore_failures: bool) -> None:
    session.report(name, "Pushing")
    if session.dry_run:
        session.report(name, "Pushed", DONE)
        return
    reference = split(image).tagged()
    request = image_requests.push(reference.name, tag=reference.tag, credentials=session.credentials(image))
    try:
        async with session.slot():
            async for message in session.client.follow(request):
                refuse_failure(message)
                if not quiet:
                    session.report(name, "Pushing", detail=f"{message.id} {message.status}".strip())
    except ClientError as error:
        session.report(name, f"Error {error}", WARNING if ignore_failures else FAILED)
        if not ignore_failures:
            raise
        return
    session.report(name, "Pushed", DONE)
