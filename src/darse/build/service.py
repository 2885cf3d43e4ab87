"""The build service: from a request and what the client sends to an image.

receive the context → read the Dockerfile → convert it to a graph, with the base images → solve → export, tag
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

from darse.archive.stream import is_compressed
from darse.build.base_images import BaseImages
from darse.build.context.local import MAIN, ReceivedContexts
from darse.build.context.reception import ContextStore
from darse.build.dockerfile.convert import Converted, ConvertOptions, convert
from darse.build.errors import BuildError
from darse.build.executor import EngineExecutor
from darse.build.executor.session import BuildSession
from darse.build.exporter import export_image
from darse.build.ignore import clean
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
from darse.build.request import BuildRequest
from darse.build.solver import CacheRecord, CacheStorage, PrunePolicy, Solution, Solver
from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.image_spec import platforms
from darse.images.service import ImageService
from darse.images.transfer.service import RegistryService

Archives: TypeAlias = AsyncIterator[tuple[str, AsyncIterator[bytes]]]
"""Archives of directories that a client sends, by name."""
DEFAULT_DOCKERFILE = "Dockerfile"
# As many bytes of a URL's content as tell what it is.
_SNIFFED = 512
_DOCKERFILE_LIMIT = 16 << 20
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
    ) -> None:
        self.contexts = ContextStore(data_root, images.trash)
        self._images = images
        self._registries = registries
        self.executor = executor
        self._storage = storage
        self._solver = Solver(executor.for_session(BuildSession()), storage)
        self._tasks: set[asyncio.Task[BuiltImage]] = set()
        self._named: dict[str, asyncio.Task[BuiltImage]] = {}

    async def close(self) -> None:
        """End the builds that run, and wait for what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.executor.close()

    async def build(self, request: BuildRequest, archives: Archives, report: BuildReport = ignore_events) -> BuiltImage:
        """Build an image. `cancel` ends it, and so does cancelling the call.

        archives: what the client sends, each read before the next; the one called `context` is the build context, with
        the Dockerfile, unless the request names a URL. Whatever the end, nothing of the build runs afterwards, and only
        its cache stays. Raises BuildError for what the Dockerfile or one of its steps is to blame for, and EngineError.
        """
        task = asyncio.create_task(self._build(request, archives, report))
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

    def cancel(self, identifier: str) -> None:
        """Cancel the build that its client has named so; does nothing where there is none."""
        if (task := self._named.get(identifier)) is not None:
            task.cancel()

    async def _build(self, request: BuildRequest, archives: Archives, report: BuildReport) -> BuiltImage:
        async with self.contexts.directory() as root, self._images.lease() as lease:
            contexts = ReceivedContexts(self.contexts, root)
            dockerfile = await self._receive(request, archives, contexts)
            source = await _read_dockerfile(contexts, dockerfile, report)
            await executors.storage.run(contexts.remove_builder_files, MAIN, dockerfile)
            bases = BaseImages(
                self._images, self._registries, lease, report, pull=request.pull, credentials=request.credentials
            )
            try:
                converted = await convert(source, convert_options(request), bases)
            finally:
                await bases.close()
            for warning in converted.warnings:
                report(BuildWarned(warning))
            report(BuildPlanned(converted.steps, converted.definition))
            return await self._solve(request, converted, contexts, report)

    async def _receive(self, request: BuildRequest, archives: Archives, contexts: ReceivedContexts) -> str:
        """Receive the contexts; return the Dockerfile's path in the main one."""
        path = clean(request.dockerfile.lstrip("/")) if request.dockerfile else DEFAULT_DOCKERFILE
        async for name, pieces in archives:
            if name != MAIN or not request.remote:
                await contexts.receive(name, pieces)
        if request.remote:
            return await self._fetch_remote(request.remote, path, contexts)
        return path

    async def _fetch_remote(self, url: str, path: str, contexts: ReceivedContexts) -> str:
        """Receive a URL's content: an archive, or a Dockerfile that needs no context."""
        pieces = self._registries.download_url(url)
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
        self, request: BuildRequest, converted: Converted, contexts: ReceivedContexts, report: BuildReport
    ) -> BuiltImage:
        """Run the graph, and make an image of its result."""
        session = BuildSession(
            contexts=contexts,
            secrets=request.secrets,
            credentials=request.credentials,
            resources=request.limits,
            network=request.sandbox_network,
            shm_size=request.shm_size,
        )
        executor = self.executor.for_session(session)
        solution = await self._solver.solve(converted.definition, report, executor)
        try:
            return await self._export(request, converted, solution, report)
        finally:
            self._solver.release(solution)

    async def _export(
        self, request: BuildRequest, converted: Converted, solution: Solution, report: BuildReport
    ) -> BuiltImage:
        names = [str(name) for name in request.names]
        async with internal_vertex(report, "exporting to image") as vertex:
            image_id = await export_image(
                self.executor, solution.snapshot, converted.image, names=names, epoch=self._time_of(request, solution)
            )
            report(VertexNote(vertex, f"writing image {image_id}"))
            for name in names:
                report(VertexNote(vertex, f"naming to {name}"))
        _log.info("built image %s", image_id)
        return BuiltImage(image_id, tuple(name.familiar for name in request.names))

    def _time_of(self, request: BuildRequest, solution: Solution) -> int | None:
        """Seconds: when the result was made first, so that a build that changes nothing gives the same image again."""
        if request.source_date_epoch is not None or solution.snapshot is None:
            return request.source_date_epoch
        record = self._storage.record(solution.snapshot.id)
        return int(record.created) if record is not None else None

    # The cache

    async def prune(self, policy: PrunePolicy) -> list[CacheRecord]:
        """Remove what a policy says of the cache, but nothing that is used; return what went."""
        return await self._solver.prune(policy)

    def cache_records(self) -> list[tuple[CacheRecord, bool]]:
        """All that is kept for later builds, and whether a build uses it now."""
        return [(record, self._storage.is_leased(record.id)) for record in self._storage.records()]


async def _ended(task: asyncio.Task[BuiltImage]) -> None:
    task.cancel()
    await asyncio.wait({task})


def convert_options(request: BuildRequest) -> ConvertOptions:
    """The part of a request that makes the graph."""
    return ConvertOptions(
        build_arguments=request.arguments,
        target=request.target,
        platform=str(request.platform) if request.platform is not None else "",
        build_platform=str(platforms.host()),
        labels=request.labels,
        contexts=request.contexts,
        no_cache=request.no_cache,
        no_cache_stages=request.no_cache_stages,
        network=request.network,
        extra_hosts=request.extra_hosts,
        shm_size=request.shm_size,
        ulimits=request.ulimits,
        cgroup_parent=request.cgroup_parent,
        source_date_epoch=request.source_date_epoch,
        check=request.check,
    )


async def _read_dockerfile(contexts: ReceivedContexts, path: str, report: BuildReport) -> str:
    """The text of the Dockerfile. Raises BuildError in docker's words."""
    async with internal_vertex(report, f"[internal] load build definition from {path}"):
        content = await executors.storage.run(contexts.read, MAIN, path)
        if content is None and path == DEFAULT_DOCKERFILE:
            content = await executors.storage.run(contexts.read, MAIN, path.lower())
        if content is None:
            raise BuildError(f"Cannot locate specified Dockerfile: {path}")
        if not content:
            raise BuildError(f"the Dockerfile ({path}) cannot be empty")
        source = content.decode("utf-8", "surrogateescape")
        report(DockerfileRead(path, source))
        return source


def is_archive(start: bytes) -> bool:
    """Whether a file that begins so is an archive, compressed or not."""
    return is_compressed(start) or start[257:262] == b"ustar"


async def _chained(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for piece in rest:
        yield piece
