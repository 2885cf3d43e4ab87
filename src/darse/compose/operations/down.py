"""`down`: stop and remove what a project has, and keep its volumes unless they are to go, too."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from darse.client.errors import ApiError, ClientError
from darse.client.requests import ApiRequest
from darse.client.requests import images as image_requests
from darse.client.requests import networks as network_requests
from darse.client.requests import volumes as volume_requests
from darse.compose.desired import labels
from darse.compose.desired.names import image_name
from darse.compose.operations.lifecycle import in_order, of_services, pre_stop, stop_and_remove
from darse.compose.operations.progress import DONE, WARNING
from darse.compose.operations.providers import run_providers
from darse.compose.operations.session import ProjectSession, together
from darse.compose.plan.actual import ActualContainer, ActualState
from darse.compose.plan.up import orphaned

_NOT_FOUND, _CONFLICT, _FORBIDDEN = 404, 409, 403


async def down(
    session: ProjectSession,
    services: Sequence[str] = (),
    *,
    remove_orphans: bool = False,
    volumes: bool = False,
    images: str = "",
    seconds: int | None = None,
) -> None:
    """Remove the containers of services, and with those of all that are enabled the networks.

    `images` is "", local (those without a name of their own) or all.
    """
    state = await session.state()
    found = list(of_services(state.containers, services, session))
    if session.project is not None and remove_orphans and not services:
        found += orphaned(session.project, state.containers)

    async def act(one: ActualContainer) -> None:
        await stop_and_remove(session, one, pre_stop(session, one.service), seconds=seconds, volumes=volumes)

    await in_order(session, found, act, reverse=True)
    if services:
        return
    if session.project is not None:
        await run_providers(session, "down")
    work: list[Awaitable[None]] = [*_networks(session, state), *(_images(session, images) if images else ())]
    if volumes:
        work += _volumes(session, state)
    if not found and not work:
        session.warn(f'No resource found to remove for project "{session.name}".')
    await together(work)


def _networks(session: ProjectSession, state: ActualState) -> list[Awaitable[None]]:
    return [
        _remove(session, f"Network {one.Name}", network_requests.remove(one.Id))
        for one in state.networks.values()
        if (one.Labels or {}).get(labels.PROJECT) == session.name
    ]


def _volumes(session: ProjectSession, state: ActualState) -> list[Awaitable[None]]:
    """The volumes that the project names and made; those of services it has no more are somebody's data."""
    project = session.project
    if project is None:
        names = [one.Name for one in state.volumes.values() if (one.Labels or {}).get(labels.PROJECT) == session.name]
    else:
        names = [one.name for one in project.volumes.values() if not one.external and one.name in state.volumes]
    return [_remove(session, f"Volume {name}", volume_requests.remove(name, force=True)) for name in names]


def _images(session: ProjectSession, which: str) -> list[Awaitable[None]]:
    project = session.project
    if project is None:
        return []
    names = {
        image_name(project, name) for name, service in project.services.items() if which == "all" or not service.image
    }
    return [_remove(session, f"Image {name}", image_requests.remove(name)) for name in sorted(names)]


async def _remove(session: ProjectSession, resource: str, request: ApiRequest[Any]) -> None:
    """Remove a resource; one that others use stays, and one that is gone is removed."""
    session.report(resource, "Removing")
    try:
        await session.change(request)
    except ApiError as error:
        if error.http_status == _NOT_FOUND:
            session.report(resource, "Warning: No resource found to remove", DONE)
        elif error.http_status in (_CONFLICT, _FORBIDDEN):
            session.report(resource, "Resource is still in use", WARNING)
        else:
            session.report(resource, f"Error {error}", WARNING)
            raise
    except ClientError as error:
        session.report(resource, f"Error {error}", WARNING)
        raise
    else:
        session.report(resource, "Removed", DONE)
