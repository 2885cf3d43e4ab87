"""What is asked of a container that runs: to stop, to take a signal, to pause."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal

from darse.containers.context import Context
from darse.containers.model import Container, Status
from darse.containers.restart import Restarts, refuse_restarting
from darse.containers.signals import asks_to_end, parse_signal, stop_signal
from darse.engine.errors import Conflict, NotModified, SystemFault
from darse.linux.process import Process, parent_of
from darse.wire.containers import WaitResponse

_DEFAULT_STOP_SECONDS = 10
# After SIGKILL only the kernel's own work (a hung disk) keeps a process alive.
_KILL_SECONDS = 30


class Control:
    """Signals, stops and pauses."""

    def __init__(self, context: Context, restarts: Restarts) -> None:
        self._context = context
        self._restarts = restarts

    async def stop(self, container: Container, seconds: int | None, signal_name: str | None) -> None:
        """Ask a container to end, and kill it after `seconds` (-1: never; None: its own timeout).

        Raises NotModified when it does not run.
        """
        if not container.state.active:
            raise NotModified("container is not running")
        number = parse_signal(signal_name) if signal_name else stop_signal(container.record.config)
        await self._stopped_by_hand(container)
        if not container.state.alive:
            self._context.publish(container, "stop")
            return
        await self._ask_and_kill(container, number, stop_seconds(container) if seconds is None else seconds)

    async def stop_all(self, most_seconds: int) -> None:
        """Stop every container because the engine ends: restart policies bring them back with the next engine.

        None gets more than `most_seconds` after its signal.
        """
        running = [container for container in self._context.store if container.state.alive]
        await asyncio.gather(
            *(
                self._ask_and_kill(one, stop_signal(one.record.config), _at_most(most_seconds, stop_seconds(one)))
                for one in running
            )
        )

    async def _stopped_by_hand(self, container: Container) -> None:
        """No restart policy may bring the container back, not even when it is the next engine that sees its end.

        Who waits for the next start rests now. A start that is under way would forget the mark: it is waited for.
        """
        self._restarts.cancel(container)
        async with self._context.locks.hold(container.id):
            state = container.state
            state.manually_stopped = True
            if state.status is Status.RESTARTING:
                self._restarts.cancel(container)  # the start that we waited for has failed, and made an appointment
                state.status = Status.EXITED
            if container.record.host.RestartPolicy.Name not in ("", "no"):
                write = functools.partial(self._context.store.save_state, container)
                self._context.unsaved.write(container.id, write)

    async def _ask_and_kill(self, container: Container, number: int, seconds: int) -> None:
        ended = container.next_exit()
        with self._context.traces.record("stop", container.id):
            self._send(container, number)
            if container.state.status is Status.PAUSED:
                await self.unpause(container)
            self._context.publish(container, "kill", signal=int(number))
            try:
                await asyncio.wait_for(asyncio.shield(ended), None if seconds < 0 else seconds)
            except TimeoutError:
                if not ended.done():
                    self._send(container, signal.SIGKILL)
                    self._context.publish(container, "kill", signal=int(signal.SIGKILL))
                    await self._await_kill(container, ended)
        self._context.publish(container, "stop")

    async def kill(self, container: Container, signal_name: str) -> None:
        """Send a signal; SIGKILL returns when the container has ended. Raises Conflict when it does not run."""
        number = parse_signal(signal_name or "SIGKILL")
        if not container.state.active:
            raise Conflict(f"container {container.id} is not running")
        if asks_to_end(number, container.record.config):
            await self._stopped_by_hand(container)
        if not container.state.alive:
            return
        ended = container.next_exit()
        with self._context.traces.record("kill", container.id):
            self._send(container, number)
            self._context.publish(container, "kill", signal=int(number))
            if number == signal.SIGKILL:
                if container.state.status is Status.PAUSED:
                    # A frozen process takes the signal when it thaws.
                    await self.unpause(container)
                await self._await_kill(container, ended)

    async def _await_kill(self, container: Container, ended: asyncio.Future[WaitResponse]) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(ended), _KILL_SECONDS)
        except TimeoutError as error:
            raise SystemFault(
                f"container {container.id} did not end within {_KILL_SECONDS} s of SIGKILL: "
                f"see /proc/{container.state.pid}/stack for what its process waits for"
            ) from error

    @staticmethod
    def _send(container: Container, number: int) -> None:
        state = container.state
        with contextlib.suppress(ProcessLookupError):  # it is just ending; whoever waits will hear
            process = Process(state.pid)
            try:
                # Once its monitor has reaped the process the pid may be another's.
                if parent_of(state.pid) == state.monitor_pid:
                    process.send(number)
            finally:
                process.close()

    async def pause(self, container: Container) -> None:
        """Freeze the container's processes. Raises Conflict when it does not run or is paused."""
        async with self._context.locks.hold(container.id):
            if container.state.status is Status.PAUSED:
                raise Conflict(f"Container {container.name} is already paused")
            refuse_restarting(container)
            if container.state.status is not Status.RUNNING:
                raise Conflict(f"Container {container.name} is not running")
            self._freeze(container, Status.PAUSED, "pause")

    async def unpause(self, container: Container) -> None:
        """Let a paused container go on. Raises Conflict when it is not paused."""
        async with self._context.locks.hold(container.id):
            if container.state.status is not Status.PAUSED:
                raise Conflict(f"Container {container.name} is not paused")
            self._freeze(container, Status.RUNNING, "unpause")

    def _freeze(self, container: Container, status: Status, action: str) -> None:
        context = self._context
        path = context.cgroup_path(container)
        with context.traces.record(action, container.id):
            context.cgroups.freeze(path, status is Status.PAUSED)
            container.state.status = status
            context.unsaved.write(container.id, functools.partial(self._save, container, action))

    def _save(self, container: Container, action: str) -> None:
        with self._context.database.transaction():
            self._context.store.save_state(container)
            self._context.publish(container, action)


def stop_seconds(container: Container) -> int:
    """How long a container may take to end after its stop signal; -1 is for ever."""
    timeout = container.record.config.StopTimeout
    return _DEFAULT_STOP_SECONDS if timeout is None else timeout


def _at_most(most: int, seconds: int) -> int:
    return most if seconds < 0 else min(most, seconds)
