"""Containers of the engine's own: managed plugins. They live as all others do, and no list or name shows them."""

from __future__ import annotations

import contextlib
from contextlib import AsyncExitStack

from darse.containers.dependencies import Dependencies
from darse.containers.lifecycle.create import Creation, make_places
from darse.containers.lifecycle.remove import Removal
from darse.containers.lifecycle.service import Lifecycle
from darse.containers.model import Container, Record, RunState, Status
from darse.core import executors
from darse.core.errors import NotModified
from darse.images import Image
from darse.wire.host_config import HostConfig


class HiddenContainers:
    """Makes, starts, stops and removes them."""

    def __init__(self, dependencies: Dependencies, creation: Creation, lifecycle: Lifecycle, removal: Removal) -> None:
        self._dependencies = dependencies
        self._creation = creation
        self._lifecycle = lifecycle
        self._removal = removal

    def all(self) -> list[Container]:
        """All of them."""
        return [container for container in self._dependencies.store if container.record.plugin]

    def find(self, container_id: str) -> Container | None:
        """The one of an id."""
        return self._dependencies.store.find(container_id)

    def complete(self, host: HostConfig) -> HostConfig:
        """A host config with the defaults of the engine."""
        return self._creation.with_defaults(host)

    async def create(self, record: Record, image: Image) -> Container:
        """Make a container on an image that nobody else needs to know. Call it with a lease on its layers."""
        dependencies = self._dependencies
        container = Container(record, RunState())
        files = dependencies.files.of(container.id)
        async with AsyncExitStack() as undo:
            with dependencies.database.transaction(durable=False):
                dependencies.store.add(container)
                dependencies.snapshots.prepare(container.id, image)
            undo.callback(dependencies.store.delete_container, container)
            undo.push_async_callback(dependencies.images.remove_snapshot, container.id)
            undo.push_async_callback(executors.storage.run, files.remove)
            await executors.storage.run_to_end(make_places, dependencies.snapshots, files)
            with dependencies.database.transaction():
                container.state.status = Status.CREATED
                dependencies.store.save_state(container)
            undo.pop_all()
        return container

    def change(self, container: Container, record: Record) -> None:
        """Give one that does not run another record."""
        self._dependencies.store.save_record(container, record)

    async def start(self, container: Container) -> None:
        """Start it, unless it runs. Raises as `Lifecycle.start`."""
        await self._lifecycle.start_early(container)

    async def stop(self, container: Container) -> None:
        """Stop it, unless it does not run, for good. Raises SystemFault when nothing ends it."""
        with contextlib.suppress(NotModified):
            await self._lifecycle.control.stop(container, None, None)

    async def remove(self, container: Container) -> None:
        """Remove it, whether it runs or not."""
        await self._removal.remove_container(container, force=True, volumes=False)
