"""Undoing what a run of a container stands on, one method for each thing that a start makes.

They are the same after a start that has failed, after the container's end, and when an engine takes over from one that
was killed in between. Each may be called when there is nothing to undo.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from contextlib import AsyncExitStack

from darse.containers.dependencies import Dependencies
from darse.containers.model import Container
from darse.core.exhaustion import exhausted
from darse.runtime.monitor import HeldProcess, conmon
from darse.volumes.mounts import MountPlan

# How long processes that were killed, and then their monitor, may take.
_END_SECONDS = 2.0


class Teardown:
    """The undo of each step."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies

    async def end_monitor(self, container: Container, monitor: HeldProcess) -> None:
        """Kill a container's processes, and see its monitor end."""
        dependencies = self._dependencies
        await dependencies.cgroups.kill_and_wait(dependencies.cgroup_path(container), _END_SECONDS)
        await conmon.close_ended_monitor(monitor, _END_SECONDS)

    async def remove_cgroup(self, container: Container) -> None:
        """Remove the container's cgroup, with what processes are in it. Raises SystemFault when these do not end."""
        dependencies = self._dependencies
        path = dependencies.cgroup_path(container)
        try:
            if not dependencies.cgroups.remove_empty(path):
                await dependencies.cgroups.remove_cgroup(path)
        except OSError as error:
            if exhausted(error) is None:
                raise
            dependencies.pending_writes.write(container.id, functools.partial(dependencies.cgroups.remove_tree, path))

    def delete_runtime_state(self, container: Container) -> None:
        """Delete the OCI runtime's state of the container."""
        delete = functools.partial(self._dependencies.runtime_of(container).delete_state, container.id)
        self._dependencies.pending_writes.write(container.id, delete)

    def clear_bundle(self, container: Container) -> None:
        """Remove the bundle and the exit file, which is the proof of an end until that is on record."""
        self._dependencies.pending_writes.write(container.id, self._dependencies.files.of(container.id).clear_bundle)

    async def unmount_volumes(self, container: Container, plans: Iterable[MountPlan]) -> None:
        """Unmount the container's volumes that no other container uses."""
        await self._dependencies.volumes.mounting.unmount_unused(plans, container.id)

    def release_sandbox(self, container: Container) -> None:
        """Give back the network sandbox: links, addresses and ports."""
        release = functools.partial(self._dependencies.networks.sandbox_release, container.id)
        self._dependencies.pending_writes.write(container.id, release)

    async def remove_run(self, container: Container) -> None:
        """Undo all that a run has left but its sandbox, which goes with the record of the end.

        Every step is taken, whatever becomes of the others. Raises SystemFault, and OSError.
        """
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.unmount_volumes, container, container.record.mounts)
            undo.callback(self.clear_bundle, container)
            undo.callback(self.delete_runtime_state, container)
            undo.push_async_callback(self.remove_cgroup, container)
