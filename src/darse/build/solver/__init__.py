"""Runs graphs: each vertex once, beside each other, and not at all where its result is known.

Vocabulary

    snapshot     an immutable tree of files that an executor has: what edges come to
    executor     fetches sources, runs processes, changes files; knows snapshots, and nothing of caches
    cache key    names a vertex by what decides about its result; vertices with one key, of any build, have one result
    link         the key of a vertex with dependencies on content, found again by how its inputs were made
    record       a snapshot that can be used again, with its size and times
    outcome      what happened to a vertex: taken from the cache, or executed, and why

A cache key is the digest of the operation (without what cannot change its result) and of each input: the content that
the operation looks at (`graph.selectors`), or the key of the input where it depends on all of it. The key of a vertex
that depends on content is known only when that content is; a link remembers it for inputs that were made in the same
way, so that a build whose results are all there asks for no content at all.

A vertex whose metadata says `ignore_cache` is executed whatever is known, and so is what depends on it, but for
dependencies on content: where that came out as before, the cache counts again.

Several builds share one solver: what two of them need at the same time is executed once, and cancelled when the last of
them goes.
"""

from darse.build.solver.cache_mounts import CacheMountPool
from darse.build.solver.cache_storage import CacheRecord, CacheStorage, MemoryCacheStorage, RecordKind
from darse.build.solver.errors import SolveError
from darse.build.solver.gc import CacheFilter, PrunePolicy, prunable
from darse.build.solver.operation_executor import OperationExecutor, Snapshot
from darse.build.solver.progress import Outcome, OutcomeKind, VertexCompleted, VertexLog, VertexStarted
from darse.build.solver.solver import Solution, Solver

__all__ = [
    "CacheFilter",
    "CacheMountPool",
    "CacheRecord",
    "CacheStorage",
    "MemoryCacheStorage",
    "OperationExecutor",
    "Outcome",
    "OutcomeKind",
    "PrunePolicy",
    "RecordKind",
    "Snapshot",
    "Solution",
    "SolveError",
    "Solver",
    "VertexCompleted",
    "VertexLog",
    "VertexStarted",
    "prunable",
]
