"""Directories of cache mounts, and who may use them at the same time.

    shared    everybody uses one directory
    private   whoever comes while it is used gets another
    locked    whoever comes while it is used waits

A process takes all its directories at once, in the order of their names: two processes that wait for each other's are
not possible.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from darse.build.graph.operations import CacheMount, CacheSharing, ExecOperation, MountKind


class _Directory:
    def __init__(self, name: str) -> None:
        self.name = name
        self.users = 0
        self.locked = False


class CacheMountPool:
    """Gives directories to processes."""

    def __init__(self) -> None:
        self._directories: dict[str, list[_Directory]] = {}
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def acquire(self, operation: ExecOperation) -> AsyncIterator[Mapping[int, str]]:
        """Directories for the cache mounts of a process, by the position of the mount."""
        mounts = {
            index: (mount.cache.id or mount.destination, mount.cache)
            for index, mount in enumerate(operation.mounts)
            if mount.kind is MountKind.CACHE and mount.cache is not None
        }
        taken: dict[int, _Directory] = {}
        try:
            for index, (name, cache) in sorted(mounts.items(), key=lambda item: (item[1][0], item[0])):
                mine = [directory for at, directory in taken.items() if mounts[at][0] == name]
                taken[index] = await self._take(name, cache, mine)
            yield {index: directory.name for index, directory in taken.items()}
        finally:
            await self._release(taken.values())

    async def _take(self, name: str, cache: CacheMount, mine: list[_Directory]) -> _Directory:
        async with self._changed:
            while True:
                directory = self._free(name, cache, mine)
                if directory is not None:
                    directory.users += 1
                    directory.locked |= cache.sharing is CacheSharing.LOCKED
                    return directory
                await self._changed.wait()

    def _free(self, name: str, cache: CacheMount, mine: list[_Directory]) -> _Directory | None:
        """A directory that may be used now; None to wait."""
        if mine:
            return mine[0]  # the same process, twice
        known = self._directories.setdefault(name, [_Directory(name)])
        if cache.sharing is CacheSharing.PRIVATE:
            for directory in known:
                if not directory.users:
                    return directory
            known.append(_Directory(f"{name}#{len(known)}"))
            return known[-1]
        first = known[0]
        if first.locked or (cache.sharing is CacheSharing.LOCKED and first.users):
            return None
        return first

    async def _release(self, directories: Iterable[_Directory]) -> None:
        # Not interrupted: whoever waits must see it.
        for directory in directories:
            directory.users -= 1
            directory.locked &= directory.users > 0
        async with self._changed:
            self._changed.notify_all()
