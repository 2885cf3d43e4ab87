"""Waiting for the containers of services: until they are healthy, or have done their work.

One subscription to the engine's events serves all who wait; after each event that concerns a container it is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from darse.client.errors import ApiError, ClientError
from darse.client.requests import containers as container_requests
from darse.client.requests import system as system_requests
from darse.compose.desired import labels
from darse.compose.errors import ComposeError
from darse.compose.operations.progress import DONE, FAILED
from darse.compose.operations.session import ProjectSession
from darse.wire.containers import ContainerInspect, Health

HEALTHY, COMPLETED, RUNNING_OR_HEALTHY = (
    "service_healthy",
    "service_completed_successfully",
    "service_running_or_healthy",
)


class ConditionFailed(ComposeError):
    """A container will not reach the state that is waited for."""


class StateWatch:
    """Looks at containers when their state has changed."""

    def __init__(self, session: ProjectSession) -> None:
        self._session = session
        self._changed = asyncio.Condition()
        self._changes = 0
        self._failure: ClientError | None = None

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[StateWatch]:
        """Watch for as long as the context lasts."""
        filters = {"type": ["container"], "label": [f"{labels.PROJECT}={self._session.name}"]}
        async with self._session.client.subscribe(system_requests.events(filters=filters)) as events:
            follower = asyncio.create_task(self._follow(events))
            try:
                yield self
            finally:
                follower.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await follower

    async def _follow(self, events: AsyncIterator[object]) -> None:
        try:
            async for _ in events:
                await self._notify()
        except ClientError as error:
            self._failure = error
        else:
            self._failure = ClientError("the engine ended its stream of events")
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changes += 1
            self._changed.notify_all()

    async def until(self, container: str, holds: Callable[[ContainerInspect], bool]) -> ContainerInspect:
        """Wait until something holds for a container. Raises what `holds` raises, and ClientError."""
        while True:
            seen = self._changes
            found = await self._session.client.do(container_requests.inspect(container))
            if holds(found):
                return found
            async with self._changed:
                while self._changes == seen and self._failure is None:
                    await self._changed.wait()
            if self._failure is not None:
                raise self._failure


async def wait_for(session: ProjectSession, watch: StateWatch, name: str, container: str, condition: str) -> None:
    """Wait until a container fulfils a condition of `depends_on`. Raises ConditionFailed."""
    resource = f"Container {name}"
    session.report(resource, "Waiting")
    try:
        found = await watch.until(container, lambda one: _holds(name, one, condition))
    except ApiError as error:
        session.report(resource, "Error", FAILED)
        raise ConditionFailed(f"container {name} is gone") from error
    except ComposeError:
        session.report(resource, "Error", FAILED)
        raise
    session.report(resource, "Exited" if condition == COMPLETED else _reported_status(found), DONE)


def _reported_status(found: ContainerInspect) -> str:
    return "Healthy" if isinstance(found.State.Health, Health) else "Started"


def _holds(name: str, found: ContainerInspect, condition: str) -> bool:
    state = found.State
    if condition == COMPLETED:
        if state.Status not in ("exited", "dead"):
            return False
        if state.ExitCode:
            raise ConditionFailed(f'service "{_service(found)}" didn\'t complete successfully: exit {state.ExitCode}')
        return True
    if state.Status in ("exited", "dead"):
        raise ConditionFailed(f"container {name} exited ({state.ExitCode})")
    if not isinstance(state.Health, Health) or state.Health.Status == "none":
        if condition == RUNNING_OR_HEALTHY:
            return state.Status == "running"
        raise ConditionFailed(f"container {name} has no healthcheck configured")
    if state.Health.Status == "unhealthy":
        raise ConditionFailed(f"container {name} is unhealthy")
    return state.Health.Status == "healthy"


def _service(found: ContainerInspect) -> str:
    return (found.Config.Labels or {}).get(labels.SERVICE, "")
