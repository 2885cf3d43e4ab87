"""`darse compose explain`: what `up` would do to each service, why, and which line of which file that comes from."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from darse.cli.command_line.help_pages import fitted
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.flags import project_files
from darse.cli.errors import CliError
from darse.client.requests import containers as container_requests
from darse.client.requests import images as image_requests
from darse.compose.desired.create_request import ContainerContext, create_request
from darse.compose.errors import ComposeError
from darse.compose.loading.loader import LoadSettings
from darse.compose.model.project import Project
from darse.compose.operations.images import ImageFacts, images_of
from darse.compose.operations.session import ProjectSession
from darse.compose.plan.actual import ActualState
from darse.compose.plan.differences import AttributeDifference, differences
from darse.compose.plan.steps import KEEP, RECREATE, ContainerStep, ResourceStep
from darse.compose.plan.up import UpOptions, plan_up
from darse.compose.project import ProjectFiles

_WORDS = {
    "create": "is created",
    "recreate": "is recreated",
    "keep": "is kept",
    "remove": "is removed",
    "rename": "gets its name",
    "stop": "is stopped",
    "start": "is started",
}
# As much of a value as one line shows.
_LONGEST = 60


class UpExplanation(msgspec.Struct):
    """One thing that `up` would do: to a container, a network or a volume."""

    kind: str
    name: str
    service: str
    action: str
    reason: str = ""
    place: str = ""
    changes: list[dict[str, Any]] = []


def explain(invocation: Invocation) -> int:
    """Print what would be done."""
    form = invocation.options.format
    if form not in ("", "text", "json"):
        raise CliError(f"invalid format {form!r}: text or json")
    files = project_files(invocation)
    try:
        project = files.project(invocation.arguments, LoadSettings())
    except ComposeError as error:
        raise CliError(str(error)) from error

    async def operation(session: ProjectSession) -> None:
        state = await session.state()
        images = await images_of(session, project.services)
        options = UpOptions(images={name: one.id for name, one in images.items()})
        plan = plan_up(project, state, options)
        found = [_resource(step, files) for step in plan.resources]
        for step in plan.containers:
            found.append(await _container(session, project, files, state, images, step))
        started = {step.name for step in plan.starts if step.actual is None}
        for one in found:
            if one.kind == "container" and one.action == KEEP and one.name in started:
                one.action, one.reason = "start", "it does not run"
        for warning in plan.warnings:
            session.warn(warning)
        if form == "json":
            sys.stdout.write(json.dumps([msgspec.to_builtins(one) for one in found], indent=2) + "\n")
        else:
            sys.stdout.writelines(f"{line}\n" for line in fitted([line for one in found for line in _lines(one)]))

    return run(invocation, project.name, project, operation)


def _place(files: ProjectFiles, *path: str) -> str:
    found = files.sources.locate(path)
    return str(found) if found is not None else ""


def _resource(step: ResourceStep, files: ProjectFiles) -> UpExplanation:
    reason = step.reason or ("it is missing" if step.action != KEEP else "")
    return UpExplanation(step.kind, step.name, "", step.action, reason, _place(files, f"{step.kind}s", step.key))


async def _container(
    session: ProjectSession,
    project: Project,
    files: ProjectFiles,
    state: ActualState,
    images: Mapping[str, ImageFacts],
    step: ContainerStep,
) -> UpExplanation:
    place = _place(files, "services", step.service)
    reason = step.reason or ("it is missing" if step.action == "create" else "")
    found = UpExplanation("container", step.name, step.service, step.action, reason, place)
    if step.action == RECREATE and step.actual is not None:
        actual = await session.client.do(container_requests.inspect(step.actual.id))
        image = await session.client.do(image_requests.inspect(actual.Image))
        context = _context(session, state, images, step)
        desired = create_request(project, step.service, step.name, step.number, context)
        found.changes = [
            _change(one, files, step.service) for one in differences(desired, actual, msgspec.to_builtins(image.Config))
        ]
        if not found.changes and "configuration" in reason:
            found.reason += ", in something that containers do not show"
    return found


def _context(
    session: ProjectSession, state: ActualState, images: Mapping[str, ImageFacts], step: ContainerStep
) -> ContainerContext:
    """The context of the container as it would be made, by the containers that are there."""
    facts = images.get(step.service, ImageFacts(""))
    ids: dict[str, str] = {}
    linked: dict[str, list[str]] = {}
    for one in state.containers:
        if not one.is_one_off:
            ids.setdefault(one.service, one.id)
            linked.setdefault(one.service, []).append(one.name)
    mounts = step.actual.mounts if step.actual is not None else ()
    return ContainerContext(facts.id, facts.volumes, ids, linked, mounts, api_socket=session.api_socket)


def _change(one: AttributeDifference, files: ProjectFiles, service: str) -> dict[str, Any]:
    place = _place(files, "services", service, *one.path) if one.after is not None else ""
    return {"path": ".".join(one.path), "before": one.before, "after": one.after, "place": place}


def _lines(one: UpExplanation) -> list[str]:
    head = one.kind if not one.service else f"{one.service}: {one.kind}"
    place = f"  ({one.place})" if one.place and one.action != KEEP else ""
    reason = f": {one.reason}" if one.reason else ""
    lines = [f"{head} {one.name} {_WORDS.get(one.action, one.action)}{reason}{place}"]
    for change in one.changes:
        before, after = (_shown(change[side]) for side in ("before", "after"))
        where = f"  ({change['place']})" if change["place"] else ""
        lines.append(f"    {change['path']}: {before} → {after}{where}")
    return lines


def _shown(value: Any) -> str:
    text = "(nothing)" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
