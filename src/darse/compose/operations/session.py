"""The engine that a project is on, and where what happens is reported."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from darse.client.asynchronous import AsyncClient
from darse.client.requests import ApiRequest
from darse.client.requests import containers as container_requests
from darse.client.requests import networks as network_requests
from darse.client.requests import volumes as volume_requests
from darse.compose.desired import labels
from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.model.service import Service
from darse.compose.operations.progress import DONE, FAILED, WORKING, ResourceProgress
from darse.compose.plan.actual import ActualContainer, ActualState

T = TypeVar("T")


class ProjectSession:
    """An engine, and a project on it. `project` is None where no file is needed and none was found."""

    def __init__(
        self,
        client: AsyncClient,
        name: str,
        project: Project | None,
        report: Callable[[ResourceProgress], None],
        warn: Callable[[str], None],
        *,
        dry_run: bool = False,
        credentials: Callable[[str], str] | None = None,
        settle: Callable[[], None] = lambda: None,
        build: Callable[[ProjectSession, Sequence[str]], Awaitable[None]] | None = None,
        parallel: int = -1,
        docker_config: Callable[[], bytes] = lambda: b"",
    ) -> None:
        """`credentials` gives the encoded X-Registry-Auth for an image's name; a dry run changes nothing.

        `build` makes the images of services; at most `parallel` requests that change something, pulls and builds run
        beside each other, -1 for any number. `docker_config` gives the config.json of containers with `use_api_socket`.

        `settle` is called before something else than progress is printed.
        """
        self.client = client
        self.name = name
        self.project = project
        self.dry_run = dry_run
        self.warn = warn
        self.settle = settle
        self._report = report
        self._credentials = credentials
        self._build = build
        self._docker_config = docker_config
        self._slots = asyncio.Semaphore(parallel) if parallel > 0 else None

    def credentials(self, image: str) -> str:
        """What a registry is to be shown for an image; empty for nothing."""
        return self._credentials(image) if self._credentials is not None else ""

    @property
    def api_socket(self) -> str:
        """The engine's socket; empty where it is not one of this machine."""
        scheme, _, path = self.client.endpoint.host.partition("://")
        return path if scheme == "unix" else ""

    @functools.cached_property
    def docker_config(self) -> bytes:
        """What a container that speaks to the engine gets as config.json; empty for none."""
        return self._docker_config()

    def service(self, name: str) -> Service | None:
        """What the files say of a service, enabled or not; None where they say nothing."""
        return self.project.all_services().get(name) if self.project is not None else None

    def report(self, resource: str, text: str, state: str = WORKING, detail: str = "") -> None:
        """Report what happens to a resource."""
        self._report(ResourceProgress(resource, text, state, detail))

    def decorate(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Call `before` before something is printed from now on, and `after` when progress has come to an end."""
        report, settle, warn = self._report, self.settle, self.warn

        def reported(progress: ResourceProgress) -> None:
            before()
            report(progress)

        def settled() -> None:
            before()
            settle()
            after()

        def warned(text: str) -> None:
            before()
            warn(text)
            after()

        self._report, self.settle, self.warn = reported, settled, warned

    async def change(self, request: ApiRequest[T]) -> T | None:
        """Do a request that changes something; in a dry run nothing is done, and the answer is None."""
        if self.dry_run:
            return None
        async with self.slot():
            return await self.client.do(request)

    def slot(self) -> contextlib.AbstractAsyncContextManager[object]:
        """A context for one of the things that are done beside each other, of which there may be a greatest number."""
        return contextlib.nullcontext() if self._slots is None else self._slots

    async def build(self, services: Sequence[str]) -> None:
        """Build the images of services. Raises ComposeError where nothing can build."""
        if services:
            if self._build is None:
                raise ComposeError(f"services.{services[0]}: its image has to be built, and nothing here builds")
            await self._build(self, services)

    async def step(self, resource: str, working: str, done: str, *requests: ApiRequest[Any]) -> None:
        """Do requests one after another, and report their begin and end."""
        self.report(resource, working)
        try:
            for request in requests:
                await self.change(request)
        except Exception as error:
            self.report(resource, f"Error {error}", FAILED)
            raise
        self.report(resource, done, DONE)

    async def containers(self, *, one_off: bool = True) -> list[ActualContainer]:
        """The containers of the project, those that do not run too."""
        filters = {"label": [f"{labels.PROJECT}={self.name}", labels.CONFIG_HASH]}
        found = await self.client.do(container_requests.list_containers(all=True, filters=filters))
        state = ActualState.of(found)
        return [one for one in state.containers if one_off or not one.is_one_off]

    async def state(self) -> ActualState:
        """All that is there."""
        filters = {"label": [f"{labels.PROJECT}={self.name}", labels.CONFIG_HASH]}
        containers, networks, volumes = await asyncio.gather(
            self.client.do(container_requests.list_containers(all=True, filters=filters)),
            self.client.do(network_requests.list_networks()),
            self.client.do(volume_requests.list_volumes()),
        )
        return ActualState.of(containers, networks, volumes.Volumes)


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of work that is done beside each other; the first failure is raised when all have come to an end.

    The rest is not broken off: half a step would be more to put right than a whole one.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    for one in results:
        if isinstance(one, BaseException):
            raise one
    return [one for one in results if not isinstance(one, BaseException)]
