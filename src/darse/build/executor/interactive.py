"""Containers whose processes a client starts one by one, on the trees of a build: what it does in them is not kept.

The first process is the container's init; those after it run beside it, and end with it. Mounts and network are the
container's, all else is each process's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from darse.build.errors import BuildError
from darse.build.executor.processes import PreparedMounts, Processes, check_entitlements
from darse.build.executor.session import BuildSession
from darse.build.executor.trees import Trees
from darse.build.graph.operations import ExecOperation
from darse.build.solver.operation_executor import Inputs, WriteLog
from darse.containers.lifecycle.transient import TransientContainers
from darse.containers.lifecycle.transient_processes import Execute, TransientProcess
from darse.core.errors import EngineError
from darse.images.snapshots.snapshotter import ActiveSnapshot
from darse.runtime.monitor.conmon import Exit
from darse.wire.execs import ExecConfig

_T = TypeVar("_T")


class InteractiveProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process, and who takes what it says."""

    operation: ExecOperation
    """Its mounts are not looked at."""
    output: WriteLog
    opened: Callable[[TransientProcess], None]
    """Takes the process before it begins."""
    terminal: bool = False
    has_input: bool = False


class InteractiveContainer:
    """One of them."""

    def __init__(
        self,
        containers: TransientContainers,
        trees: Trees,
        session: BuildSession,
        prepared: PreparedMounts,
        platform: str,
    ) -> None:
        self._containers = containers
        self._trees = trees
        self._session = session
        self._prepared = prepared
        self._platform = platform
        self._first: asyncio.Future[TransientProcess] | None = None

    async def run(self, process: InteractiveProcess) -> Exit:
        """Run a process to its end; when this is cancelled, it is killed. Raises BuildError."""
        check_entitlements(self._session, process.operation)
        try:
            if self._first is None:
                return await self._run_first(process)
            first = await asyncio.shield(self._first)
            return await first.execute(self._beside(process))
        except EngineError as error:
            raise BuildError(str(error)) from error

    async def _run_first(self, process: InteractiveProcess) -> Exit:
        self._first = first = asyncio.get_running_loop().create_future()
        try:
            request = self._prepared.request(
                process.operation, self._platform, has_input=process.has_input, terminal=process.terminal
            )

            def opened(running: TransientProcess) -> None:
                first.set_result(running)
                process.opened(running)

            return await self._containers.run(request, process.output, opened)
        finally:
            if not first.done():
                first.set_exception(BuildError("the first process of the container did not start"))
                first.exception()  # perhaps nobody reads it

    def _beside(self, process: InteractiveProcess) -> Execute:
        meta = process.operation.meta
        config = ExecConfig(
            AttachStdin=process.has_input,
            AttachStdout=True,
            AttachStderr=True,
            Tty=process.terminal,
            Env=self._prepared.environment(process.operation),
            Cmd=list(meta.arguments),
            User=meta.user,
            WorkingDir=meta.directory,
        )
        return Execute(config=config, output=process.output, opened=process.opened)

    async def read(self, index: int, work: Callable[[int], _T]) -> _T:
        """Call a function with a descriptor of the root of what is mounted, by the mount's position.

        Raises BuildError, OSError, and what the function raises.
        """
        tree = self._prepared.tree(index)
        if isinstance(tree, ActiveSnapshot):
            return await self._trees.read_active(tree, work)
        return await self._trees.read(tree, work)


class InteractiveContainers:
    """Makes them."""

    def __init__(self, processes: Processes, containers: TransientContainers, trees: Trees) -> None:
        self._processes = processes
        self._containers = containers
        self._trees = trees

    @asynccontextmanager
    async def opened(
        self,
        session: BuildSession,
        operation: ExecOperation,
        platform: str,
        inputs: Inputs,
        cache_directories: Mapping[int, str],
    ) -> AsyncIterator[InteractiveContainer]:
        """A container with an operation's mounts and network, for the block. Raises BuildError, and OSError."""
        check_entitlements(session, operation)
        async with self._processes.prepared(session, operation, inputs, cache_directories) as prepared:
            yield InteractiveContainer(self._containers, self._trees, session, prepared, platform)
