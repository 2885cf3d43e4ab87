"""Removing containers: one, one that asked for it, or all that do not run."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from darse.containers.dependencies import Dependencies
from darse.containers.exec.service import ExecService
from darse.containers.model import Container, Purpose, Status
from darse.core import executors
from darse.core.errors import Conflict, EngineError
from darse.core.filters import Filters
from darse.wire.containers import ContainersPruned

if TYPE_CHECKING:
    from darse.containers.lifecycle.service import Lifecycle


class Removal:
    """Removes containers with everything that is theirs."""

    def __init__(self, dependencies: Dependencies, lifecycle: Lifecycle, execs: ExecService) -> None:
        self._dependencies = dependencies
        self._lifecycle = lifecycle
        self._execs = execs

    async def remove_container(self, container: Container, *, force: bool, volumes: bool) -> None:
        """Remove a container, killing it first with `force`; with `volumes` its anonymous ones too.

        With `force`: wait for a start that is under way → kill → the container's watcher runs `Lifecycle._exited`,
        under the container's lock: end recorded, `die` published, `kill` returns, the run torn down → `remove_stopped`,
        which waits for that lock. Raises Conflict when it runs and `force` is not given; with `force` SystemFault when
        not even SIGKILL ends it.
        """
        if not force:
            await self.remove_stopped(container, volumes=volumes)
            return
        dependencies = self._dependencies
        # None begins to start any more, and one that has begun is not kept from it by a copy that takes long.
        with container.under_way(Purpose.REMOVAL):
            if dependencies.locks.held(container.id):
                await dependencies.rootfs_leases.end_leases(container.id)
            async with dependencies.locks.hold(container.id):
                pass
            if container.state.active:
                await self._lifecycle.control.kill(container, "SIGKILL")
            await self.remove_stopped(container, volumes=volumes)

    async def remove_stopped(self, container: Container, *, volumes: bool) -> None:
        """Remove a container that does not run.

        The rows go first, all in one transaction: what a crash leaves of the files is swept at the next start.
        Raises Conflict when it runs.
        """
        dependencies = self._dependencies
        _refuse_active(container)  # its lock may be held for long
        async with dependencies.locks.hold(container.id):
            if container.state.status is Status.REMOVING:
                return
            _refuse_active(container)
            with dependencies.traces.record("rm", container.id):
                status, container.state.status = container.state.status, Status.REMOVING
                with dependencies.database.transaction():
                    dependencies.database.on_rollback(functools.partial(setattr, container.state, "status", status))
                    dependencies.store.delete_container(container)
                    mounts = container.record.mounts if volumes else []
                    discarded = dependencies.volumes.discard_anonymous(mounts)
                    dependencies.publish(container, "destroy")
                dependencies.pending_writes.drop_writes(container.id)
                # Before anybody hears of the removal: from now on only this knows the name.
                dependencies.traces.container_removed(container.id, container.name)
                container.resolve_removal_waits()
                dependencies.listeners.removed(container)
                self._lifecycle.container_removed(container)
                self._execs.delete_execs_of(container.id)
                await dependencies.rootfs_leases.end_leases(container.id)
                await dependencies.database.flush()
                await dependencies.images.remove_snapshot(container.id)
                await executors.storage.run(dependencies.files.of(container.id).remove)
                await dependencies.volumes.delete_volume_data(discarded)

    async def remove_ended(self, container: Container) -> None:
        """Remove a container that asked for its removal, with its anonymous volumes; not if it runs again."""
        with contextlib.suppress(Conflict):  # somebody has started it
            await self.remove_stopped(container, volumes=True)

    async def prune(self, filters: Filters) -> ContainersPruned:
        """Remove every container that does not run and matches."""
        deleted, reclaimed = [], 0
        until = filters.until_ns()
        for container in self._dependencies.store.visible():
            labels = container.record.config.Labels
            if container.state.active or not (filters.labels(labels) and filters.without_labels(labels)):
                continue
            if until is not None and container.record.created_ns >= until:
                continue
            try:
                size, _ = await self._dependencies.snapshots.usage(container.id)
            except (OSError, EngineError) as error:
                self._dependencies.log.warning("container %s: its size is not known: %s", container.id[:12], error)
                size = 0
            try:
                await self.remove_stopped(container, volumes=False)
            except Conflict:
                continue  # started since we looked
            deleted.append(container.id)
            reclaimed += size
        self._dependencies.events.publish("container", "prune", "", {"reclaimed": reclaimed})
        return ContainersPruned(deleted or None, reclaimed)


def _refuse_active(container: Container) -> None:
    if container.state.active:
        state = container.state.status.value
        advice = "unpause and then stop the container" if state == "paused" else "stop the container"
        raise Conflict(
            f'cannot remove container "/{container.name}": container is {state}: '
            f"{advice} before removing or force remove"
        )
