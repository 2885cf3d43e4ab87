"""From created to running to exited: who may start when, and what happens when a container's process ends.

The steps of a start are in `start`, their undo in `teardown`. The end of a process is in conmon's exit file, so it is
never missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path

from darse.containers.dependencies import Dependencies
from darse.containers.exec.service import ExecService
from darse.containers.health.policy import first_health
from darse.containers.lifecycle.control import Control
from darse.containers.lifecycle.remove import Removal
from darse.containers.lifecycle.restart import RestartManager, restarts_with_engine
from darse.containers.lifecycle.start import ContainerStart
from darse.containers.lifecycle.teardown import Teardown
from darse.containers.lifecycle.update import ContainerUpdates
from darse.containers.model import Container, Purpose, Status
from darse.containers.networking.etc_files import EtcFiles
from darse.containers.networking.links import Links
from darse.containers.streams.hubs import ConsoleHubs
from darse.core import executors
from darse.core.errors import Conflict, EngineError, Exhausted, NotModified, SystemFault
from darse.core.exhaustion import in_words
from darse.linux.fs.files import read_regular
from darse.runtime.monitor import HeldProcess, conmon
from darse.runtime.monitor.conmon import Exit
from darse.runtime.oci.errors import LaunchFailure

# Between two attempts to remove a container that asked for it, while the host has run out of what that needs.
_REMOVAL_SECONDS = 2.0


# How long processes that were killed may take before a warning is logged; how long a monitor may, whose are gone.
_END_SECONDS = 2.0


class Lifecycle:
    """The running side of containers."""

    def __init__(self, dependencies: Dependencies, links: Links, execs: ExecService) -> None:
        self._dependencies = dependencies
        self.hubs = ConsoleHubs(dependencies)
        self._teardown = Teardown(dependencies)
        self.etc_files = etc_files = EtcFiles(dependencies, links)
        dependencies.listeners.add(etc_files)
        self._steps = ContainerStart(dependencies, links, etc_files, self._teardown, self.hubs)
        self._watchers: dict[str, asyncio.Task[None]] = {}
        # Watchers whose container has ended, and that are recording and removing it.
        self._endings: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._restarts = RestartManager(self._start_again)
        self.control = Control(dependencies, self._restarts)
        self.updates = ContainerUpdates(dependencies)
        self.removal = Removal(dependencies, self, execs)

    def container_removed(self, container: Container) -> None:
        """The container is removed: nobody will hear of it any more."""
        self._restarts.cancel(container)
        self.hubs.close(container)

    async def start(self, container: Container, restore: Path | None = None) -> None:
        """Start a created or ended container, or let it go on from the checkpoint in the directory `restore`.

        Raises NotModified when it runs, Conflict when it is paused or being removed, LaunchFailure when its command
        cannot be run, and SystemFault.
        """
        dependencies = self._dependencies
        async with dependencies.locks.hold(container.id):
            if container.state.status is Status.PAUSED:
                raise Conflict("cannot start a paused container, try unpause instead")
            if container.state.status is Status.REMOVING or container.undergoes(Purpose.REMOVAL):
                raise Conflict("container is marked for removal and cannot be started")
            if container.state.active:
                raise NotModified("container is already running")
            container.state.restart_count = 0
            container.restart_delay = 0.0
            with dependencies.traces.record("start", container.id):
                try:
                    with in_words():
                        await self._start(container, restore)
                except Exception as error:
                    self._start_failed(container, error)
                    raise
        await dependencies.traces.save(container.id, dependencies.files.of(container.id).data)

    async def _start(self, container: Container, restore: Path | None = None) -> None:
        monitor = await self._steps.run(container, restore, functools.partial(self._save_start, container))
        self._watch(container, monitor)
        self._dependencies.listeners.started(container)

    async def start_early(self, container: Container) -> None:
        """Start a container that others stand on, before restart policies have their turn. Raises as `start`."""
        if container.state.status is Status.RESTARTING:
            self._restarts.cancel(container)
            await self._start_again(container)
        elif not container.state.active:
            await self.start(container)

    async def _start_again(self, container: Container) -> None:
        """Start a container whose turn has come by its restart policy."""
        dependencies = self._dependencies
        async with dependencies.locks.hold(container.id):
            if container.state.status is not Status.RESTARTING or container.undergoes(Purpose.REMOVAL):
                return
            with dependencies.traces.record("start", container.id):
                try:
                    with in_words():
                        await self._start(container)
                except Exception as error:
                    if not isinstance(error, EngineError):
                        dependencies.log.exception("container %s was not started again", container.id[:12])
                    self._start_failed(container, error)

    def _start_failed(self, container: Container, error: Exception) -> None:
        state = container.state
        state.exit_code = error.exit_code if isinstance(error, LaunchFailure) else 128
        state.error = str(error)
        if state.status is Status.RESTARTING:
            state.finished_ns = time.time_ns()
            self._apply_restart_policy(container, lasted=0.0)
        write = functools.partial(self._save, container, "die", exitCode=state.exit_code)
        self._dependencies.pending_writes.write(container.id, write)

    def _save_start(self, container: Container) -> None:
        """Write that a container runs; also for a start that a crash cut short."""
        self._save(container, "start")

    def _save(self, container: Container, action: str, **attributes: object) -> None:
        """Write a container's state, and that this has happened to it."""
        with self._dependencies.database.transaction():
            self._dependencies.store.save_state(container)
            self._dependencies.publish(container, action, **attributes)

    def _apply_restart_policy(self, container: Container, *, lasted: float) -> None:
        """After an end: wait for the next start if the restart policy says so. The caller saves the state."""
        state = container.state
        state.status = Status.EXITED
        if self._restarts.is_due(container, state.exit_code):
            state.status = Status.RESTARTING
            state.restart_count += 1
            self._restarts.schedule(container, lasted)

    def _watch(self, container: Container, monitor: HeldProcess) -> None:
        self._follow(container, self._until_exit(container, monitor))

    def _follow(self, container: Container, until_ended: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(until_ended, name=f"watch {container.id[:12]}")
        self._watchers[container.id] = task
        task.add_done_callback(functools.partial(self._watcher_done, container.id))

    def _watcher_done(self, container_id: str, task: asyncio.Task[None]) -> None:
        if self._watchers.get(container_id) is task:
            del self._watchers[container_id]
        self._endings.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._dependencies.log.error("watching container %s failed", container_id[:12], exc_info=error)

    async def _until_exit(self, container: Container, monitor: HeldProcess) -> None:
        exit_ = await conmon.ended(monitor, self._dependencies.files.of(container.id).bundle)
        await self._ended(container, exit_)

    async def _ended(self, container: Container, exit_: Exit | None) -> None:
        """What follows the end of a container's monitor: its processes end, the end is recorded, it may be removed.

        A monitor without an `exit_` did not live to see the container's end. Nothing says that the container has ended,
        and nothing starts it again, as long as it has processes.
        """
        killed = False
        if exit_ is None or container.record.host.PidMode:
            # (In a pid namespace of its own nothing outlives the container's first process.)
            killed = await self._end_processes(container)
        if exit_ is None:
            killed = killed or container.undergoes(Purpose.ENDING)
            exit_ = conmon.unrecorded_exit(self._dependencies.files.of(container.id).bundle, killed=killed)
        self._endings.add(self._watchers.pop(container.id))
        async with self._dependencies.locks.hold(container.id):
            await self._exited(container, exit_)
        # (This and a restart policy exclude each other.)
        if container.record.host.AutoRemove and not container.undergoes(Purpose.RESTART):
            await self._remove_ended(container)

    async def _remove_ended(self, container: Container) -> None:
        """Remove a container that asked for it; when the host has run out of something, try again until it is gone."""
        while not self._closing.is_set():
            try:
                await self.removal.remove_ended(container)
            except Exhausted as error:
                self._dependencies.log.warning("container %s is not removed yet: %s", container.id[:12], error)
                container.resolve_removal_waits()  # its client has the exit status, and needs no more
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), _REMOVAL_SECONDS)
            else:
                return

    async def _end_processes(self, container: Container) -> bool:
        """End what is left of a container, however long that takes; whether there was anything."""
        dependencies = self._dependencies
        path = dependencies.cgroup_path(container)
        if not await executors.kernel.run(dependencies.cgroups.processes, path):
            return False
        while left := await dependencies.cgroups.kill_and_wait(path, _END_SECONDS):
            dependencies.log.warning("processes of container %s do not end: %s", container.id[:12], left)
        return True

    async def _exited(self, container: Container, exit_: Exit) -> None:
        """Record the end of a container, then answer those who wait for it, then clean up."""
        dependencies = self._dependencies
        container.monitor = None
        with dependencies.traces.record("exit", container.id):
            state = container.state
            state.exit_code = exit_.code
            # A file's time is the kernel's coarse clock, up to a tick (4 ms) behind the clock of start times.
            state.finished_ns = max(exit_.finished_ns, state.started_ns + 1)
            state.oom_killed |= exit_.oom_killed
            state.pid = state.monitor_pid = 0
            if state.health is not None:
                state.health.Status = "unhealthy"  # as docker has it
            lasted = container.lasted()
            self._apply_restart_policy(container, lasted=lasted)
            # Asked now: the write may have to wait for the disk.
            oom = exit_.oom_killed and not container.oom_kills
            write = functools.partial(self._save_end, container, exit_, lasted, oom=oom)
            try:
                dependencies.pending_writes.write(container.id, write)
            finally:
                # Whatever that fails by: nobody waits for a process that is gone.
                self._notify_ended(container)
            try:
                await self._teardown.remove_run(container)
                await dependencies.networks.sandbox_is_released()
            except (EngineError, OSError):
                # The next start removes it, or the next engine's.
                dependencies.log.exception("what container %s has left is not all removed", container.id[:12])

    def _notify_ended(self, container: Container) -> None:
        dependencies = self._dependencies
        container.resolve_exit_waits()
        dependencies.notify_ended(container.id)
        dependencies.listeners.ended(container)
        self.hubs.close(container)

    def _save_end(self, container: Container, exit_: Exit, lasted: float, *, oom: bool) -> None:
        """Write that a container has ended; `oom`: that the kernel has killed it, too, which no event says yet."""
        dependencies = self._dependencies
        with dependencies.database.transaction():
            # In one transaction with the exit: one flush of the disk instead of two.
            dependencies.networks.sandbox_release(container.id)
            dependencies.store.save_state(container)
            if oom:
                dependencies.publish(container, "oom")
            dependencies.publish(container, "die", exitCode=exit_.code, execDuration=int(lasted))

    async def recover(self, container: Container, monitors: Mapping[Path, int]) -> None:
        """Bring one container's state together with what the kernel has, after an engine ended in whatever way.

        `monitors` are the conmons that run, by their bundles' directories.
        """
        dependencies = self._dependencies
        bundle = dependencies.files.of(container.id).bundle
        monitor = dependencies.hold_monitor(monitors.get(bundle.directory))
        if monitor is not None and dependencies.runtime_of(container).is_created(container.id):
            # A start that was cut short: no client has seen it run.
            await self._teardown.end_monitor(container, monitor)
            if container.state.alive:
                raise SystemFault(f"container {container.id} runs and waits for its start")
            await self._teardown.remove_run(container)
            self._resume_restart(container)
            return
        if monitor is not None:
            await self._adopt(container, monitor)
            return
        if not container.state.alive and not bundle.directory.exists():
            self._resume_restart(container)
            return
        exit_ = conmon.read_exit(bundle)
        if container.state.alive or exit_ is not None:
            await self._recover_ended(container, exit_)
        else:
            await self._teardown.remove_run(container)
            self._resume_restart(container)

    async def _recover_ended(self, container: Container, exit_: Exit | None) -> None:
        """A container that ended, or lost its monitor, while no engine ran. Processes that do not end are waited for
        behind the engine's start.
        """
        dependencies = self._dependencies
        path = dependencies.cgroup_path(container)
        found = dependencies.cgroups.processes(path)
        if found and await dependencies.cgroups.kill_and_wait(path, _END_SECONDS):
            self._follow(container, self._ended(container, exit_))
            return
        bundle = dependencies.files.of(container.id).bundle
        await self._exited(container, exit_ or conmon.unrecorded_exit(bundle, killed=bool(found)))

    def _resume_restart(self, container: Container) -> None:
        """Go on with what an engine before this one has scheduled, or start what starts with the engine."""
        if restarts_with_engine(container):
            container.state.status = Status.RESTARTING
            write = functools.partial(self._dependencies.store.save_state, container)
            self._dependencies.pending_writes.write(container.id, write)
        if container.state.status is Status.RESTARTING:
            self._restarts.start_soon(container)

    def open(self) -> None:
        """Networks and volumes are there: start what restart policies want started."""
        self._restarts.open()

    async def _adopt(self, container: Container, monitor: HeldProcess) -> None:
        dependencies = self._dependencies
        bundle = dependencies.files.of(container.id).bundle
        container.monitor = monitor
        if not container.state.alive:
            # Started, and the engine ended before it could write so.
            container.state = container.state.started(
                int(read_regular(bundle.container_pid)),
                monitor.pid,
                bundle.container_pid.stat().st_mtime_ns,
                first_health(container.record.config),
            )
            dependencies.pending_writes.write(container.id, functools.partial(self._save_start, container))
        if container.state.status is Status.RUNNING:
            # A commit that was cut short has left it standing still.
            dependencies.cgroups.freeze(dependencies.cgroup_path(container), frozen=False)
        self.updates.recover(container)
        self._watch(container, monitor)
        dependencies.listeners.started(container)

    async def close(self, stop_seconds: int | None) -> None:
        """Let go of the containers, which go on; or stop them all first, within `stop_seconds` each."""
        self._closing.set()
        await self._restarts.close()
        if stop_seconds is not None:
            await self.control.stop_all(stop_seconds)
        watchers = list(self._watchers.values())
        for watcher in watchers:
            watcher.cancel()
        # What has begun to end is ended: its client has the answer of a removal already.
        await asyncio.gather(*watchers, *self._endings, return_exceptions=True)
        self._dependencies.pending_writes.close()
