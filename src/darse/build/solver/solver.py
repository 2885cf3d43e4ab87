"""The solver: keys first, results only where they are needed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from darse.build.errors import BuildError
from darse.build.graph.definition import Definition, Edge, Vertex, VertexMetadata
from darse.build.graph.operations import DiffOperation, ExecOperation, FileOperation, MergeOperation, output_count
from darse.build.graph.selectors import InputDependency, dependencies
from darse.build.graph.sources import GitSource, LocalSource
from darse.build.solver import keys
from darse.build.solver.cache_mounts import CacheMountPool
from darse.build.solver.cache_storage import CacheRecord, CacheStorage, RecordKind, ResultImports
from darse.build.solver.errors import SolveError
from darse.build.solver.executions import Executions, SharedExecution, uninterrupted
from darse.build.solver.gc import PrunePolicy, prunable
from darse.build.solver.operation_executor import OperationExecutor, Snapshot
from darse.build.solver.progress import Outcome, OutcomeKind, Report, VertexCompleted, VertexLog, VertexStarted

_T = TypeVar("_T")
# Tasks of a build that end in one turn of the event loop: others are served between them.
_ENDED_AT_ONCE = 500
_EXECUTED = (ExecOperation, FileOperation, MergeOperation, DiffOperation)


class Solution(msgspec.Struct, frozen=True):
    """What a graph came to."""

    snapshot: Snapshot | None
    """None is the empty tree. Leased until the solution is released."""
    outcomes: dict[str, Outcome]
    """By vertex; of those that were needed."""
    identities: dict[str, str] = {}
    """What sources had, by vertex."""
    results: dict[str, Snapshot] = {}
    """What is known of the graph's operations, by the edge's key."""
    links: dict[str, str] = {}
    """Keys by how their inputs were made."""


class _Key(NamedTuple):
    """The key of a vertex in one build."""

    key: str
    fresh: bool
    """Made anew whatever is known: what depends on it must not use what is known."""
    by_content: bool
    operation: str
    inputs: tuple[str, ...]
    """Digests, for the reason of a miss."""
    identity: str = ""
    """Of a source."""
    claimed: bool = False
    """Only caches elsewhere say that this is its key."""


class Solver:
    """Runs graphs with one executor and one cache."""

    def __init__(
        self,
        executor: OperationExecutor,
        storage: CacheStorage,
        *,
        parallelism: int = 4,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """parallelism: operations at a time, of all builds together."""
        self.executor = executor
        self.storage = storage
        self.clock = clock
        self.executions = Executions(parallelism)
        self.cache_mounts = CacheMountPool()

    async def solve(
        self,
        definition: Definition,
        report: Report | None = None,
        executor: OperationExecutor | None = None,
        imports: ResultImports | None = None,
        *,
        with_results: bool = False,
    ) -> Solution:
        """Run a graph. Raises SolveError; whatever the end, nothing of this build runs afterwards.

        executor: one that knows this build's session, on the same snapshots; the solver's own without it. imports:
        results from elsewhere. with_results: the solution says which results are known. The caller owns the solution's
        lease: `release` it.
        """
        build = _Build(self, definition, report or _ignored, executor or self.executor, imports)
        solution = Solution(None, build.outcomes, build.identities)
        try:
            if definition.result is not None:
                snapshot = await build.result(definition.result)
                self.storage.lease(snapshot.id)
                solution = Solution(
                    snapshot, build.outcomes, build.identities, build.known() if with_results else {}, build.links
                )
        except BaseException:
            await uninterrupted(build.close())
            raise
        try:
            await uninterrupted(build.close())
        except asyncio.CancelledError:
            self.release(solution)
            raise
        return solution

    def release(self, solution: Solution) -> None:
        """Release the lease of a solution."""
        if solution.snapshot is not None:
            self.storage.release(solution.snapshot.id)

    async def prune(self, policy: PrunePolicy) -> list[CacheRecord]:
        """Remove what a policy says, but nothing that is used."""
        removed = []
        for record in prunable(self.storage.records(), policy, self.clock(), self.storage.is_leased):
            if await self.remove(record.id):
                removed.append(record)
        return removed

    async def remove(self, record: str) -> bool:
        """Remove a record and its snapshot; False where a build uses it, or it is gone."""
        # A build may have begun to use it while another was removed.
        if not self.storage.remove(record):
            return False
        await self.executor.remove(record)
        return True


def _ignored(_: object) -> None:
    """Nobody listens."""


class _Build:
    """One graph that is being run."""

    def __init__(
        self,
        solver: Solver,
        definition: Definition,
        report: Report,
        executor: OperationExecutor,
        imports: ResultImports | None,
    ) -> None:
        self._imports = imports
        self._claimed: set[str] = set()
        """Snapshots that caches elsewhere claim to be what they are used as, and what was made on them."""
        self.links: dict[str, str] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.identities: dict[str, str] = {}
        self._solver = solver
        self._storage = solver.storage
        self._executor = executor
        self._definition = definition
        self._report = report
        self._keys: dict[str, asyncio.Task[_Key]] = {}
        self._results: dict[str, asyncio.Task[tuple[Snapshot, ...]]] = {}
        self._leases: list[str] = []
        self._made: dict[str, tuple[Snapshot, ...]] = {}
        """What this build executed, by the key."""
        self._closing = False
        self._runs = asyncio.Event()
        """Set once an operation of this build is not in the cache, and runs."""

    async def close(self) -> None:
        """End what runs for this build, and release what it used."""
        self._closing = True
        tasks = [*self._results.values(), *self._keys.values()]
        for at in range(0, len(tasks), _ENDED_AT_ONCE):
            some = tasks[at : at + _ENDED_AT_ONCE]
            for task in some:
                task.cancel()
            # Each cancels its own execution, unless other builds wait for it, and sees its end.
            await asyncio.gather(*some, return_exceptions=True)
        for record in self._leases:
            self._storage.release(record)
        self._leases.clear()

    def _lease(self, snapshot: Snapshot) -> None:
        self._storage.lease(snapshot.id)
        self._leases.append(snapshot.id)

    def _vertex(self, digest: str) -> tuple[Vertex, VertexMetadata]:
        return self._definition.vertices[digest], self._definition.metadata.get(digest, VertexMetadata())

    async def result(self, edge: Edge) -> Snapshot:
        """The tree of an edge."""
        results = await self._once(self._results, edge.vertex, self._result)
        return results[edge.index]

    async def key(self, digest: str) -> _Key:
        """The key of a vertex."""
        return await self._once(self._keys, digest, self._key)

    async def _once(self, tasks: dict[str, asyncio.Task[_T]], digest: str, run: Callable[[str], Awaitable[_T]]) -> _T:
        """Run something for a vertex once in this build, whoever asks first."""
        task = tasks.get(digest)
        if task is None:
            if self._closing:
                raise asyncio.CancelledError
            task = tasks[digest] = asyncio.create_task(self._failing_as_vertex(digest, run))
        return await asyncio.shield(task)

    async def _failing_as_vertex(self, digest: str, run: Callable[[str], Awaitable[_T]]) -> _T:
        try:
            return await run(digest)
        except SolveError:
            raise
        except BuildError as error:
            _, metadata = self._vertex(digest)
            self._report(VertexCompleted(digest, metadata.name, error=str(error)))
            raise SolveError(str(error), digest, metadata.name, metadata.lines) from error

    async def _key(self, digest: str) -> _Key:
        vertex, metadata = self._vertex(digest)
        operation = vertex.operation
        if isinstance(operation, ExecOperation):
            # Before the cache is asked: what another client was allowed to make is not this one's to have.
            self._executor.check_allowed(operation)
        if not isinstance(operation, ExecOperation | FileOperation | MergeOperation | DiffOperation):
            identity = await self._executor.resolve_source(operation, vertex.platform)
            self.identities[digest] = identity
            key = keys.source_key(operation, identity)
            return _Key(key, metadata.ignore_cache, False, key, (), identity)
        needs = dependencies(operation, len(vertex.inputs))
        early = self._begun_early(vertex.inputs, needs)
        try:
            found = await _together([self.key(edge.vertex) for edge in vertex.inputs])
        finally:
            for task in early:
                task.cancel()
        made = [keys.edge_key(one.key, edge.index) for one, edge in zip(found, vertex.inputs, strict=True)]
        shape = keys.operation_digest(vertex, len(vertex.inputs))
        by_definition = keys.vertex_key(shape, needs, [("key", one) for one in made])
        fresh = metadata.ignore_cache or any(
            one.fresh and not need.by_content for one, need in zip(found, needs, strict=True)
        )
        if not any(need.by_content for need in needs):
            return _Key(by_definition, fresh, False, shape, tuple(made))
        anew = any(one.fresh for one in found)
        link, claimed = None if anew else self._storage.link(by_definition), False
        if link is None and not anew and self._imports is not None:
            link, claimed = self._imports.link(by_definition), True
        if link is not None:
            self.links[by_definition] = link
            return _Key(link, fresh, False, shape, (), claimed=claimed)  # which content it had is not known
        inputs = await _together(
            [self._input(edge, need, one) for edge, need, one in zip(vertex.inputs, needs, made, strict=True)]
        )
        key = keys.vertex_key(shape, needs, inputs)
        self._storage.set_link(by_definition, key)
        self.links[by_definition] = key
        return _Key(key, fresh, True, shape, tuple(digest for _, digest in inputs))

    def _begun_early(self, inputs: Sequence[Edge], needs: Sequence[InputDependency]) -> list[asyncio.Task[None]]:
        """Begin with the inputs whose contents will be asked for while the keys of others wait for something to run.

        Without it stages from which one stage copies would run one after the other. As long as nothing of the build
        runs, nothing is begun: all of it may be in the cache, without the results of such stages.
        """
        if len(inputs) == 1:
            return []
        return [
            asyncio.create_task(self._begin(edge.vertex))
            for edge, need in zip(inputs, needs, strict=True)
            if need.by_content
        ]

    async def _begin(self, digest: str) -> None:
        await self._runs.wait()
        # Whoever needs it gets its error, and the build's end ends it.
        with contextlib.suppress(SolveError):
            await self._once(self._results, digest, self._result)

    async def _input(self, edge: Edge, need: InputDependency, made: str) -> tuple[str, str]:
        if not need.by_content:
            return "key", made
        return "content", await self._executor.content_digest(await self.result(edge), need.selectors)

    async def _result(self, digest: str) -> tuple[Snapshot, ...]:
        vertex, metadata = self._vertex(digest)
        key = await self.key(digest)
        if (cached := await self._cached(vertex, key)) is not None:
            self._finish(digest, metadata, key, cached)
            return cached
        reason, changed = self._why(metadata, key)
        inputs = await _together([self.result(edge) for edge in vertex.inputs])
        # Another build, or another vertex, may have made it while the inputs were made.
        if (cached := await self._cached(vertex, key)) is not None:
            self._finish(digest, metadata, key, cached)
            return cached
        needs = dependencies(vertex.operation, len(vertex.inputs)) if inputs else ()
        claimed = key.claimed or any(
            one.id in self._claimed and not need.by_content for one, need in zip(inputs, needs, strict=True)
        )
        execution, joined = self._execution(digest, vertex, metadata, key, inputs, claimed=claimed)
        try:
            snapshots = await execution.wait()
            for snapshot in snapshots:
                self._lease(snapshot)
                if claimed:
                    self._claimed.add(snapshot.id)
        finally:
            await execution.leave()
        self._made[key.key] = snapshots
        kind = OutcomeKind.SHARED if joined else OutcomeKind.EXECUTED
        self._finish(digest, metadata, key, snapshots, Outcome(kind, key.key, reason, changed))
        return snapshots

    def _finish(
        self,
        digest: str,
        metadata: VertexMetadata,
        key: _Key,
        snapshots: Sequence[Snapshot],
        outcome: Outcome | None = None,
    ) -> None:
        """Note how a vertex came to its result; without an outcome it was in the cache."""
        if key.inputs:
            self._storage.set_last_inputs(key.operation, key.inputs)
        for snapshot in snapshots:
            self._storage.use(snapshot.id, self._solver.clock())
        kind = OutcomeKind.CACHED_BY_CONTENT if key.by_content else OutcomeKind.CACHED
        found = self.outcomes[digest] = outcome or Outcome(kind, key.key)
        made = tuple(one.id for one in snapshots)
        self._report(VertexCompleted(digest, metadata.name, outcome is None, outcome=found, snapshots=made))

    async def _cached(self, vertex: Vertex, key: _Key) -> tuple[Snapshot, ...] | None:
        """All outputs of a vertex from the cache, leased; None where one is missing."""
        if key.fresh:
            return self._made.get(key.key)  # of another vertex of this build
        found = []
        for output in range(output_count(vertex.operation)):
            edge = keys.edge_key(key.key, output)
            snapshot = None if key.claimed else await self._kept(edge)
            if snapshot is None and self._imports is not None:
                snapshot = await self._imported(key.key, output, vertex, self._imports)
            if snapshot is None:
                return None
            found.append(snapshot)
        return tuple(found)

    async def _kept(self, key: str) -> Snapshot | None:
        """A result that is recorded, and here; leased."""
        record = self._storage.result(key)
        if record is None:
            return None
        snapshot = Snapshot(record.id, record.size)
        self._lease(snapshot)  # before anything is awaited: it may be pruned then
        return snapshot if await self._executor.exists(snapshot.id) else None

    async def _imported(self, key: str, output: int, vertex: Vertex, imports: ResultImports) -> Snapshot | None:
        """A result that caches elsewhere claim, now or in an earlier build; leased."""
        own = keys.edge_key(keys.imported_key(imports.space, key), output)
        snapshot = await self._kept(own)
        if snapshot is None and isinstance(vertex.operation, _EXECUTED):
            snapshot = await imports.result(keys.edge_key(key, output))
            if snapshot is not None:
                self._lease(snapshot)
                now = self._solver.clock()
                description = "pulled from a cache elsewhere"
                self._storage.add(
                    own, CacheRecord(snapshot.id, RecordKind.REGULAR, description, snapshot.size, now, now)
                )
        if snapshot is not None:
            self._claimed.add(snapshot.id)
        return snapshot

    def known(self) -> dict[str, Snapshot]:
        """The results of operations that this build has used, or that are kept for it, by the edge's key."""
        found: dict[str, Snapshot] = {}
        for digest, task in self._keys.items():
            operation = self._definition.vertices[digest].operation
            if not task.done() or task.cancelled() or task.exception() or not isinstance(operation, _EXECUTED):
                continue
            for output in range(output_count(operation)):
                key = task.result().key
                edge = keys.edge_key(key, output)
                record = self._storage.result(edge)
                if record is None and self._imports is not None:
                    own = keys.imported_key(self._imports.space, key)
                    record = self._storage.result(keys.edge_key(own, output))
                if record is not None:
                    found[edge] = Snapshot(record.id, record.size)
        return found

    def _why(self, metadata: VertexMetadata, key: _Key) -> tuple[str, tuple[int, ...]]:
        """Why a vertex is not in the cache."""
        if metadata.ignore_cache:
            return "the cache is not used for it", ()
        if key.fresh:
            return "an input was made anew", ()
        last = self._storage.last_inputs(key.operation)
        if last is None and key.inputs:
            return "the operation is new", ()
        pairs = enumerate(zip(key.inputs, last or (), strict=False))
        changed = tuple(index for index, (one, other) in pairs if one != other)
        return ("an input changed", changed) if changed else ("its result is not there", ())

    def _execution(
        self,
        digest: str,
        vertex: Vertex,
        metadata: VertexMetadata,
        key: _Key,
        inputs: Sequence[Snapshot],
        *,
        claimed: bool,
    ) -> tuple[SharedExecution, bool]:
        """Begin to execute a vertex, or join whoever does already."""
        if claimed and self._imports is not None:
            key = key._replace(key=keys.imported_key(self._imports.space, key.key))
        # What must be made anew is not shared with who began before that was asked for.
        name = f"{key.key} {id(self)}" if key.fresh else key.key

        async def run() -> tuple[Snapshot, ...]:
            for snapshot in inputs:
                self._storage.lease(snapshot.id)
            try:
                snapshots = await self._execute(digest, vertex, metadata, key, inputs)
                self._record(vertex, metadata, key, inputs, snapshots)
                return snapshots
            finally:
                for snapshot in inputs:
                    self._storage.release(snapshot.id)

        return self._solver.executions.join(name, run, self._storage)

    async def _execute(
        self, digest: str, vertex: Vertex, metadata: VertexMetadata, key: _Key, inputs: Sequence[Snapshot]
    ) -> tuple[Snapshot, ...]:
        self._report(VertexStarted(digest, metadata.name))
        if isinstance(vertex.operation, _EXECUTED):
            self._runs.set()
        operation, executor = vertex.operation, self._executor
        match operation:
            case ExecOperation():
                async with self._solver.cache_mounts.acquire(operation) as directories:

                    def log(stream: int, data: bytes) -> None:
                        self._report(VertexLog(digest, stream, data))

                    return tuple(await executor.run(operation, vertex.platform, inputs, directories, log))
            case FileOperation():
                return tuple(await executor.change_files(operation, vertex.platform, inputs))
            case MergeOperation():
                return (await executor.merge(operation, inputs),)
            case DiffOperation():
                return (await executor.diff(operation, inputs),)
        return (await executor.fetch(operation, vertex.platform, key.identity),)

    def _record(
        self,
        vertex: Vertex,
        metadata: VertexMetadata,
        key: _Key,
        inputs: Sequence[Snapshot],
        snapshots: Sequence[Snapshot],
    ) -> None:
        now = self._solver.clock()
        kind = RecordKind.REGULAR
        if isinstance(vertex.operation, LocalSource):
            kind = RecordKind.LOCAL
        elif isinstance(vertex.operation, GitSource):
            kind = RecordKind.GIT
        parents = tuple(dict.fromkeys(one.id for one in inputs if self._storage.record(one.id) is not None))
        for output, snapshot in enumerate(snapshots):
            record = CacheRecord(snapshot.id, kind, metadata.name, snapshot.size, now, now, 0, parents)
            self._storage.add(keys.edge_key(key.key, output), record)


async def _together(work: Sequence[Awaitable[_T]]) -> list[_T]:
    """All results, in order; after the first error nothing of it runs."""
    if len(work) == 1:
        return [await work[0]]
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
