"""The images of services: what is there, and what is pulled first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from darse.client.errors import ApiError, ClientError
from darse.client.requests import images as image_requests
from darse.compose.desired.names import image_name
from darse.compose.errors import ComposeError
from darse.compose.model.service import Service
from darse.compose.operations.session import DONE, FAILED, WARNING, ProjectSession, together
from darse.image_spec.references import split

_NOT_FOUND = 404
ALWAYS, MISSING, NEVER, BUILD = "always", "missing", "never", "build"
_POLICIES = frozenset({"", ALWAYS, MISSING, NEVER, BUILD, "if_not_present", "daily", "weekly", "refresh"})


@dataclass(frozen=True)
class ImageFacts:
    """An image that is there: its id, and where it declares volumes."""

    id: str
    volumes: tuple[str, ...] = ()


async def images_of(session: ProjectSession, services: Iterable[str]) -> dict[str, ImageFacts]:
    """The images of services that are there."""
    assert session.project is not None
    project = session.project
    names = {name: image_name(project, name) for name in services}
    found = dict(
        zip(
            dict.fromkeys(names.values()),
            await together(_inspect(session, one) for one in dict.fromkeys(names.values())),
            strict=True,
        )
    )
    return {name: facts for name, image in names.items() if (facts := found[image]) is not None}


async def _inspect(session: ProjectSession, image: str) -> ImageFacts | None:
    try:
        found = await session.client.do(image_requests.inspect(image))
    except ApiError as error:
        if error.http_status == _NOT_FOUND:
            return None
        raise
    return ImageFacts(found.Id, tuple(getattr(found.Config, "Volumes", None) or ()))


async def ensure_images(
    session: ProjectSession, services: Iterable[str], *, policy: str = "", quiet: bool = False
) -> dict[str, ImageFacts]:
    """Have the image of each service: pull what its policy, or `policy` for all, says. Raises ComposeError."""
    assert session.project is not None
    project = session.project
    names = list(services)
    there = await images_of(session, names)
    wanted: dict[str, list[str]] = {}
    for name in names:
        service = project.services[name]
        if _is_pulled(name, service, policy, name in there):
            wanted.setdefault(image_name(project, name), []).append(name)
    await together(_pull_for(session, image, users[0], quiet, users[0] in there) for image, users in wanted.items())
    return await images_of(session, names) if wanted and not session.dry_run else there


def _is_pulled(name: str, service: Service, given: str, is_there: bool) -> bool:
    policy = given or service.pull_policy
    if policy not in _POLICIES and not policy.startswith("every_"):
        raise ComposeError(f'services.{name}: unknown pull_policy "{policy}"', ("services", name, "pull_policy"))
    if service.build is not None and (policy == BUILD or not is_there):
        raise ComposeError(
            f"services.{name}: its image is not there, and darse compose does not build yet: `darse build` or "
            "`docker compose build` make it",
            ("services", name, "build"),
        )
    if policy == ALWAYS:
        return service.build is None
    if policy in (NEVER, BUILD) and not is_there:
        raise ComposeError(f'No such image: {service.image} (pull_policy of service "{name}" is {policy})')
    if policy in ("daily", "weekly", "refresh") or policy.startswith("every_"):
        # The engine does not say when an image was pulled: an image is asked for anew, which costs one request.
        return service.build is None
    return not is_there


async def _pull_for(session: ProjectSession, image: str, service: str, quiet: bool, is_there: bool) -> None:
    """Pull an image; one that is there already is used where it cannot be pulled."""
    assert session.project is not None
    platform = session.project.services[service].platform or session.project.environment.get(
        "DOCKER_DEFAULT_PLATFORM", ""
    )
    try:
        await pull(session, image, service, platform=platform, quiet=quiet)
    except ClientError as error:
        if not is_there:
            raise
        session.report(service, f"Warning {error}", WARNING)


async def pull(session: ProjectSession, image: str, service: str, *, platform: str = "", quiet: bool = False) -> None:
    """Pull an image. Raises ClientError."""
    session.report(service, "Pulling")
    if session.dry_run:
        session.report(service, "Pulled", DONE)
        return
    name = split(image).tagged()
    layers: dict[str, str] = {}
    request = image_requests.pull(
        name.name, tag=name.digest or name.tag, platform=platform.lower(), credentials=session.credentials(image)
    )
    try:
        async for message in session.client.follow(request):
            if message.error:
                _refuse(message.error)
            if message.id and not quiet and layers.get(message.id) != message.status:
                layers[message.id] = message.status
                done = sum(status in ("Pull complete", "Already exists") for status in layers.values())
                session.report(service, "Pulling", detail=f"{done}/{len(layers)}")
    except ClientError as error:
        session.report(service, f"Error {error}", FAILED)
        raise
    session.report(service, "Pulled", DONE)


def _refuse(reason: str) -> NoReturn:
    raise ClientError(reason)
