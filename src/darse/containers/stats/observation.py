"""Looking at containers that run, and changing their limits: the API's top, stats, changes and update, by reference."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

from darse.containers.dependencies import Dependencies
from darse.containers.lifecycle.update import ContainerUpdates
from darse.containers.stats.service import Stats, StatsSample
from darse.containers.stats.top import Top
from darse.containers.stats.usage import usage
from darse.wire.observation import (
    FilesystemChange,
    TopResponse,
    UpdateRequest,
    UpdateResponse,
    UsageSample,
)


class Observation:
    """The part of `ContainerService` for those who watch. Each method raises NotFound for an unknown reference."""

    def __init__(self, dependencies: Dependencies, updates: ContainerUpdates) -> None:
        self._dependencies = dependencies
        self._store = dependencies.store
        self._snapshots = dependencies.snapshots
        self._top = Top(dependencies)
        self._stats = Stats(dependencies)
        self._updates = updates
        dependencies.listeners.add(self._stats)

    async def top(self, reference: str, arguments: str) -> TopResponse:
        """The processes of a container; see `Top.top`."""
        return await self._top.top(self._store.get(reference), arguments)

    async def stats(self, reference: str, *, one_shot: bool) -> StatsSample:
        """What a container uses; see `Stats.once`."""
        return await self._stats.once(self._store.get(reference), one_shot=one_shot)

    def stats_stream(self, reference: str) -> AsyncGenerator[StatsSample]:
        """What a container uses, every second; see `Stats.stream`."""
        return self._stats.stream(self._store.get(reference))

    async def usage(self) -> UsageSample:
        """What the host and all running containers use; see `darse.containers.stats.usage`."""
        return await usage(self._dependencies)

    async def update(self, reference: str, request: UpdateRequest) -> UpdateResponse:
        """Change limits and restart policy; see `ContainerUpdates.update`."""
        return await self._updates.update(self._store.get(reference), request)

    async def changes(self, reference: str) -> AsyncGenerator[list[FilesystemChange]]:
        """Yield what a container has changed in its files, some at a time."""
        container = self._store.get(reference)
        async for some in self._snapshots.changes(container.id):
            # Names are bytes, and the API's are text.
            yield [FilesystemChange(os.fsencode(path).decode(errors="replace"), kind) for path, kind in some]

    async def close(self) -> None:
        """End what is being watched."""
        await self._stats.close()
