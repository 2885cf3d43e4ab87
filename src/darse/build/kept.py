"""All that builds keep for later ones: results and sources of the cache's storage, and directories of cache mounts."""

from __future__ import annotations

import time

import msgspec

from darse.build.executor import EngineExecutor
from darse.build.solver import CacheRecord, CacheStorage, PrunePolicy, RecordKind, Solver
from darse.build.solver.gc import prunable


class KeptRecords:
    """Lists and removes them."""

    def __init__(self, executor: EngineExecutor, storage: CacheStorage, solver: Solver) -> None:
        self._executor = executor
        self._storage = storage
        self._solver = solver

    async def all(self) -> list[CacheRecord]:
        """Every record. The tree of an image counts as far as no image has it: the cache alone keeps it then."""
        found = []
        for record in self._storage.records():
            size = record.size or (0 if record.parents else self._executor.bytes_of_images(record.id))
            found.append(msgspec.structs.replace(record, size=size))
        for one in await self._executor.cache_directories.all():
            description = f"cached mount {one.name}" if one.name else "cached mount"
            found.append(CacheRecord(one.id, RecordKind.CACHE_MOUNT, description, one.size, one.created, one.last_used))
        return found

    def is_used(self, record: str) -> bool:
        """Whether a build uses one."""
        return self._storage.is_leased(record) or self._executor.cache_directories.is_used(record)

    async def prune(self, policy: PrunePolicy) -> list[CacheRecord]:
        """Remove what a policy says, but nothing that is used; return what went."""
        removed = []
        for record in prunable(await self.all(), policy, time.time(), self.is_used):
            if record.kind is RecordKind.CACHE_MOUNT:
                is_gone = await self._executor.cache_directories.remove(record.id)
            else:
                is_gone = await self._solver.remove(record.id)
            if is_gone:
                removed.append(record)
        return removed
