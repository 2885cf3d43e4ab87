"""Taking over the containers of an engine before this one: what was cut short, what runs, and what nobody knows."""

from __future__ import annotations

import os
from pathlib import Path

from darse.containers.dependencies import Dependencies
from darse.containers.exec.service import ExecService
from darse.containers.layout import DIRECTORY_MODE
from darse.containers.lifecycle.service import Lifecycle
from darse.containers.lifecycle.transient import TransientContainers
from darse.containers.logs.shipping.service import Shipping
from darse.containers.model import Status
from darse.core import executors
from darse.core.errors import EngineError
from darse.core.exhaustion import reason
from darse.core.state import REBUILD
from darse.linux.fs.contained import remove_tree
from darse.recovery.startup import Recovery


class ContainerRecovery:
    """Brings records and the host together when the engine starts."""

    def __init__(
        self,
        dependencies: Dependencies,
        lifecycle: Lifecycle,
        execs: ExecService,
        shipping: Shipping,
        transient: TransientContainers,
    ) -> None:
        self._dependencies = dependencies
        self._store = dependencies.store
        self._lifecycle = lifecycle
        self._execs = execs
        self._shipping = shipping
        self._transient = transient
        #: Exit codes of containers that ended and went before anybody could wait for them in this engine.
        self.unwatched_ends: dict[str, int] = {}

    async def sweep(self, recovery: Recovery) -> None:
        """Undo creations and finish removals that an engine before us did not; set aside what no record names.

        Transient containers of that engine are ended first.
        """
        for difference in self._store.repair_references():
            self._dependencies.log.info(
                "container %s: %s, and is written anew", difference.container_id[:12], difference
            )
        for container in self._store.everything():
            if container.state.status is Status.CREATING:
                self._store.delete_container(container)
                self._dependencies.volumes.discard_unrecorded(container.record.mounts, recovery.unfinished)
                self._dependencies.volumes.discard_anonymous(container.record.mounts)
        files = self._dependencies.files
        files.make_directories()
        await self._transient.sweep()
        removed = recovery.unfinished.of("containers")
        known = self.known
        recovery.strays = self._strays(known | removed)
        for directory in list(files.containers.iterdir()):
            name = directory.name
            if name in known or name in recovery.strays or self._shipping.adopt(directory):
                continue
            if name in removed or _is_empty(directory):
                self._dependencies.images.trash.discard_soon(directory)
            else:
                recovery.set_aside("containers", directory, "no record names this container")
        self._make_lost_directories(recovery)
        recovery.unattended = recovery.strays | self._with_processes(self._store.damaged)
        for container_id in recovery.strays:
            recovery.report(
                f"container {container_id}",
                "it runs, and no record names it",
                f"it is left alone; to take it back, {REBUILD}",
            )

    def _make_lost_directories(self, recovery: Recovery) -> None:
        """Report containers whose directories are lost, and make them anew: all that a start needs is written there."""
        with os.scandir(self._dependencies.files.containers) as entries:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        for container in self._store:
            directory = self._dependencies.files.of(container.id).data
            if found.get(container.id):
                continue
            if container.id in found:
                recovery.set_aside("containers", directory, "it is in the place of a container's directory")
            try:
                directory.mkdir(DIRECTORY_MODE)
                advice = "it is recreated, and its log is empty"
            except OSError as error:
                advice = f"it cannot be recreated: {reason(error)}"
            recovery.report(f"container {container.id}", f"{directory} is missing", advice)

    @property
    def known(self) -> set[str]:
        """The ids of all containers that have a row, damaged ones included."""
        return {container.id for container in self._store} | self._store.damaged

    def _strays(self, known: set[str]) -> set[str]:
        """The ids of containers that have processes, and are none of `known`."""
        dependencies = self._dependencies
        places = [dependencies.files.bundles, *(runtime.root for runtime in dependencies.runtimes.values())]
        found = {path.name for place in places if place.exists() for path in place.iterdir()}
        return self._with_processes(found - known)

    def _with_processes(self, ids: set[str]) -> set[str]:
        dependencies = self._dependencies
        parent = dependencies.config.cgroup_parent.strip("/")
        return {one for one in ids if dependencies.cgroups.processes(f"/{parent}/{one}")}

    async def recover(self, recovery: Recovery) -> None:
        """Bring every container together with what the kernel has; then clean up what belongs to none."""
        monitors = self._dependencies.monitor.running()
        for container in self._store:
            try:
                await self._lifecycle.recover(container, monitors)
            except Exception as error:
                # Whatever is damaged of one keeps only that one down. What nobody has foreseen shows its traceback.
                if not isinstance(error, (EngineError, OSError, ValueError)):
                    self._dependencies.log.exception("cannot recover container %s", container.id[:12])
                recovery.report(
                    f"container {container.id[:12]}",
                    f"it cannot be taken over: {error}",
                    "remove it, or start it again",
                )
        await self._sweep_runs(self.known | recovery.strays)
        self._execs.recover(monitors, self._store.damaged | recovery.strays)

    async def _sweep_runs(self, known: set[str]) -> None:
        """Remove directories, runtime state and cgroups of containers that no longer exist."""
        dependencies = self._dependencies
        for runtime in dependencies.runtimes.values():
            for directory in list(runtime.root.iterdir()) if runtime.root.exists() else []:
                if directory.name not in known:
                    await dependencies.cgroups.remove_cgroup(
                        f"/{dependencies.config.cgroup_parent.strip('/')}/{directory.name}"
                    )
                    runtime.delete_state(directory.name)
        for directory in list(dependencies.files.bundles.iterdir()):
            if directory.name not in known:
                await executors.storage.run(remove_tree, directory)
        for path in list(dependencies.files.exits.iterdir()):
            if path.name not in known:
                path.unlink()
        # The engine before this one may have been killed while a terminal was handed over.
        for path in dependencies.files.handovers.iterdir():
            await executors.storage.run(remove_tree, path)

    async def remove_finished(self) -> None:
        """Remove containers that ended, and asked for that, while no engine ran."""
        for container in self._store:
            if container.record.host.AutoRemove and container.state.status is Status.EXITED:
                self.unwatched_ends[container.id] = container.state.exit_code
                try:
                    await self._lifecycle.removal.remove_ended(container)
                except (EngineError, OSError) as error:
                    # The next start tries again; neither this one nor the other containers wait for that.
                    self._dependencies.log.warning("container %s is not removed yet: %s", container.id[:12], error)


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not any(directory.iterdir())
