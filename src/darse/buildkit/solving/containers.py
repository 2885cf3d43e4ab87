"""Containers in which a client runs processes of its own, on results of its build: debuggers and front ends do.

They are the build's, and end with it. What their processes write is not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol, TypeVar

import msgspec
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from darse.build.errors import BuildError
from darse.build.executor.interactive import InteractiveContainer, InteractiveProcess
from darse.build.executor.session import BuildSession
from darse.build.graph import ExecMount, ExecOperation, ProcessMeta
from darse.build.graph.operations import EMPTY, SKIP_OUTPUT
from darse.build.service import BuildService
from darse.build.solver import Snapshot
from darse.buildkit.definitions import exec_mount, network_mode, platform_text, process_meta, secret_variables, security
from darse.buildkit.sessions.secrets import SessionSecrets
from darse.buildkit.solving.lazy_references import LazyReference
from darse.core.tasks import until_ended
from darse.runtime.monitor.conmon import Exit

_T = TypeVar("_T")
# Of one build; each has mounts, and a network when it runs.
_MOST_CONTAINERS = 50
# Of one container, at once; each has descriptors of the engine.
_MOST_PROCESSES = 100


class ContainerHost(Protocol):
    """The build that containers are made for."""

    service: BuildService
    session_options: BuildSession
    session_secrets: SessionSecrets

    def find(self, name: str) -> LazyReference:
        """A reference of the build. Raises GRPCError."""
        ...


class BuildContainer:
    """One of them."""

    def __init__(self, operation: ExecOperation, secrets: SessionSecrets) -> None:
        self._operation = operation
        self._secrets = secrets
        self._container: InteractiveContainer
        self._stack = AsyncExitStack()
        self._running: set[asyncio.Task[Exit]] = set()

    async def open(self, host: ContainerHost, platform: str, inputs: Sequence[Snapshot]) -> None:
        """Mount what it has. Raises BuildError, and OSError."""
        service, stack = host.service, self._stack
        async with AsyncExitStack() as undo:
            undo.push_async_callback(stack.aclose)
            taken = await stack.enter_async_context(service.solver.cache_mounts.acquire(self._operation))
            opened = service.executor.interactive.opened(host.session_options, self._operation, platform, inputs, taken)
            self._container = await stack.enter_async_context(opened)
            undo.pop_all()

    def operation(self, init: Any) -> ExecOperation:
        """What an `InitMessage` says of a process. Raises InvalidGraph."""
        meta = self._operation.meta
        return msgspec.structs.replace(
            self._operation,
            meta=msgspec.structs.replace(
                process_meta(init.Meta), hostname=meta.hostname, extra_hosts=meta.extra_hosts, proxy=None
            ),
            security=security(init.Security),
            secrets=secret_variables(init.secretenv),
        )

    async def run(self, process: InteractiveProcess) -> Exit:
        """Run a process to its end; when this is cancelled, it is killed. Raises BuildError, as when it is released."""
        await self._secrets.for_operations([process.operation])
        if len(self._running) >= _MOST_PROCESSES:
            raise BuildError(f"a container runs {_MOST_PROCESSES} processes at most")
        task = asyncio.create_task(self._container.run(process))
        self._running.add(task)
        try:
            await asyncio.wait((task,))
            if task.cancelled():
                raise BuildError("the container is released")
            return task.result()
        finally:
            task.cancel()
            await until_ended(task)
            self._running.discard(task)

    async def read(self, index: int, work: Callable[[int], _T]) -> _T:
        """See InteractiveContainer."""
        return await self._container.read(index, work)

    async def close(self) -> None:
        """End its processes, and unmount."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._stack.aclose()


class BuildContainers:
    """Those of one build, by the names that its client has chosen."""

    def __init__(self, host: ContainerHost) -> None:
        self._host = host
        self._containers: dict[str, BuildContainer] = {}
        self._opening: set[str] = set()
        self._is_closed = False

    async def create(self, request: Any) -> None:
        """Make one, of a `NewContainerRequest`. Raises BuildError, GRPCError and OSError."""
        name = request.ContainerID
        if name in self._containers or name in self._opening:
            raise GRPCError(Status.ALREADY_EXISTS, f"container {name} exists")
        if len(self._containers) + len(self._opening) >= _MOST_CONTAINERS:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, f"a build has {_MOST_CONTAINERS} containers at most")
        self._opening.add(name)
        try:
            mounts, inputs = await self._mounts(request.Mounts)
            hosts = tuple((one.Host, one.IP) for one in request.extraHosts)
            meta = ProcessMeta((), hostname=request.hostname, extra_hosts=hosts)
            operation = ExecOperation(meta, mounts, network=network_mode(request.Network))
            await self._host.session_secrets.for_operations([operation])
            made = BuildContainer(operation, self._host.session_secrets)
            await made.open(self._host, platform_text(request.platform), inputs)
            if self._is_closed:
                await made.close()
                raise BuildError("the build has ended")
            self._containers[name] = made
        finally:
            self._opening.discard(name)

    async def _mounts(self, given: Sequence[Any]) -> tuple[tuple[ExecMount, ...], list[Snapshot]]:
        """Mounts, and the results that they are of."""
        if not any(one.dest == "/" for one in given):
            raise GRPCError(Status.INVALID_ARGUMENT, "root mount is required")
        mounts: list[ExecMount] = []
        inputs: list[Snapshot] = []
        for one in given:
            source = EMPTY
            if one.resultID:
                snapshot = (await self._host.find(one.resultID).solution()).snapshot
                if snapshot is not None:
                    inputs.append(snapshot)
                    source = len(inputs) - 1
            mounts.append(msgspec.structs.replace(exec_mount(one), input=source, output=SKIP_OUTPUT))
        return tuple(mounts), inputs

    def find(self, name: str) -> BuildContainer:
        """One of them. Raises GRPCError."""
        if (found := self._containers.get(name)) is None:
            raise GRPCError(Status.NOT_FOUND, f'container "{name}" previously released or not created')
        return found

    async def release(self, name: str) -> None:
        """End one. Raises GRPCError."""
        found = self.find(name)
        del self._containers[name]
        await found.close()

    async def close(self) -> None:
        """End all, also those that are about to be made."""
        self._is_closed = True
        while self._containers:
            await self._containers.popitem()[1].close()
