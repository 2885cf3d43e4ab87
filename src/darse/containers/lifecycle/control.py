"""What is asked of a container that runs: to stop, to take a signal, to pause.

Ending always ends. A frozen process takes no signal, so whoever kills thaws before and after, and what is ending is
not paused. Who has killed waits for the monitor, which writes what is left of the output and the exit code; but not
for one that stands still: then the control group says what is left of the container, and ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import signal

from darse.containers.dependencies import Dependencies
from darse.containers.lifecycle.restart import RestartManager
from darse.containers.lifecycle.signals import asks_to_end, parse_signal, stop_signal
from darse.containers.model import Container, Purpose, Status, refuse_restarting
from darse.core import executors, tasks
from darse.core.errors import Conflict, NotModified, SystemFault
from darse.runtime.monitor import HeldProcess, conmon
from darse.wire.containers import WaitResponse

_DEFAULT_STOP_SECONDS = 10
# Until a monitor has said that its killed container has ended. Then we look ourselves.
_MONITOR_SECONDS = 1.0
# After SIGKILL only the kernel's own work (a hung disk) keeps a process alive.
_KILL_SECONDS = 10.0
# How long a pause waits for execs that are just being launched.
_EXEC_SECONDS = 5.0

_Ended = asyncio.Future[WaitResponse]


class Control:
    """Signals, stops and pauses."""

    def __init__(self, dependencies: Dependencies, restarts: RestartManager) -> None:
        self._dependencies = dependencies
        self._restarts = restarts

    async def stop(self, container: Container, seconds: int | None, signal_name: str | None) -> None:
        """Ask a container to end, and kill it after `seconds` (-1: never; None: its own timeout).

        Raises NotModified when it does not run, and SystemFault when not even SIGKILL ends it.
        """
        if not container.state.active:
            raise NotModified("container is not running")
        number = parse_signal(signal_name) if signal_name else stop_signal(container.record.config)
        await self._mark_manually_stopped(container)
        if not container.state.alive:
            self._dependencies.publish(container, "stop")
            return
        await self._stop_with_timeout(container, number, stop_seconds(container) if seconds is None else seconds)

    async def stop_all(self, most_seconds: int) -> None:
        """Stop every container because the engine ends: restart policies bring them back with the next engine.

        None gets more than `most_seconds` after its signal. One that does not end keeps nobody from ending.
        """
        running = [container for container in self._dependencies.store if container.state.alive]
        stops = (
            self._stop_with_timeout(one, stop_signal(one.record.config), _at_most(most_seconds, stop_seconds(one)))
            for one in running
        )
        for one, result in zip(running, await asyncio.gather(*stops, return_exceptions=True), strict=True):
            if isinstance(result, Exception):
                self._dependencies.log.error("container %s does not stop", one.id[:12], exc_info=result)

    async def _mark_manually_stopped(self, container: Container) -> None:
        """No restart policy may bring the container back, not even when it is the next engine that sees its end.

        Who waits for the next start rests now. A start that is under way would lose the mark: it is waited for.
        """
        self._restarts.cancel(container)
        async with self._dependencies.locks.hold(container.id):
            state = container.state
            state.manually_stopped = True
            if state.status is Status.RESTARTING:
                self._restarts.cancel(container)  # the start that we waited for has failed, and scheduled a retry
                state.status = Status.EXITED
            if container.record.host.RestartPolicy.Name not in ("", "no"):
                write = functools.partial(self._dependencies.store.save_state, container)
                self._dependencies.pending_writes.write(container.id, write)

    async def _stop_with_timeout(self, container: Container, number: int, seconds: int) -> None:
        ended = container.next_exit()
        with container.under_way(Purpose.ENDING), self._dependencies.traces.record("stop", container.id):
            process = self._process_of(container)
            try:
                _signal(process, number)
                await self._unfreeze(container)
                self._dependencies.publish(container, "kill", signal=int(number))
                if not await _ends(ended, process, None if seconds < 0 else seconds):
                    # This very process: the container may have ended just now, and been started again.
                    _signal(process, signal.SIGKILL)
                    self._dependencies.publish(container, "kill", signal=int(signal.SIGKILL))
            finally:
                if process is not None:
                    process.close()
            await self._await_end(container, ended)
        self._dependencies.publish(container, "stop")

    async def kill(self, container: Container, signal_name: str) -> None:
        """Send a signal; SIGKILL returns when the container has ended.

        Raises Conflict when it does not run, and SystemFault when not even SIGKILL ends it.
        """
        number = parse_signal(signal_name or "SIGKILL")
        if not container.state.active:
            raise Conflict(f"container {container.id} is not running")
        if asks_to_end(number, container.record.config):
            await self._mark_manually_stopped(container)
        if not container.state.alive:
            return
        if number != signal.SIGKILL:
            with self._dependencies.traces.record("kill", container.id):
                self._send(container, number)
                self._dependencies.publish(container, "kill", signal=int(number))
            return
        ended = container.next_exit()
        with container.under_way(Purpose.ENDING), self._dependencies.traces.record("kill", container.id):
            self._send(container, number)
            self._dependencies.publish(container, "kill", signal=int(number))
            await self._unfreeze(container)
            await self._await_end(container, ended)

    async def _await_end(self, container: Container, ended: _Ended) -> None:
        """Return when a container that was killed, or whose process is gone, has ended; see to it that it does."""
        dependencies = self._dependencies
        path = dependencies.cgroup_path(container)
        # A commit holds what it reads frozen, and that is no state.
        await executors.kernel.run(dependencies.cgroups.thaw, path)
        if await _ends(ended, None, _MONITOR_SECONDS):
            return
        monitor = container.monitor
        if monitor is not None:
            with contextlib.suppress(ProcessLookupError):
                monitor.send(signal.SIGCONT)
        left = await dependencies.cgroups.kill_and_wait(path, _KILL_SECONDS)
        if left:
            raise SystemFault(
                f"container {container.id} did not end within {_KILL_SECONDS:.0f} s of SIGKILL: its processes {left} "
                f"are stuck in the kernel: see /proc/{left[0]}/stack and /proc/{left[0]}/cgroup for what they wait for"
            )
        if await _ends(ended, None, _MONITOR_SECONDS):
            return
        if monitor is not None and container.monitor is monitor:
            dependencies.log.warning("container %s has ended, its monitor has not: it is killed", container.id[:12])
            await conmon.end_monitor(monitor, _MONITOR_SECONDS)
            # One that not even that ends (in a frozen control group, say) is left alone.
            monitor.close()
        if not await _ends(ended, None, _KILL_SECONDS):
            raise SystemFault(f"container {container.id} has ended, and the engine does not come to record it")

    def _send(self, container: Container, number: int) -> None:
        process = self._process_of(container)
        if process is not None:
            try:
                _signal(process, number)
            finally:
                process.close()

    def _process_of(self, container: Container) -> HeldProcess | None:
        """Hold the container's first process; None when that is gone."""
        state = container.state
        # (No pid: it has ended just now.)
        return self._dependencies.monitor.hold_child(state.pid, state.monitor_pid) if state.pid else None

    async def pause(self, container: Container) -> None:
        """Freeze the container's processes. Raises Conflict when it does not run, is ending, or is paused."""
        async with self._dependencies.locks.hold(container.id):
            with container.under_way(Purpose.FREEZE):
                await container.wait_until_over(Purpose.EXEC, _EXEC_SECONDS)
                if container.state.status is Status.PAUSED:
                    raise Conflict(f"Container {container.name} is already paused")
                refuse_restarting(container)
                if container.state.status is not Status.RUNNING:
                    raise Conflict(f"Container {container.name} is not running")
                if container.undergoes(Purpose.ENDING):
                    raise Conflict(f"Container {container.name} is being stopped or killed, and cannot be paused")
                await self._freeze(container, Status.PAUSED, "pause")

    async def unpause(self, container: Container) -> None:
        """Let a paused container go on. Raises Conflict when it is not paused."""
        async with self._dependencies.locks.hold(container.id):
            if container.state.status is not Status.PAUSED:
                raise Conflict(f"Container {container.name} is not paused")
            await self._freeze(container, Status.RUNNING, "unpause")

    async def _unfreeze(self, container: Container) -> None:
        """Let a container that is to end go on, so that it can."""
        if container.state.status is Status.PAUSED:
            await self._freeze(container, Status.RUNNING, "unpause")

    async def _freeze(self, container: Container, status: Status, action: str) -> None:
        """Freeze or thaw a container, and record that: both, whoever stops waiting."""
        await tasks.ended(asyncio.create_task(self._freeze_to_end(container, status, action)), lambda: None)

    async def _freeze_to_end(self, container: Container, status: Status, action: str) -> None:
        dependencies = self._dependencies
        path, before = dependencies.cgroup_path(container), container.state.status
        with dependencies.traces.record(action, container.id):
            try:
                # A container may have many thousands of processes.
                await executors.kernel.run(dependencies.cgroups.freeze, path, status is Status.PAUSED)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise
                # It has just ended, and its control group is gone.
                if status is Status.PAUSED:
                    raise Conflict(f"Container {container.name} is not running") from None
            if status is Status.PAUSED and container.undergoes(Purpose.ENDING):
                await executors.kernel.run(dependencies.cgroups.thaw, path)  # that began meanwhile
                raise Conflict(f"Container {container.name} is being stopped or killed, and cannot be paused")
            if container.state.status is not before:  # it has ended, or somebody else has thawed it
                if status is Status.PAUSED:
                    raise Conflict(f"Container {container.name} is not running")
                return
            container.state.status = status
            dependencies.pending_writes.write(container.id, functools.partial(self._save, container, action))

    def _save(self, container: Container, action: str) -> None:
        with self._dependencies.database.transaction():
            self._dependencies.store.save_state(container)
            self._dependencies.publish(container, action)


def _signal(process: HeldProcess | None, number: int) -> None:
    if process is not None:
        with contextlib.suppress(ProcessLookupError):  # it is just ending; whoever waits will hear
            process.send(number)


async def _ends(ended: _Ended, process: HeldProcess | None, seconds: float | None) -> bool:
    """Whether a container's end is on record, or its `process` gone, within `seconds`."""
    waits: list[asyncio.Future[object]] = [asyncio.ensure_future(_outcome(ended))]
    if process is not None:
        waits.append(asyncio.ensure_future(process.wait()))
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return bool(done)


async def _outcome(ended: _Ended) -> WaitResponse:
    return await asyncio.shield(ended)


def stop_seconds(container: Container) -> int:
    """How long a container may take to end after its stop signal; -1 is for ever."""
    timeout = container.record.config.StopTimeout
    return _DEFAULT_STOP_SECONDS if timeout is None else timeout


def _at_most(most: int, seconds: int) -> int:
    return most if seconds < 0 else min(most, seconds)
