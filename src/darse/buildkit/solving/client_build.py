"""One build of a client: what it may use, the references that it has made, and what it comes to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from darse.build.base_images import BaseImages
from darse.build.context.local import ReceivedContexts
from darse.build.dockerfile.convert import ResolvedImage
from darse.build.errors import BuildError
from darse.build.executor.session import BuildSession
from darse.build.graph import Definition, ImageSource, OCILayoutSource
from darse.build.progress import BuildReport
from darse.build.remote_cache import CacheImports, CacheOptions
from darse.build.request import BuildRequest
from darse.build.sbom.service import ScanServices
from darse.build.service import BuildService
from darse.build.solver import OperationExecutor, Solution, SolveError
from darse.buildkit.frontend.dockerfile import ForeignSyntax, log_in_for, run_frontend
from darse.buildkit.frontend.options import is_built_in
from darse.buildkit.progress import ProgressLog
from darse.buildkit.sessions import ClientSession, SessionPool
from darse.buildkit.sessions.content import ClientContentStore
from darse.buildkit.sessions.contexts import SessionContexts
from darse.buildkit.sessions.layouts import SessionLayouts
from darse.buildkit.sessions.secrets import SessionSecrets
from darse.buildkit.solving.containers import BuildContainers
from darse.buildkit.solving.failures import BuildFailures
from darse.buildkit.solving.foreign_frontends import FrontendServices, run_foreign
from darse.buildkit.solving.lazy_references import BuildResult, LazyReference, ReferenceOrigin
from darse.buildkit.transport.status import Detail
from darse.image_spec import platforms
from darse.images.gc.collector import Lease

_FRONTENDS = frozenset({"dockerfile.v0", "gateway.v0"})
# Of one build; each holds a graph.
_MOST_REFERENCES = 1000
# Front ends in images that run at a time for one build: each may ask for others.
_MOST_FRONTENDS = 8


class ClientBuild:
    """One of them. What it uses is there for the block of `opened`."""

    executor: OperationExecutor
    session_options: BuildSession
    lease: Lease
    contexts: SessionContexts
    layouts: SessionLayouts
    report: BuildReport

    def __init__(
        self,
        name: str,
        service: BuildService,
        session: ClientSession,
        sessions: SessionPool,
        frontend_services: FrontendServices,
    ) -> None:
        """sessions: those of all clients, for graphs that name them. frontend_services: for front ends in images."""
        self.name = name
        self._frontend_services = frontend_services
        self._foreign = 0
        self._sessions = sessions
        self.service = service
        self.session = session
        self.session_id = session.id
        self.session_secrets = SessionSecrets(session)
        self.progress = ProgressLog()
        self.opened_event = asyncio.Event()
        self.is_over = False
        self.returned: asyncio.Future[BuildResult] = asyncio.get_running_loop().create_future()
        """What the client's own front end returns."""
        self.references: dict[str, LazyReference] = {}
        self.places_to: tuple[CacheOptions, ...] = ()
        self.failures = BuildFailures(service)
        self.containers = BuildContainers(self)
        self._places_from: list[CacheOptions] = []
        self._imports: asyncio.Task[CacheImports | None] | None = None

    @contextlib.asynccontextmanager
    async def opened(self, request: BuildRequest) -> AsyncIterator[None]:
        """Have what a build needs, for the block. request: its session's options."""
        service = self.service
        async with (
            service.contexts.directory() as root,
            service.images.lease() as lease,
            service.layouts.of_build() as layouts,
        ):
            self.layouts = SessionLayouts(self.session, self._sessions, layouts)
            self.lease = lease
            self.contexts = SessionContexts(
                self.session,
                ReceivedContexts(service.contexts, Path(root)),
                service.transfers,
                service.archives,
                self._sessions,
            )
            self.session_options = self._session(request)
            self.executor = service.executor.for_session(self.session_options)
            self.opened_event.set()
            try:
                yield
            finally:
                await self._close()

    def _session(self, request: BuildRequest) -> BuildSession:
        return BuildSession(
            contexts=self.contexts,
            secrets=self.session_secrets.secrets,
            agents=self.session_secrets.agents,
            credentials=self.session_secrets.credentials,
            shm_size=request.shm_size,
            may_be_insecure="security.insecure" in request.entitlements,
            may_use_host_network="network.host" in request.entitlements,
            failed=self.failures,
        )

    def end(self) -> None:
        """Nothing more can be asked of it."""
        self.is_over = True
        self.opened_event.set()
        self.progress.close()

    async def _close(self) -> None:
        await self.containers.close()
        for reference in self.references.values():
            solution = await reference.close()
            if solution is not None:
                self.service.solver.release(solution)
        if self._imports is not None:
            self._imports.cancel()
            await asyncio.gather(self._imports, return_exceptions=True)
        await self.contexts.close()
        await self.session_secrets.agents.close()
        await self.failures.close()
        if not self.returned.done():
            self.returned.cancel()

    def import_from(self, place: CacheOptions) -> None:
        """Use a cache elsewhere, too, in what is solved from now on."""
        if place not in self._places_from:
            self._places_from.append(place)
            self._imports = None

    async def _cache_imports(self) -> CacheImports | None:
        if not self._places_from:
            return None
        imports = CacheImports(self.service.executor, self.service.registries, self.lease, self.report)
        for place in self._places_from:
            if place.reference is not None:
                await self.session_secrets.log_in(place.reference.domain)
            blobs = ClientContentStore(self.session, f"local:{place.context}") if place.kind == "local" else None
            await imports.add(place, self.session_secrets.credentials, blobs=blobs)
        return imports

    async def run_frontend(
        self, name: str, options: Mapping[str, str], inputs: Mapping[str, Definition]
    ) -> BuildResult:
        """Run a front end; its results are references of this build. Raises BuildError."""
        if name not in _FRONTENDS:
            raise BuildError(f"frontend {name} not found")
        source = options.get("source", "")
        if name == "gateway.v0" and not is_built_in(source):
            return await self._run_foreign(source, options, inputs)
        try:
            made = await run_frontend(self, options, inputs)
        except ForeignSyntax as foreign:
            return await self._run_foreign(
                foreign.image, {**options, "cmdline": foreign.command, "source": foreign.image}, inputs
            )
        references: dict[str, LazyReference | None] = {}
        for platform, converted in made.graphs.items():
            origin = ReferenceOrigin(made.request, converted, made.dockerfile, made.started)
            references[platform] = self.reference(converted.definition, origin)
        return BuildResult(references, made.metadata)

    async def _run_foreign(
        self, source: str, options: Mapping[str, str], inputs: Mapping[str, Definition]
    ) -> BuildResult:
        """Run the front end in an image. Raises BuildError, also where front ends ask for each other without end."""
        if not source:
            raise BuildError("no source specified for gateway")
        if self._foreign >= _MOST_FRONTENDS:
            raise BuildError(f"more than {_MOST_FRONTENDS} front ends in images run for one build")
        self._foreign += 1
        try:
            return await run_foreign(self, self._frontend_services, source, options, inputs)
        finally:
            self._foreign -= 1

    def scan_services(self) -> ScanServices:
        """What scans for packages use of it."""

        async def resolve(reference: str, platform: str) -> ResolvedImage:
            await log_in_for(self.session_secrets, reference)
            images = BaseImages(
                self.service.images,
                self.service.registries,
                self.lease,
                self.report,
                credentials=self.session_secrets.credentials,
            )
            try:
                return await images.resolve(reference, platform)
            finally:
                await images.close()

        executor, release = self.service.executor, self.service.solver.release
        return ScanServices(executor, self.session_options, self.report, resolve, self._solve, release)

    def detail_of(self, error: SolveError) -> Detail | None:
        """The details of a failed step that a client gets, for its debugger."""
        return self.failures.detail_of(error, (one.definition for one in self.references.values()))

    def reference(self, definition: Definition, origin: ReferenceOrigin | None = None) -> LazyReference:
        """A graph by a name that the client can use. Raises GRPCError where it has too many."""
        if len(self.references) >= _MOST_REFERENCES:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, f"a build has {_MOST_REFERENCES} references at most")
        made = LazyReference(definition, self._solve, origin)
        self.references[made.id] = made
        return made

    def find(self, name: str) -> LazyReference:
        """A reference of this build. Raises GRPCError."""
        if (found := self.references.get(name) or self.failures.references.get(name)) is None:
            raise GRPCError(Status.NOT_FOUND, f"no such ref: {name}")
        return found

    async def _solve(self, definition: Definition) -> Solution:
        await self.session_secrets.for_graph(definition)
        for vertex in definition.vertices.values():
            match vertex.operation:
                case ImageSource(reference=reference):
                    await log_in_for(self.session_secrets, reference)
                case OCILayoutSource(reference=reference, store=store, session=session):
                    platform = vertex.platform or str(platforms.host())
                    await self.layouts.have(reference, platform, store=store, session=session)
        if self._imports is None:
            self._imports = asyncio.create_task(self._cache_imports())
        imports = await asyncio.shield(self._imports)
        return await self.service.solver.solve(
            definition, self.report, self.executor, imports, with_results=bool(self.places_to)
        )

    async def solved(self, result: BuildResult) -> list[tuple[str, LazyReference | None, Solution]]:
        """What the graphs of a result come to, beside each other. Raises BuildError."""
        named = list(result.references.items())
        tasks = [asyncio.ensure_future(_solution(reference)) for _, reference in named]
        try:
            solutions = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [(name, one, solution) for (name, one), solution in zip(named, solutions, strict=True)]


async def _solution(reference: LazyReference | None) -> Solution:
    if reference is None:
        return Solution(None, {})
    return await reference.solution()
