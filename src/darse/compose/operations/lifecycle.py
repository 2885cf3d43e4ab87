"""Start, stop, restart, kill, pause and remove the containers of services, in the order of their dependencies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from darse.client.errors import ApiError
from darse.client.requests import containers as container_requests
from darse.compose.errors import ComposeError
from darse.compose.operations.conditions import ConditionFailed, StateWatch, wait_for
from darse.compose.operations.hooks import run_hooks
from darse.compose.operations.session import ProjectSession, together
from darse.compose.plan.actual import ActualContainer
from darse.compose.plan.order import dependencies, ordered
from darse.compose.plan.up import orphaned

_NOT_FOUND, _CONFLICT = 404, 409
Act = Callable[[ActualContainer], Awaitable[None]]


def of_services(
    containers: Iterable[ActualContainer], services: Sequence[str], session: ProjectSession
) -> list[ActualContainer]:
    """The containers of services; where none is named, of those that are enabled. Raises ComposeError for other names.

    As docker compose: what a profile leaves out, and what the files have no more, is not touched unless it is named.
    """
    found = list(containers)
    known = {one.service for one in found}
    if session.project is not None:
        known |= set(session.project.all_services())
    for name in services:
        if name not in known:
            raise ComposeError(f"no such service: {name}")
    requested = services or (session.project.services if session.project is not None else known)
    return [one for one in found if one.service in requested]


async def in_order(
    session: ProjectSession, containers: Sequence[ActualContainer], act: Act, *, reverse: bool = False
) -> None:
    """Do something with containers: of each service when those are done that it depends on, or that depend on it."""
    graph = dependencies(session.project, containers)
    if reverse:
        turned: dict[str, set[str]] = {name: set() for name in graph}
        for name, others in graph.items():
            for other in others:
                turned[other].add(name)
        graph = turned
    done = {name: asyncio.Event() for name in graph}
    before: dict[str, set[str]] = {}
    seen: set[str] = set()
    for name in ordered(graph):
        # Only what comes earlier in the order: dependencies in a circle end nowhere.
        before[name] = graph[name] & seen
        seen.add(name)

    async def service(name: str) -> None:
        try:
            for other in before[name]:
                await done[other].wait()
            await together(act(one) for one in containers if one.service == name)
        finally:
            done[name].set()

    await together(service(name) for name in graph)


def pre_stop(session: ProjectSession, service: str) -> list[object]:
    """The hooks of a service that are run before it stops."""
    found = session.service(service)
    return list(found.pre_stop) if found is not None else []


async def stop_requests(
    session: ProjectSession, container: ActualContainer, hooks: Sequence[object], *, seconds: int | None = None
) -> None:
    """Stop a container, after its hooks."""
    resource = f"Container {container.name}"
    session.report(resource, "Stopping")
    if container.is_running:
        await run_hooks(session, container.id, container.service, list(hooks))  # type: ignore[arg-type]
    await session.step(resource, "Stopping", "Stopped", container_requests.stop(container.id, seconds=seconds))


async def stop_and_remove(
    session: ProjectSession,
    container: ActualContainer,
    hooks: Sequence[object] = (),
    *,
    seconds: int | None = None,
    volumes: bool = False,
) -> None:
    """Stop a container and remove it; one that is gone already is removed."""
    resource = f"Container {container.name}"
    try:
        if container.is_running or container.state == "paused":
            await stop_requests(session, container, hooks, seconds=seconds)
        await session.step(
            resource, "Removing", "Removed", container_requests.remove(container.id, force=True, volumes=volumes)
        )
    except ApiError as error:
        # Another `down` at the same time: what it removes is removed.
        if error.http_status not in (_NOT_FOUND, _CONFLICT):
            raise


async def stop(session: ProjectSession, services: Sequence[str], *, seconds: int | None = None) -> None:
    """Stop services, those first that others do not depend on."""
    found = of_services(await session.containers(one_off=False), services, session)
    running = [one for one in found if one.is_running or one.state == "paused"]
    await in_order(
        session,
        running,
        lambda one: stop_requests(session, one, pre_stop(session, one.service), seconds=seconds),
        reverse=True,
    )


async def start(session: ProjectSession, services: Sequence[str]) -> list[ActualContainer]:
    """Start the containers of services that are there, when what they depend on is as far as they say."""
    everything = await session.containers(one_off=False)
    found = of_services(everything, services, session)
    if not found:
        raise ComposeError(f'no container found for project "{session.name}": not found')
    watch = StateWatch(session)
    async with watch.watching():
        await in_order(session, found, lambda one: _start(session, watch, one, everything))
    return found


async def _start(
    session: ProjectSession, watch: StateWatch, container: ActualContainer, everything: Sequence[ActualContainer]
) -> None:
    if container.is_running:
        return
    for name, condition, is_required in _conditions(session, container):
        for one in everything:
            if one.service != name:
                continue
            try:
                await wait_for(session, watch, one.name, one.id, condition)
            except ConditionFailed as error:
                if is_required:
                    raise ComposeError(f"dependency failed to start: {error}") from error
    service = session.service(container.service)
    await session.step(f"Container {container.name}", "Starting", "Started", container_requests.start(container.id))
    if service is not None:
        await run_hooks(session, container.id, container.service, service.post_start)


def _conditions(session: ProjectSession, container: ActualContainer) -> list[tuple[str, str, bool]]:
    if session.project is None or container.service not in session.project.services:
        return []
    depends_on = session.project.services[container.service].depends_on
    return [
        (name, one.condition, one.required)
        for name, one in depends_on.items()
        if one.condition not in ("", "service_started")
    ]


async def restart(
    session: ProjectSession, services: Sequence[str], *, seconds: int | None = None, no_deps: bool = False
) -> None:
    """Restart services, and those that say that they are restarted with them."""
    names = set(services)
    if session.project is not None and services and not no_deps:
        for name, service in session.project.services.items():
            if any(one.restart for other, one in service.depends_on.items() if other in services):
                names.add(name)
    found = of_services(await session.containers(one_off=False), sorted(names), session)

    async def one_of(container: ActualContainer) -> None:
        resource = f"Container {container.name}"
        if container.is_running:
            await run_hooks(session, container.id, container.service, pre_stop(session, container.service))  # type: ignore[arg-type]
        request = container_requests.restart(container.id, seconds=seconds)
        await session.step(resource, "Restarting", "Started", request)
        service = session.service(container.service)
        if service is not None:
            await run_hooks(session, container.id, container.service, service.post_start)

    await in_order(session, found, one_of)


async def kill(session: ProjectSession, services: Sequence[str], *, signal: str, remove_orphans: bool = False) -> bool:
    """Send a signal to the containers of services that run; return whether there is one."""
    everything = await session.containers()
    found = [one for one in of_services(everything, services, session) if one.is_running or one.state == "paused"]
    if remove_orphans and session.project is not None:
        await together(stop_and_remove(session, one) for one in orphaned(session.project, everything))
        found = [one for one in found if one.service in session.project.all_services()]
    await together(
        session.step(
            f"Container {one.name}", "Killing", "Killed", container_requests.kill(one.id, signal=signal or "SIGKILL")
        )
        for one in found
    )
    return bool(found)


async def pause(session: ProjectSession, services: Sequence[str], *, resume: bool = False) -> None:
    """Freeze services, or let them go on."""
    state = "paused" if resume else "running"
    found = [
        one for one in of_services(await session.containers(one_off=False), services, session) if one.state == state
    ]
    words = ("Unpausing", "Unpaused") if resume else ("Pausing", "Paused")
    request = container_requests.unpause if resume else container_requests.pause
    await in_order(session, found, lambda one: session.step(f"Container {one.name}", *words, request(one.id)))


async def remove(session: ProjectSession, containers: Sequence[ActualContainer], *, volumes: bool = False) -> None:
    """Remove containers that do not run."""
    requests = {one.name: container_requests.remove(one.id, force=True, volumes=volumes) for one in containers}
    await together(
        session.step(f"Container {name}", "Removing", "Removed", request) for name, request in requests.items()
    )
