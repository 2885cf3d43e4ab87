"""`LLBBridge/ExecProcess`: processes in containers of a build, all of a client's on one call.

    Init     ▶  ◀  Started
    File 0   ▶  ◀  File 1, File 2      input and output; EOF ends one
    Resize, Signal  ▶
             ◀  Exit, and Done, after the last output

With the call its processes end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from darse.build.errors import BuildError
from darse.build.executor.interactive import InteractiveProcess
from darse.buildkit.solving.containers import BuildContainers
from darse.buildkit.wire import gateway_pb2, status_pb2
from darse.containers.lifecycle.signals import parse_signal
from darse.containers.lifecycle.transient_processes import TransientProcess
from darse.core.errors import Conflict, EngineError, InvalidParameter

_STDIN, _OUTPUTS = 0, (1, 2)
# Bytes of input that wait for one process; then the call waits. A message has as much as gRPC lets it have.
_MOST_INPUT = 1 << 20
# Bytes of output in one message, about.
_PIECE = 64 << 10
# Bytes of output that wait for the client; then the process waits.
_MOST_WAITING, _FEW_WAITING = 1 << 20, 256 << 10
# Of one call, with those that have ended.
_MOST_PROCESSES = 10_000
# What clients take for a status that nobody knows.
_UNKNOWN_STATUS = 255


class ProcessCall:
    """One call."""

    def __init__(self, stream: Stream[Any, Any], containers: BuildContainers) -> None:
        self._stream = stream
        self._containers = containers
        self._sending = asyncio.Lock()
        self._processes: dict[str, _ClientProcess] = {}

    async def serve(self) -> None:
        """Serve it to its end. Raises GRPCError."""
        try:
            async with asyncio.TaskGroup() as running:
                async for message in self._stream:
                    await self._take(running, message)
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _take(self, running: asyncio.TaskGroup, message: Any) -> None:
        name, kind = message.ProcessID, message.WhichOneof("Input")
        if not name:
            raise GRPCError(Status.INVALID_ARGUMENT, "ProcessID required")
        if kind == "Init":
            self._begin(running, name, message.Init)
            return
        if (process := self._processes.get(name)) is None:
            raise GRPCError(Status.NOT_FOUND, f'IO for process "{name}" not found')
        match kind:
            case "File":
                await process.take_input(message.File)
            case "Resize":
                process.resize(message.Resize.Rows, message.Resize.Cols)
            case "Signal":
                process.signal(message.Signal.Name)

    def _begin(self, running: asyncio.TaskGroup, name: str, init: Any) -> None:
        if name in self._processes:
            raise GRPCError(Status.ALREADY_EXISTS, f"process {name} exists")
        if len(self._processes) >= _MOST_PROCESSES:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "too many processes in one call")
        self._containers.find(init.ContainerID)
        process = self._processes[name] = _ClientProcess(self, name, init)
        running.create_task(process.run(self._containers))

    async def send(self, name: str, **what: Any) -> None:
        """Send a message of a process."""
        async with self._sending:
            await self._stream.send_message(gateway_pb2.ExecMessage(ProcessID=name, **what))


class _ClientProcess:
    """One process."""

    def __init__(self, call: ProcessCall, name: str, init: Any) -> None:
        self._call = call
        self._name = name
        self._init = init
        self._outputs = [one for one in _OUTPUTS if one in init.Fds]
        self._input: asyncio.Queue[Any] = asyncio.Queue()
        self._input_bytes = 0
        self._input_taken = asyncio.Event()
        self._running: TransientProcess | None = None
        self._size: tuple[int, int] | None = None
        self._signals: list[int] = []
        self._has_ended = False
        self._waiting: deque[dict[str, Any]] = deque()
        self._waiting_bytes = 0
        self._is_paused = False
        self._changed = asyncio.Event()
        self._begun = asyncio.Event()

    async def run(self, containers: BuildContainers) -> None:
        """Run it to its end, and tell the client."""
        tasks = [asyncio.create_task(self._send_all()), asyncio.create_task(self._carry_input())]
        try:
            exited = await self._exit(containers)
            if self._running is None:
                self._add(Started=gateway_pb2.StartedMessage())
            for one in self._outputs:
                self._add(File=gateway_pb2.FdMessage(Fd=one, EOF=True))
            self._add(Exit=exited)
            self._add(Done=gateway_pb2.DoneMessage())
            self._has_ended = True
            self._changed.set()
            await tasks[0]
        finally:
            self._has_ended = True
            self._input_taken.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _exit(self, containers: BuildContainers) -> gateway_pb2.ExitMessage:
        try:
            container = containers.find(self._init.ContainerID)
            process = InteractiveProcess(
                operation=container.operation(self._init),
                output=self._output,
                opened=self._opened,
                terminal=self._init.Tty,
                has_input=_STDIN in self._init.Fds,
            )
            end = await container.run(process)
        except (BuildError, EngineError, OSError) as error:
            return _exit_message(_UNKNOWN_STATUS, str(error))
        return _exit_message(end.code, f"exit code: {end.code}")

    def _opened(self, process: TransientProcess) -> None:
        self._running = process
        self._begun.set()
        self._add(Started=gateway_pb2.StartedMessage())
        if self._size is not None:
            self.resize(*self._size)
        for number in self._signals:
            self._send_signal(process, number)

    async def take_input(self, given: Any) -> None:
        """Pass input on; waits while the process takes none."""
        if given.Fd != _STDIN or _STDIN not in self._init.Fds:
            raise GRPCError(Status.OUT_OF_RANGE, f"fd {given.Fd} unavailable to write")
        while self._input_bytes >= _MOST_INPUT and not self._has_ended:
            self._input_taken.clear()
            await self._input_taken.wait()
        if not self._has_ended:
            self._input_bytes += _size_of(given)
            self._input.put_nowait(given)

    async def _next_input(self) -> Any:
        given = await self._input.get()
        self._input_bytes -= _size_of(given)
        self._input_taken.set()
        return given

    async def _carry_input(self) -> None:
        await self._begun.wait()
        process = self._running
        assert process is not None
        with contextlib.suppress(ConnectionError):  # it has ended: `run` says how
            while True:
                given = await self._next_input()
                if given.Data:
                    await process.write(given.Data)
                if given.EOF:
                    break
        if not self._init.Tty:
            process.end_input()
        while True:
            await self._next_input()  # nobody takes it any more

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal, now or when it begins."""
        self._size = rows, columns
        if self._running is not None and self._init.Tty:
            with contextlib.suppress(Conflict):  # it has ended
                self._running.resize(rows, columns)

    def signal(self, name: str) -> None:
        """Send it a signal, now or when it begins. Raises GRPCError."""
        try:
            number = parse_signal(name)
        except InvalidParameter as error:
            raise GRPCError(Status.INVALID_ARGUMENT, f"Unknown signal {name}") from error
        if self._running is None:
            self._signals.append(number)
        else:
            self._send_signal(self._running, number)

    @staticmethod
    def _send_signal(process: TransientProcess, number: int) -> None:
        with contextlib.suppress(Conflict):  # it has ended
            process.send(number)

    def _output(self, stream: int, data: bytes) -> None:
        if stream not in self._outputs:
            return
        last = self._waiting[-1].get("File") if self._waiting else None
        if last is not None and last.Fd == stream and len(last.Data) < _PIECE:
            last.Data += data
        else:
            self._add(File=gateway_pb2.FdMessage(Fd=stream, Data=data))
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _MOST_WAITING and self._running is not None and not self._is_paused:
            self._is_paused = True
            self._running.pause()

    def _add(self, **what: Any) -> None:
        self._waiting.append(what)
        self._changed.set()

    async def _send_all(self) -> None:
        while True:
            while self._waiting:
                what = self._waiting.popleft()
                await self._call.send(self._name, **what)
                if "File" in what:
                    self._waiting_bytes -= len(what["File"].Data)
                if self._is_paused and self._waiting_bytes < _FEW_WAITING and self._running is not None:
                    self._is_paused = False
                    self._running.resume()
            if self._has_ended:
                return
            self._changed.clear()
            await self._changed.wait()


def _size_of(given: Any) -> int:
    # A message without data takes room, too.
    return len(given.Data) + 256


def _exit_message(code: int, text: str) -> gateway_pb2.ExitMessage:
    if not code:
        return gateway_pb2.ExitMessage()
    error = status_pb2.Status(code=Status.UNKNOWN.value, message=text)
    return gateway_pb2.ExitMessage(Code=code, Error=error)
