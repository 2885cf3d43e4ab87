"""The build service: from a request and what the client sends to an image.

receive the context → read the Dockerfile → convert it to a graph, with the base images → solve → export, tag
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from darse.archive.stream import is_compressed
from darse.build.base_images import BaseImages
from darse.build.cache_records import CacheRecords
from darse.build.client_agents import AgentCalls, ClientAgents
from darse.build.client_contexts import ClientContext
from darse.build.collection import CACHE_SHARE, LEAST_CACHE, collection_policies
from darse.build.context.archive_reuse import ArchiveReuse
from darse.build.context.context_trees import ContextTrees, StoredTree
from darse.build.context.local import DEFAULT_DOCKERFILE, MAIN, ReceivedContexts
from darse.build.context.reception import ContextStore
from darse.build.context.transfer_service import Transfers
from darse.build.conversions import KnownConversions
from darse.build.dockerfile.convert import Converted
from darse.build.dockerfile_source import (
    dockerfile_path,
    dockerfile_text,
    facts_of,
    read_dockerfile,
)
from darse.build.errors import BuildError
from darse.build.executor import EngineExecutor
from darse.build.executor.session import BuildSession
from darse.build.exporter import ExportOptions, PlatformResult, export_images
from darse.build.graph import Definition, GitSource, GraphBuilder, NetworkMode, VertexMetadata
from darse.build.history import BuildHistory, BuildHistoryService
from darse.build.image_layouts import ImageLayouts, LayoutsOfBuild, is_layout
from darse.build.options import convert_options, export_options, git_context
from darse.build.progress import (
    BuildPlanned,
    BuildReport,
    BuildWarned,
    BuiltImage,
    DockerfileRead,
    VertexNote,
    ignore_events,
    internal_vertex,
)
from darse.build.provenance import BuildFacts, predicate
from darse.build.remote_cache import CacheExports, CacheImports, CacheOptions, ExportedCache, results_of
from darse.build.request import BuildRequest, ContextClaim
from darse.build.solver import (
    CacheRecord,
    CacheStorage,
    OperationExecutor,
    OutcomeKind,
    PrunePolicy,
    Solution,
    Solver,
)
from darse.core import executors
from darse.core.errors import EngineError, InvalidParameter
from darse.images.gc.collector import Lease
from darse.images.service import ImageService
from darse.images.transfer.service import RegistryService
from darse.linux.fs.openat2 import read_regular

if TYPE_CHECKING:
    from darse.distribution import Credentials

Archives: TypeAlias = AsyncIterator[tuple[str, AsyncIterator[bytes]]]
"""Archives of directories that a client sends, by name."""
# As many bytes of a URL's content as tell what it is.
_SNIFFED = 512
_DOCKERFILE_LIMIT = 16 << 20
# What has become old is looked for at the end of a build, also of one that has added nothing.
_COLLECT_SECONDS = 600
_log = logging.getLogger("darse.build")


class BuildService:
    """The builds of one engine, and their cache."""

    def __init__(
        self,
        data_root: Path,
        images: ImageService,
        registries: RegistryService,
        executor: EngineExecutor,
        storage: CacheStorage,
        history: BuildHistory,
    ) -> None:
        self.contexts = ContextStore(data_root, images.trash)
        self.images = images
        self.registries = registries
        self.executor = executor
        self.history = BuildHistoryService(history, executor)
        self._storage = storage
        self.agent_calls = AgentCalls()
        self.transfers = Transfers(ContextTrees(data_root, images.trash), self.contexts)
        self.archives = ArchiveReuse(self.transfers.trees, self.contexts)
        self.layouts = ImageLayouts(images)
        self.conversions = KnownConversions()
        self.cache_exports = CacheExports(executor, registries, self.contexts.root)
        self.solver = Solver(executor.for_session(BuildSession()), storage)
        self._kept = CacheRecords(executor, storage, self.solver, self.transfers.trees)
        self._tasks: set[asyncio.Task[BuiltImage]] = set()
        self._named: dict[str, asyncio.Task[BuiltImage]] = {}
        self._data_root = data_root
        self._collecting: asyncio.Task[None] | None = None
        self._has_grown = True
        """Whether there may be more to collect than when it was last looked for."""
        self._collected = time.monotonic()

    async def close(self) -> None:
        """End the builds that run, and wait for what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._collecting is not None:
            await asyncio.wait({self._collecting})
        await self.executor.close()

    async def build(self, request: BuildRequest, archives: Archives, report: BuildReport = ignore_events) -> BuiltImage:
        """Build an image. `cancel` ends it, and so does cancelling the call.

        archives: what the client sends, each read before the next; the one called `context` is the build context, with
        the Dockerfile, unless the request names a URL. Whatever the end, nothing of the build runs afterwards, and only
        its cache stays. Raises BuildError for what the Dockerfile or one of its steps is to blame for, and EngineError.
        """
        task = asyncio.create_task(self._recorded(request, archives, report))
        self._tasks.add(task)
        if request.id:
            self._named[request.id] = task
        try:
            return await task
        except BaseException:
            await _ended(task)
            raise
        finally:
            self._tasks.discard(task)
            if self._named.get(request.id) is task:
                del self._named[request.id]
            is_due = self._has_grown or time.monotonic() - self._collected > _COLLECT_SECONDS
            if is_due and (self._collecting is None or self._collecting.done()):
                self._collecting = asyncio.create_task(self._collect())

    def cancel(self, identifier: str) -> None:
        """Cancel the build that its client has named so; does nothing where there is none."""
        if (task := self._named.get(identifier)) is not None:
            task.cancel()

    async def _recorded(self, request: BuildRequest, archives: Archives, report: BuildReport) -> BuiltImage:
        with self.history.recorded(request, report) as recorder:
            built = await self._build(request, archives, recorder)
            recorder.built(built)
            return built

    async def _build(self, request: BuildRequest, archives: Archives, report: BuildReport) -> BuiltImage:
        started, output = time.time(), export_options(request)
        async with (
            self.contexts.directory() as root,
            self.images.lease() as lease,
            self.layouts.of_build() as layouts,
            AsyncExitStack() as held,
        ):
            contexts = ReceivedContexts(self.contexts, root)
            session = self._session(request, contexts, report)
            executor = self.executor.for_session(session)
            repository = git_context(request.remote)
            if repository is not None:
                dockerfile = await self.read_repository(request, repository, executor, report)
            else:
                path, content = await self._receive(request, archives, contexts, layouts, held)
                for name, claim in request.trees.items():
                    contexts.add_tree(name, await held.enter_async_context(self._transferred(name, claim, report)))
                dockerfile = await read_dockerfile(contexts, path, content, report)
                if content is None:
                    await executors.storage.run(contexts.remove_builder_files, MAIN, path)
            options = [convert_options(request, repository, str(one)) for one in request.platforms or ("",)]
            bases = BaseImages(
                self.images, self.registries, lease, report, pull=request.pull, credentials=request.credentials
            )
            try:
                if request.call:
                    return BuiltImage("", facts=await facts_of(request.call, options[0], dockerfile.source, bases))
                converted = [await self.conversions.convert(dockerfile.source, one, bases) for one in options]
            finally:
                await bases.close()
            for warning in converted[0].warnings:
                report(BuildWarned(warning))
            report(BuildPlanned(converted[0].steps, _together(converted)))
            imports = await self._imports(request, contexts, lease, report)
            solutions = await self._solve(converted, executor, imports, report, with_results=bool(request.cache_to))
            try:
                results = [
                    self._result(request, one, solution, dockerfile, started)
                    for one, solution in zip(converted, solutions, strict=True)
                ]
                if request.sbom is not None:
                    from darse.build.sbom.service import ScanServices, with_bills  # noqa: PLC0415 - for few builds

                    solve = partial(self.solver.solve, report=report, executor=executor)
                    services = ScanServices(self.executor, session, report, bases.resolve, solve, self.solver.release)
                    results = await with_bills(services, request.sbom, results, [one.scanned for one in converted])
                cache = await results_of(self.executor, lease, solutions) if request.cache_to else None
                return await self._exported(request, output, results, cache, report)
            finally:
                await bases.close()
                for solution in solutions:
                    self.solver.release(solution)

    def _session(self, request: BuildRequest, contexts: ReceivedContexts, report: BuildReport) -> BuildSession:
        return BuildSession(
            contexts=contexts,
            secrets=request.secrets,
            agents=ClientAgents(request.agents, self.agent_calls, report),
            credentials=request.credentials,
            resources=request.limits,
            network=request.sandbox_network,
            shm_size=request.shm_size,
            security_options=request.security_options,
            may_be_insecure="security.insecure" in request.entitlements,
            # A request for all steps is the permission.
            may_use_host_network="network.host" in request.entitlements or request.network is NetworkMode.HOST,
        )

    async def _receive(
        self,
        request: BuildRequest,
        archives: Archives,
        contexts: ReceivedContexts,
        layouts: LayoutsOfBuild,
        held: AsyncExitStack,
    ) -> tuple[str, bytes | None]:
        """Receive the contexts; return the Dockerfile's path in the main one, and its content where that is known.

        held: has what must stay for as long as the build runs.
        """
        path, content = dockerfile_path(request), request.dockerfile_content
        async for name, pieces in archives:
            if is_layout(request.contexts.get(name, "")):
                await layouts.receive(pieces)
            elif name == MAIN and not request.remote and content is None:
                content = await held.enter_async_context(self.archives.received(pieces, contexts, path))
            elif name != MAIN or not request.remote:
                await contexts.receive(name, pieces)
        if request.remote:
            url = self.registries.download_url(request.remote)
            path = await self.receive_remote(url, request.remote, path, contexts)
        return path, content

    @asynccontextmanager
    async def _transferred(self, name: str, claim: ContextClaim, report: BuildReport) -> AsyncIterator[StoredTree]:
        """A context that the client sends in part, held for the block."""
        async with AsyncExitStack() as stack:
            async with internal_vertex(
                report, f"[internal] transfer context {name if name != MAIN else ''}".rstrip()
            ) as vertex:
                source = ClientContext(name, self.agent_calls, report, vertex)
                try:
                    tree = await stack.enter_async_context(self.transfers.received(claim.key, source, claim.digest))
                finally:
                    await source.close()
            yield tree

    async def read_repository(
        self, request: BuildRequest, repository: GitSource, executor: OperationExecutor, report: BuildReport
    ) -> DockerfileRead:
        """Fetch a repository; return the Dockerfile in it. Raises BuildError."""
        graph = GraphBuilder()
        name = f"[internal] load git source {request.remote}"
        definition = graph.definition(graph.add(repository, metadata=VertexMetadata(name)))
        solution = await self.solver.solve(definition, report, executor)
        try:
            assert solution.snapshot is not None
            path = dockerfile_path(request)

            def read(root: int) -> bytes | None:
                return read_regular(root, path, _DOCKERFILE_LIMIT)

            content = await self.executor.trees.read(self.executor.layers_of(solution.snapshot), read)
        finally:
            self.solver.release(solution)
        return dockerfile_text(path, content, report)

    async def receive_remote(
        self, pieces: AsyncIterator[bytes], url: str, path: str, contexts: ReceivedContexts
    ) -> str:
        """Receive a URL's content: an archive, or a Dockerfile that needs no context; return the Dockerfile's path."""
        start = b""
        async for piece in pieces:
            start += piece
            if len(start) >= _SNIFFED:
                break
        if is_archive(start):
            await contexts.receive(MAIN, _chained(start, pieces))
            return path
        async for piece in pieces:
            start += piece
            if len(start) > _DOCKERFILE_LIMIT:
                raise InvalidParameter(f"{url} is no archive, and too large for a Dockerfile")
        await executors.storage.run(contexts.add_files, MAIN, {DEFAULT_DOCKERFILE: start})
        return DEFAULT_DOCKERFILE

    async def _solve(
        self,
        converted: Sequence[Converted],
        executor: OperationExecutor,
        imports: CacheImports | None,
        report: BuildReport,
        *,
        with_results: bool,
    ) -> list[Solution]:
        """Run the graphs beside each other. The caller releases what they come to."""
        tasks = [
            asyncio.create_task(self.solver.solve(one.definition, report, executor, imports, with_results=with_results))
            for one in converted
        ]
        try:
            solutions = list(await asyncio.gather(*tasks))
        except BaseException:
            self._has_grown = True
            for task in tasks:
                task.cancel()
            for done in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(done, Solution):
                    self.solver.release(done)
            raise
        outcomes = [outcome.kind for one in solutions for outcome in one.outcomes.values()]
        self._has_grown |= any(kind in (OutcomeKind.EXECUTED, OutcomeKind.SHARED) for kind in outcomes)
        return solutions

    def _result(
        self,
        request: BuildRequest,
        converted: Converted,
        solution: Solution,
        dockerfile: DockerfileRead,
        started: float,
    ) -> PlatformResult:
        """What one platform's graph came to, and where it is from."""
        asked = request.provenance
        provenance = None
        if asked is not None:
            provenance = predicate(
                asked,
                BuildFacts(
                    request=request,
                    converted=converted,
                    platform=converted.image.platform,
                    identities=solution.identities,
                    dockerfile=dockerfile,
                    started=started,
                    finished=time.time(),
                ),
            )
        return PlatformResult(
            snapshot=solution.snapshot,
            image=converted.image,
            created=self.time_of(request, solution),
            provenance=provenance,
            provenance_type=asked.predicate_type if asked is not None else "",
        )

    async def _exported(
        self,
        request: BuildRequest,
        options: ExportOptions,
        results: list[PlatformResult],
        cache: ExportedCache | None,
        report: BuildReport,
    ) -> BuiltImage:
        """Make images of the graphs' results, and send the cache where the client says."""
        if cache is None:
            return await self._export(request, options, results, report)
        if any(place.kind == "inline" for place in request.cache_to):
            results = [msgspec.structs.replace(one, inline_cache=cache.inline) for one in results]
        built = await self._export(request, options, results, report)
        tokens = await self.export_cache(request.cache_to, request.credentials, cache, built.image_ids, report)
        return msgspec.structs.replace(built, caches=tuple(tokens))

    async def _export(
        self, request: BuildRequest, options: ExportOptions, results: Sequence[PlatformResult], report: BuildReport
    ) -> BuiltImage:
        """Make images of the graphs' results."""
        async with internal_vertex(report, "exporting to image") as vertex:
            exported = await export_images(self.executor, results, options)
            report(VertexNote(vertex, f"writing image {exported.id}"))
            for name in options.names:
                report(VertexNote(vertex, f"naming to {name}"))
        _log.info("built image %s", exported.id)
        names = tuple(name.familiar for name in request.names)
        return BuiltImage(exported.id, names, exported.target, exported.image_ids)

    async def _imports(
        self, request: BuildRequest, contexts: ReceivedContexts, lease: Lease, report: BuildReport
    ) -> CacheImports | None:
        """The caches that the client names."""
        if not request.cache_from or request.no_cache:
            return None
        imports = CacheImports(self.executor, self.registries, lease, report)
        for place in request.cache_from:
            directory = contexts.directory(place.context) if place.context else None
            await imports.add(place, request.credentials, directory)
        return imports

    async def export_cache(
        self,
        places: Sequence[CacheOptions],
        credentials: Mapping[str, Credentials],
        cache: ExportedCache,
        image_ids: Sequence[str],
        report: BuildReport,
    ) -> list[str]:
        """Send the build's results where its client says; return the tokens of those that it fetches itself."""
        stack = [layer for one in image_ids for layer in self.images.get_image(one).layers]
        least, tokens = cache.within(stack), []
        for place in places:
            chosen = cache if place.complete else least
            try:
                async with internal_vertex(report, f"exporting cache to {place}"):
                    if place.kind == "registry":
                        await self.cache_exports.to_registry(chosen, place, credentials)
                    elif place.kind == "local":
                        tokens.append(await self.cache_exports.to_client(chosen))
            except EngineError as error:
                if not place.may_fail:
                    raise BuildError(f"failed to export the cache to {place}: {error}") from error
        return tokens

    def time_of(self, request: BuildRequest, solution: Solution) -> int | None:
        """Seconds: when the result was made first, so that a build that changes nothing gives the same image again."""
        if request.source_date_epoch is not None or solution.snapshot is None:
            return request.source_date_epoch
        record = self._storage.record(solution.snapshot.id)
        return int(record.created) if record is not None else None

    # The cache

    async def _collect(self) -> None:
        """Remove what is old, and what is too much, once a build has ended."""
        self._has_grown, self._collected = False, time.monotonic()
        space = await executors.storage.run(os.statvfs, self._data_root)
        limit = max(LEAST_CACHE, space.f_blocks * space.f_frsize // CACHE_SHARE)
        for record in await self._kept.prune(*collection_policies(limit)):
            _log.info("build cache: removed %s, %d bytes: %s", record.id, record.size, record.description)

    async def prune(self, policy: PrunePolicy) -> list[CacheRecord]:
        """Remove what a policy says of the cache, but nothing that is used; return what went."""
        return await self._kept.prune(policy)

    async def cache_records(self) -> list[tuple[CacheRecord, bool]]:
        """All that is kept for later builds, and whether a build uses it now."""
        return [(record, self._kept.is_used(record.id)) for record in await self._kept.all()]


async def _ended(task: asyncio.Task[BuiltImage]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _together(converted: Sequence[Converted]) -> Definition:
    """The graphs of all platforms, for who shows them."""
    found = converted[0].definition
    for one in converted[1:]:
        vertices = {**found.vertices, **one.definition.vertices}
        found = Definition(vertices, None, {**found.metadata, **one.definition.metadata})
    return found


def is_archive(start: bytes) -> bool:
    """Whether a file that begins so is an archive, compressed or not."""
    return is_compressed(start) or start[257:262] == b"ustar"


async def _chained(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for piece in rest:
        yield piece
