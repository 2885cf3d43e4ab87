"""Front ends that are images (`gateway.v0`): containers that speak gRPC on their standard input and output.

resolve the image → its tree → run it, and serve LLBBridge to it → what it returns

It asks what a client's own front end asks, and may do no more than that: graphs that it solves are the build's, with
the entitlements of the build's client. It sees its tree, its request and the build's network.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

from darse.build.errors import BuildError
from darse.build.executor.session import BuildSession
from darse.build.graph import (
    Definition,
    ExecMount,
    ExecOperation,
    GraphBuilder,
    ImageSource,
    NetworkMode,
    ProcessMeta,
    VertexMetadata,
)
from darse.build.progress import internal_vertex
from darse.build.solver import Solution, VertexLog
from darse.buildkit.frontend.dockerfile import FrontendBuild
from darse.buildkit.frontend.options import SBOM
from darse.buildkit.solving.images import image_config
from darse.buildkit.solving.lazy_references import BuildResult, LazyReference
from darse.buildkit.transport import Servicer, service_protocol
from darse.buildkit.wire import ops_pb2
from darse.containers.lifecycle.transient_processes import TransientProcess

FrontendServices = Callable[
    [Any, Mapping[str, Definition], "asyncio.Future[BuildResult]"], tuple[Sequence[Servicer], dict[str, Any]]
]
"""What is served to a front end of a build, with its inputs, which returns by the future; and the worker, described."""


class FrontendHost(FrontendBuild, Protocol):
    """The build that a front end works for."""

    session_options: BuildSession

    def reference(self, definition: Definition) -> LazyReference:
        """A graph that is solved when it is needed."""
        ...


_CAPABILITIES, _NO_NETWORK = "moby.buildkit.frontend.caps", "moby.buildkit.frontend.network.none"
_INPUTS = "moby.buildkit.frontend.inputs"
_PIECE = 32 * 1024
# Bytes of its answers that wait for us.
_MOST_WAITING = 4 << 20
_STDOUT = 1


async def run_foreign(
    build: FrontendHost,
    services: FrontendServices,
    source: str,
    options: Mapping[str, str],
    inputs: Mapping[str, Definition],
) -> BuildResult:
    """Run the front end in an image; return what it returns. Raises BuildError, and GRPCError as it says it."""
    found = await image_config(build, source, ops_pb2.Platform(), "default")
    config = json.loads(found.config).get("config") or {}
    labels = config.get("Labels") or {}
    _check_capabilities(source, labels, options, inputs)
    graph = GraphBuilder()
    image = ImageSource(reference=found.reference, record_type="frontend")
    tree = build.reference(graph.definition(graph.add(image, metadata=VertexMetadata(f"resolve frontend {source}"))))
    solution = await tree.solution()
    returned: asyncio.Future[BuildResult] = asyncio.get_running_loop().create_future()
    served, worker = services(build, inputs, returned)
    given = {name: value for name, value in options.items() if name != SBOM}
    process = _process(config, labels, {**given, "source": source}, build.session_id, worker)
    async with internal_vertex(build.report, f"[internal] frontend {source}") as vertex:
        try:
            await _Running(build, process, solution, vertex, source).run(served)
        except BuildError:
            # What it has said of its failure says more than how it ended.
            if returned.done() and (error := returned.exception()) is not None:
                raise error from None
            raise
        if not returned.done():
            raise BuildError(f"the front end {source} ended without a result")
    return returned.result()


def _check_capabilities(
    source: str, labels: Mapping[str, str], options: Mapping[str, str], inputs: Mapping[str, Definition]
) -> None:
    known = {one.strip().removesuffix("+forward") for one in labels.get(_CAPABILITIES, "").split(",")}
    asked = {one.strip().removesuffix("+forward") for one in options.get("frontend.caps", "").split(",") if one}
    missing = sorted((asked | ({_INPUTS} if inputs else set())) - known)
    if missing:
        raise BuildError(f"the front end {source} does not support {', '.join(missing)}")


def _process(
    config: Mapping[str, Any], labels: Mapping[str, str], options: Mapping[str, str], session: str, worker: Any
) -> ExecOperation:
    variables = [f"BUILDKIT_FRONTEND_OPT_{number}={key}={value}" for number, (key, value) in enumerate(options.items())]
    meta = ProcessMeta(
        tuple(config.get("Entrypoint") or ["/run"]),
        (
            *(config.get("Env") or ()),
            *variables,
            f"BUILDKIT_SESSION_ID={session}",
            f"BUILDKIT_WORKERS={json.dumps([worker])}",
            "BUILDKIT_EXPORTEDPRODUCT=",
        ),
        directory=config.get("WorkingDir") or "/",
        remove_mount_stubs_recursive=True,
    )
    is_alone = labels.get(_NO_NETWORK, "").lower() in ("1", "t", "true")
    network = NetworkMode.NONE if is_alone else NetworkMode.SANDBOX
    return ExecOperation(meta, (ExecMount("/", 0),), network=network)


class _Running:
    """One front end while it runs."""

    def __init__(
        self, build: FrontendHost, process: ExecOperation, solution: Solution, vertex: str, source: str
    ) -> None:
        self._build = build
        self._process = process
        self._solution = solution
        self._vertex = vertex
        self._source = source
        self._console: TransientProcess | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, services: Sequence[Servicer]) -> None:
        """Run it to its end, and answer what it asks. Raises BuildError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        async with AsyncExitStack() as stack:
            self._reader, self._writer = await asyncio.open_connection(sock=ours)
            stack.callback(self._writer.close)
            protocol = service_protocol(services)
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=theirs)
            protocol.serve(transport)
            stack.push_async_callback(protocol.ended)
            stack.callback(transport.abort)
            stack.push_async_callback(self._end)
            snapshot = self._solution.snapshot
            if snapshot is None:
                raise BuildError(f"the front end {self._source} has no files")
            build = self._build
            await build.service.executor.processes.run(
                build.session_options, self._process, "", [snapshot], {}, self._output, self._opened
            )

    def _opened(self, console: TransientProcess) -> None:
        self._console = console
        self._start(self._carry_input(console))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_input(self, console: TransientProcess) -> None:
        try:
            while piece := await self._reader.read(_PIECE):
                await console.write(piece)
        except ConnectionError:
            pass  # it has ended: `run` says how

    def _output(self, stream: int, data: bytes) -> None:
        if stream != _STDOUT:
            self._build.report(VertexLog(self._vertex, stream, data))
            return
        self._writer.write(data)
        if self._console is not None and self._writer.transport.get_write_buffer_size() > _MOST_WAITING:
            self._console.pause()
            self._start(self._resume(self._console))

    async def _resume(self, console: TransientProcess) -> None:
        await self._writer.drain()
        console.resume()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
