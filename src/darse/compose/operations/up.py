"""Carry out the plan of `up`: resources, containers, starts.

Each step of a container waits for those that it comes after, and for nothing else. What is broken off leaves a state
that the next plan begins with: a container that takes another's place is made beside it under a temporary name, and has
its own name when the other is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from darse.client.errors import ClientError
from darse.client.requests import containers as container_requests
from darse.client.requests import networks as network_requests
from darse.client.requests import volumes as volume_requests
from darse.compose.desired.create_request import ContainerContext, create_request, refuse
from darse.compose.desired.mounts import file_contents, ignored_ownership
from darse.compose.desired.resources import network_request, volume_request
from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.model.service import Dependency
from darse.compose.operations.conditions import ConditionFailed, StateWatch, wait_for
from darse.compose.operations.hooks import credentials, put_files, run_hooks
from darse.compose.operations.images import ImageFacts
from darse.compose.operations.lifecycle import stop_and_remove, stop_requests
from darse.compose.operations.progress import DONE, FAILED, WARNING
from darse.compose.operations.session import ProjectSession, together
from darse.compose.plan.actual import ActualContainer, ActualState
from darse.compose.plan.steps import (
    CREATE,
    KEEP,
    RECREATE,
    REMOVE,
    RENAME,
    STOP,
    ContainerStep,
    ResourceStep,
    UpPlan,
)

# Conditions that hold when a container is started, for which nothing has to be watched.
_STARTED = ("", "service_started")


class UpExecution:
    """One run of a plan."""

    def __init__(
        self,
        session: ProjectSession,
        plan: UpPlan,
        actual: ActualState,
        images: Mapping[str, ImageFacts],
        *,
        seconds: int | None = None,
        keep_anonymous: bool = True,
    ) -> None:
        """`seconds` is how long a container has to stop; `keep_anonymous`: anonymous volumes go on to new containers.

        Raises ComposeError where there is no project.
        """
        if session.project is None:
            raise ComposeError("no configuration file provided: not found")
        self._session = session
        self._project: Project = session.project
        self.plan = plan
        self.actual = actual
        self.images = images
        self._seconds = seconds
        self._keep_anonymous = keep_anonymous
        #: The containers of each service, by their numbers: names and ids.
        self.containers: dict[str, dict[int, tuple[str, str]]] = {}
        self._done: dict[str, asyncio.Event] = {}
        self._failed: set[str] = set()

    async def prepare(self) -> None:
        """Make what containers need, and the containers. Raises ClientError and ComposeError."""
        for name, service in self._project.services.items():
            refuse(name, service)
        for text in self.plan.warnings:
            self._session.warn(text)
        await together(self._resource(step) for step in self.plan.resources)
        await self._run(self.plan.containers, self._container)

    async def start(self) -> None:
        """Start the containers, each when what its service depends on is as far as it says."""
        if all(step.actual is not None for step in self.plan.starts):
            return
        watch = StateWatch(self._session)
        async with watch.watching() if self._has_conditions() else contextlib.nullcontext():
            await self._run(self.plan.starts, lambda step: self._start(step, watch))

    def _has_conditions(self) -> bool:
        """Whether a container waits for more than the start of another."""
        return any(
            dependency.condition not in _STARTED
            for step in self.plan.starts
            for dependency in self._project.services[step.service].depends_on.values()
        )

    async def _run(self, steps: list[ContainerStep], act: Callable[[ContainerStep], Awaitable[None]]) -> None:
        for step in steps:
            self._done[step.key] = asyncio.Event()
        await together(self._in_turn(step, act) for step in steps)

    async def _in_turn(self, step: ContainerStep, act: Callable[[ContainerStep], Awaitable[None]]) -> None:
        """Do a step when those before it are done; one of them that failed has said why."""
        try:
            for key in step.after:
                await self._done[key].wait()
            if self._failed.isdisjoint(step.after):
                await act(step)
            else:
                self._failed.add(step.key)
        except BaseException:
            self._failed.add(step.key)
            raise
        finally:
            self._done[step.key].set()

    async def _resource(self, step: ResourceStep) -> None:
        session, project = self._session, self._project
        if step.action == KEEP:
            return
        if step.kind == "volume":
            created = volume_request(project.name, step.key, project.volumes[step.key])
            await session.step(f"Volume {step.name}", "Creating", "Created", volume_requests.create(created))
            return
        resource = f"Network {step.name}"
        if step.action == RECREATE:
            await self._remove_network(resource, step)
        config = network_request(project.name, step.key, project.networks[step.key])
        await session.step(resource, "Creating", "Created", network_requests.create(config))

    async def _remove_network(self, resource: str, step: ResourceStep) -> None:
        """Take a network away whose configuration has changed; containers are off it before."""
        network = self.actual.networks[step.name].Id
        found = await self._session.client.do(network_requests.inspect(network))
        connected = found.Containers if isinstance(found.Containers, dict) else {}
        await together(self._session.change(network_requests.disconnect(network, one, force=True)) for one in connected)
        await self._session.step(resource, "Removing", "Removed", network_requests.remove(network))

    async def _container(self, step: ContainerStep) -> None:
        if step.action == CREATE:
            await self._create(step)
        elif step.action == RECREATE:
            await self._recreate(step)
        elif step.action == KEEP:
            self._keep(step)
        elif step.action == RENAME:
            assert step.actual is not None
            await self._session.change(container_requests.rename(step.actual.id, step.name))
            self._have(step, step.actual.id)
        elif step.action == REMOVE:
            assert step.actual is not None
            hooks = self._hooks(step.service)
            await stop_and_remove(self._session, step.actual, hooks, seconds=self._seconds)
        elif step.action == STOP:
            assert step.actual is not None
            hooks = self._hooks(step.service)
            await stop_requests(self._session, step.actual, hooks, seconds=self._seconds)

    def _hooks(self, service: str) -> list[object]:
        found = self._project.services.get(service)
        return list(found.pre_stop) if found is not None else []

    def _keep(self, step: ContainerStep) -> None:
        assert step.actual is not None
        self._have(step, step.actual.id)
        if step.actual.state == "running":
            self._session.report(f"Container {step.name}", "Running", DONE)

    def _have(self, step: ContainerStep, identifier: str) -> None:
        self.containers.setdefault(step.service, {})[step.number] = (step.name, identifier)

    def _context(self, step: ContainerStep, replaced: ActualContainer | None) -> ContainerContext:
        facts = self.images.get(step.service, ImageFacts(""))
        own = f"{step.service}-{step.number}"
        service = self._project.services[step.service]
        return ContainerContext(
            image_id=facts.id,
            image_volumes=facts.volumes,
            ids={name: found[min(found)][1] for name, found in self.containers.items() if found},
            linked={name: [one for one, _ in found.values()] for name, found in self.containers.items()},
            inherited=replaced.mounts if replaced is not None and self._keep_anonymous else (),
            api_socket=self._session.api_socket,
            has_credentials=bool(service.use_api_socket and self._session.docker_config),
            replaces=(service.container_name or own) if replaced is not None else "",
        )

    async def _create(self, step: ContainerStep) -> None:
        await self._reported(step, "Creating", "Created", self._created(step, step.name, None))

    async def _created(self, step: ContainerStep, name: str, replaced: ActualContainer | None) -> None:
        """Create the container of a step under a name."""
        session, service = self._session, self._project.services[step.service]
        config = create_request(self._project, step.service, step.name, step.number, self._context(step, replaced))
        for source in ignored_ownership(self._project, service):
            session.warn(f"{step.service}: {source}: `uid`, `gid` and `mode` are not supported for files of the host")
        platform = service.platform or self._project.environment.get("DOCKER_DEFAULT_PLATFORM", "")
        created = await session.change(container_requests.create(config, name=name, platform=platform))
        for warning in created.Warnings if created is not None else ():
            session.warn(warning)
        self._have(step, created.Id if created is not None else "dry-run")

    async def _recreate(self, step: ContainerStep) -> None:
        replaced = step.actual
        assert replaced is not None

        async def recreate() -> None:
            # The id of what is replaced, as docker compose names what it has not finished either.
            temporary = f"{replaced.id[:12]}_{step.name}"
            await self._created(step, temporary, replaced)
            made = self.containers[step.service][step.number][1]
            if replaced.is_running or replaced.state == "paused":
                await run_hooks(self._session, replaced.id, step.service, self._project.services[step.service].pre_stop)
                await self._session.change(container_requests.stop(replaced.id, seconds=self._seconds))
            await self._session.change(container_requests.remove(replaced.id))
            await self._session.change(container_requests.rename(made, step.name))

        await self._reported(step, "Recreate", "Recreated", recreate())

    async def _reported(self, step: ContainerStep, working: str, done: str, work: Awaitable[None]) -> None:
        resource = f"Container {step.name}"
        self._session.report(resource, working)
        try:
            await work
        except (ClientError, ComposeError) as error:
            self._session.report(resource, f"Error {error}", FAILED)
            raise
        self._session.report(resource, done, DONE)

    async def _start(self, step: ContainerStep, watch: StateWatch) -> None:
        if step.actual is not None:
            return
        service = self._project.services[step.service]
        if not self._session.dry_run:
            await self._wait_for_dependencies(step, watch)
        name, identifier = self.containers[step.service][step.number]
        session = self._session
        was = next((one for one in self.actual.containers if one.id == identifier), None)
        if was is not None and was.state == "paused":
            await session.step(f"Container {name}", "Starting", "Started", container_requests.unpause(identifier))
            return

        async def start() -> None:
            files = [*file_contents(self._project, service), *credentials(session, service)]
            await put_files(session, identifier, files)
            await session.change(container_requests.start(identifier))
            await run_hooks(session, identifier, step.service, service.post_start)

        await self._reported(step, "Starting", "Started", start())

    async def _wait_for_dependencies(self, step: ContainerStep, watch: StateWatch) -> None:
        await together(self._waits(watch, self._project.services[step.service].depends_on))

    def _waits(self, watch: StateWatch, depends_on: Mapping[str, Dependency]) -> list[Awaitable[None]]:
        return [
            self._wait(watch, container, identifier, dependency.condition, dependency.required)
            for name, dependency in depends_on.items()
            if dependency.condition not in _STARTED
            for container, identifier in self.containers.get(name, {}).values()
        ]

    async def wait_for(self, depends_on: Mapping[str, Dependency]) -> None:
        """Wait until the containers of a run are as far as something else says that depends on them."""
        watch = StateWatch(self._session)
        if not self._session.dry_run:
            async with watch.watching():
                await together(self._waits(watch, depends_on))

    async def _wait(
        self, watch: StateWatch, container: str, identifier: str, condition: str, is_required: bool
    ) -> None:
        try:
            await wait_for(self._session, watch, container, identifier, condition)
        except ConditionFailed as error:
            if is_required:
                raise ComposeError(f"dependency failed to start: {error}") from error
            self._session.report(f"Container {container}", f"optional dependency failed to start: {error}", WARNING)


async def wait_until_up(session: ProjectSession, execution: UpExecution, condition: str, seconds: float | None) -> None:
    """Wait until all containers of a run are up: `--wait`. Raises ConditionFailed, and ComposeError after `seconds`."""
    watch = StateWatch(session)
    async with watch.watching():
        waits = [
            wait_for(session, watch, name, identifier, condition)
            for found in execution.containers.values()
            for name, identifier in found.values()
        ]
        try:
            async with asyncio.timeout(seconds):
                await together(waits)
        except TimeoutError as error:
            raise ComposeError("application not healthy after timeout") from error
