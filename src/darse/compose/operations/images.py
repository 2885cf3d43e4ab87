"""The images of services: what is there, and what is pulled first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from darse.client.errors import ApiError, ClientError
from darse.client.messages import Progress
from darse.client.requests import images as image_requests
from darse.compose.desired.names import image_name
from darse.compose.errors import ComposeError
from darse.compose.model.service import Service
from darse.compose.operations.progress import DONE, FAILED, WARNING
from darse.compose.operations.session import ProjectSession, together
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
    names = {name: image_name(project, name) for name in services if project.services[name].provider is None}
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
        raise ComposeError(f"unable to get image {image!r}: {error}") from error
    return ImageFacts(found.Id, tuple(getattr(found.Config, "Volumes", None) or ()))


async def ensure_images(
    session: ProjectSession, services: Iterable[str], *, policy: str = "", quiet: bool = False, build: str = MISSING
) -> dict[str, ImageFacts]:
    """Have the image of each service: pull what its policy, or `policy` for all, says, and build the rest.

    `build` is ALWAYS, MISSING or NEVER. Raises ComposeError.
    """
    assert session.project is not None
    project = session.project
    names = [name for name in services if project.services[name].provider is None]
    there = await images_of(session, names)
    built = [name for name in names if _is_built(project.services[name], policy, build)]
    requested: dict[str, list[str]] = {}
    for name in names:
        if name not in built and _is_pulled(name, project.services[name], policy, name in there):
            requested.setdefault(image_name(project, name), []).append(name)
    can_fail = {
        image
        for image, users in requested.items()
        if users[0] in there or (build != NEVER and any(project.services[one].build is not None for one in users))
    }
    await together(_pull_for(session, image, users[0], quiet, image in can_fail) for image, users in requested.items())
    if requested and not session.dry_run:
        there = await images_of(session, names)
    missing = [name for name in names if project.services[name].build is not None and name not in there]
    if missing and build == NEVER:
        raise ComposeError(f"services.{missing[0]}: its image is not there, and --no-build was given")
    builds = list(dict.fromkeys([*built, *missing]))
    await session.build(builds)
    return await images_of(session, names) if builds and not session.dry_run else there


def _is_built(service: Service, policy: str, build: str) -> bool:
    """Whether the image is built though it is there."""
    if service.build is None or build == NEVER:
        return False
    return build == ALWAYS or BUILD in (policy, service.pull_policy)


def _is_pulled(name: str, service: Service, given: str, is_there: bool) -> bool:
    policy = given or service.pull_policy
    if policy not in _POLICIES and not policy.startswith("every_"):
        raise ComposeError(f'services.{name}: unknown pull_policy "{policy}"', ("services", name, "pull_policy"))
    if not service.image:
        return False
    if policy == ALWAYS:
        return True
    if policy in (NEVER, BUILD):
        if service.build is None and not is_there:
            raise ComposeError(f'No such image: {service.image} (pull_policy of service "{name}" is {policy})')
        return False
    if policy in ("daily", "weekly", "refresh") or policy.startswith("every_"):
        # The engine does not say when an image was pulled: an image is asked for anew, which costs one request.
        return True
    return not is_there


async def _pull_for(session: ProjectSession, image: str, service: str, quiet: bool, can_fail: bool) -> None:
    """Pull an image; `can_fail`: it is there already, or can be built."""
    assert session.project is not None
    platform = session.project.services[service].platform or session.project.environment.get(
        "DOCKER_DEFAULT_PLATFORM", ""
    )
    try:
        await pull(session, image, service, platform=platform, quiet=quiet)
    except ClientError as error:
        if not can_fail:
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
        async with session.slot():
            async for message in session.client.follow(request):
                refuse_failure(message)
                if message.id and not quiet and layers.get(message.id) != message.status:
                    layers[message.id] = message.status
                    done = sum(status in ("Pull complete", "Already exists") for status in layers.values())
                    session.report(service, "Pulling", detail=f"{done}/{len(layers)}")
    except ClientError as error:
        session.report(service, f"Error {error}", FAILED)
        raise
    session.report(service, "Pulled", DONE)


def refuse_failure(message: Progress) -> None:
    """Raise ClientError for a message that says that a pull or a push has failed."""
    if message.error:
        raise ClientError(message.error)
