"""All that builds keep for later ones: the cache's results and sources, directories of cache mounts, clients' contexts.

Files of contexts are counted where they are sources and where they are kept, and are one on the disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from darse.build.context.context_trees import ContextTrees
from darse.build.executor import EngineExecutor
from darse.build.solver import CacheRecord, CacheStorage, PrunePolicy, RecordKind, Solver
from darse.build.solver.gc import prunable

#: How the record of a tree of a context is described.
KEPT_CONTEXT = "files of a client's context"


class CacheRecords:
    """Lists and removes them."""

    def __init__(self, executor: EngineExecutor, storage: CacheStorage, solver: Solver, trees: ContextTrees) -> None:
        self._executor = executor
        self._storage = storage
        self._solver = solver
        self._trees = trees

    async def all(self) -> list[CacheRecord]:
        """Every record. The tree of an image counts as far as no image has it: the cache alone keeps it then."""
        found = []
        for record in self._storage.records():
            size = record.size or (0 if record.parents else self._executor.bytes_of_images(record.id))
            found.append(msgspec.structs.replace(record, size=size))
        for one in await self._executor.cache_directories.all():
            description = f"cached mount {one.name}" if one.name else "cached mount"
            found.append(CacheRecord(one.id, RecordKind.CACHE_MOUNT, description, one.size, one.created, one.last_used))
        for tree in self._trees.all():
            size, created = tree.about.size, tree.about.created
            found.append(CacheRecord(tree.id, RecordKind.LOCAL, KEPT_CONTEXT, size, created, tree.last_used, tree.uses))
        return found

    def is_used(self, record: str) -> bool:
        """Whether a build uses one."""
        return (
            self._storage.is_leased(record)
            or self._executor.cache_directories.is_used(record)
            or self._trees.is_used(record)
        )

    async def prune(self, *policies: PrunePolicy) -> list[CacheRecord]:
        """Remove what policies say, one after the other, but nothing that is used; return what went."""
        found = {record.id: record for record in await self.all()}
        removed = []
        for policy in policies:
            for record in await self._prune(found.values(), policy):
                del found[record.id]
                removed.append(record)
        return removed

    async def _prune(self, records: Iterable[CacheRecord], policy: PrunePolicy) -> list[CacheRecord]:
        removed = []
        for record in prunable(records, policy, time.time(), self.is_used):
            if record.kind is RecordKind.CACHE_MOUNT:
                is_gone = await self._executor.cache_directories.remove(record.id)
            else:
                is_gone = self._trees.remove(record.id) or await self._solver.remove(record.id)
            if is_gone:
                removed.append(record)
        return removed
