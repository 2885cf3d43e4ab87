"""What is executed now, by the cache key, so that it is executed once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from darse.build.solver.cache_storage import CacheStorage
from darse.build.solver.operation_executor import Snapshot


async def uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Run something to its end; a cancellation that comes meanwhile is raised after it."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


class SharedExecution:
    """One operation that runs for those who wait for it."""

    def __init__(self, executions: Executions, name: str, storage: CacheStorage) -> None:
        self._executions = executions
        self._name = name
        self._storage = storage
        self._waiters = 0
        self._held: tuple[Snapshot, ...] = ()
        self.task: asyncio.Task[tuple[Snapshot, ...]]

    def start(self, work: Callable[[], Awaitable[tuple[Snapshot, ...]]]) -> None:
        """Begin, when one of the places is free."""
        self.task = asyncio.create_task(self._run(work))

    async def _run(self, work: Callable[[], Awaitable[tuple[Snapshot, ...]]]) -> tuple[Snapshot, ...]:
        try:
            async with self._executions.places:
                self._held = await work()
            # Until everybody who waits has a lease: nothing else keeps the snapshots.
            for snapshot in self._held:
                self._storage.lease(snapshot.id)
            return self._held
        finally:
            self._executions.drop_execution(self._name, self)

    def join(self) -> None:
        """Count somebody who waits; `leave` takes it back."""
        self._waiters += 1

    async def wait(self) -> tuple[Snapshot, ...]:
        """The snapshots. To be cancelled while waiting cancels nothing: that is what `leave` is for."""
        return await asyncio.shield(self.task)

    async def leave(self) -> None:
        """Do not wait any longer. The last who leaves ends the operation, and sees its end."""
        self._waiters -= 1
        if not self._waiters:
            self._executions.drop_execution(self._name, self)
            await uninterrupted(self._end())

    async def _end(self) -> None:
        if not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()  # everybody who waited has it
        for snapshot in self._held:
            self._storage.release(snapshot.id)
        self._held = ()


class Executions:
    """All of them."""

    def __init__(self, parallelism: int) -> None:
        self.places = asyncio.Semaphore(parallelism)
        self._running: dict[str, SharedExecution] = {}

    def __len__(self) -> int:
        return len(self._running)

    def join(
        self, name: str, work: Callable[[], Awaitable[tuple[Snapshot, ...]]], storage: CacheStorage
    ) -> tuple[SharedExecution, bool]:
        """Join the execution with a name, or begin it; whether it was there. The caller must `leave`."""
        execution = self._running.get(name)
        joined = execution is not None
        if execution is None:
            execution = self._running[name] = SharedExecution(self, name, storage)
            execution.start(work)
        execution.join()
        return execution, joined

    def drop_execution(self, name: str, execution: SharedExecution) -> None:
        """Let nobody join any longer."""
        if self._running.get(name) is execution:
            del self._running[name]
