"""What may be done with a process of a transient container while it runs, and further processes beside the first.

A further process is an exec: with a monitor of its own, in the namespaces and the cgroup of the container. It has no
record; when its engine is killed, the next one removes what it has left (`darse.containers.exec.service`), and with its
container it ends.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import Awaitable, Callable

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.exec.pool import monitor_directory_of
from darse.core import executors
from darse.core.errors import Conflict
from darse.core.ids import new_id
from darse.core.tasks import ended
from darse.linux.fs.contained import discard_tree
from darse.linux.proc.process import kill_with_descendants
from darse.runtime.monitor import HeldProcess, conmon
from darse.runtime.monitor.conmon import STDERR, STDOUT, CreateFailed, CreateResult, Exit, MonitorDirectory, StdioPlan
from darse.runtime.monitor.console import Console
from darse.runtime.monitor.launch import ExecLaunch
from darse.runtime.oci import OCIRuntime
from darse.runtime.oci.errors import check_launchable, failure
from darse.runtime.oci.spec import exec_process
from darse.runtime.oci.user import lookup_user
from darse.wire.containers import ContainerConfig
from darse.wire.execs import ExecConfig
from darse.wire.host_config import HostConfig

#: 1 is standard output, 2 standard error.
STREAMS = {STDOUT: 1, STDERR: 2}

WriteOutput = Callable[[int, bytes], None]
"""Takes what a process writes."""


class Execute(msgspec.Struct, frozen=True, kw_only=True):
    """A further process."""

    config: ExecConfig
    output: WriteOutput
    opened: Callable[[TransientProcess], None]
    """Takes the process when it runs."""


class TransientProcess:
    """A process with its input, its terminal, and signals for it."""

    def __init__(
        self,
        console: Console,
        bundle: MonitorDirectory,
        process: HeldProcess | None,
        execute: Callable[[Execute], Awaitable[Exit]] | None = None,
    ) -> None:
        """process: None has ended already. execute: runs another one beside it."""
        self._console = console
        self._bundle = bundle
        self._process = process
        self._execute = execute
        self._is_ending = False

    async def write(self, data: bytes) -> None:
        """Send input, waiting while nobody takes it. Raises ConnectionError when it is gone."""
        await self._console.write(data)

    def end_input(self) -> None:
        """Let the process read the end of its input."""
        self._console.end_input()

    def pause(self) -> None:
        """Take no more output for now; the process waits."""
        if not self._is_ending:
            self._console.pause()

    def resume(self) -> None:
        """Take output again."""
        self._console.resume()

    def resize(self, height: int, width: int) -> None:
        """Set the size of its terminal. Raises Conflict when it has ended."""
        conmon.resize(self._bundle, height, width)

    def send(self, number: int) -> None:
        """Send it a signal. Raises Conflict when it has ended."""
        try:
            if self._process is not None:
                self._process.send(number)
                return
        except ProcessLookupError:
            pass
        raise Conflict("the process has ended")

    async def execute(self, request: Execute) -> Exit:
        """Run another process beside it, to its end; the container ends with the first. Raises as a start does."""
        if self._execute is None:
            raise Conflict("the process is not the first of its container")
        return await self._execute(request)

    def end(self) -> None:
        """It is being killed: the last of its output is taken at once, for its monitor ends after that."""
        self._is_ending = True
        self._console.resume()

    def let_go(self) -> None:
        """It has ended."""
        if self._process is not None:
            self._process.close()
            self._process = None


class FirstProcess(msgspec.Struct, frozen=True):
    """The first process of a container, and what it was made with."""

    dependencies: Dependencies
    runtime: OCIRuntime
    container_id: str
    pid: int
    host: HostConfig
    hostname: str
    cgroup: str

    async def execute(self, request: Execute) -> Exit:
        """See TransientProcess.execute. When this is cancelled, the process is killed."""
        run = _Exec(self, request)
        return await ended(asyncio.create_task(run.complete()), run.stop)


class _Exec:
    """One further process. `complete` is never cancelled; `stop` ends it early."""

    def __init__(self, first: FirstProcess, request: Execute) -> None:
        self._first = first
        self._request = request
        self._pid = 0
        self._running: TransientProcess | None = None
        self._stopping = False
        self._drained = asyncio.Event()

    def stop(self) -> None:
        """Kill it, now or as soon as it runs."""
        self._stopping = True
        if self._running is not None:
            self._running.end()
        if self._pid:
            members = functools.partial(self._first.dependencies.cgroups.processes, self._first.cgroup)
            kill_with_descendants(self._pid, members)

    async def complete(self) -> Exit:
        """Run it to its end."""
        dependencies = self._first.dependencies
        bundle = monitor_directory_of(dependencies.files.execs, new_id(), self._first.container_id)
        bundle.exits.mkdir(mode=0o700, parents=True)
        try:
            process = await executors.foreign.run(f"/etc of container {self._first.container_id}", self._process)
            return await self._run(bundle, process)
        finally:
            discard_tree(bundle.directory)

    def _process(self) -> bytes:
        """The OCI process; its user is looked up in the root as it is mounted now."""
        first, config = self._first, self._request.config
        try:
            root = os.open(f"/proc/{first.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise Conflict("the container has ended") from error
        try:
            user = lookup_user(root, config.User)
        finally:
            os.close(root)
        settings = first.dependencies.config
        made = exec_process(
            config,
            ContainerConfig(),
            first.host,
            user,
            facts=first.dependencies.facts,
            hostname=first.hostname,
            no_new_privileges=settings.no_new_privileges,
            default_ulimits=settings.default_ulimits,
        )
        return msgspec.json.encode(made)

    async def _run(self, bundle: MonitorDirectory, process: bytes) -> Exit:
        try:
            launched, connection = await executors.launch.run(self._launch, bundle, process)
        except CreateFailed as refused:
            command = (self._request.config.Cmd or [""])[0]
            raise failure(self._first.runtime.name, str(refused), command, during="exec") from refused
        dependencies = self._first.dependencies
        monitor = dependencies.monitor.hold(launched.monitor_pid)
        assert connection is not None
        console = Console(connection, self._write, self._drained.set)
        held = dependencies.monitor.hold_child(launched.pid, launched.monitor_pid)
        self._running = running = TransientProcess(console, bundle, held)
        try:
            self._pid = launched.pid
            if self._stopping:
                self.stop()
            self._request.opened(running)
            await conmon.wait_exit_notification(launched.exit_pipe)
            end = await conmon.ended(monitor, bundle)
            await self._drained.wait()
        finally:
            running.let_go()
            console.close()
        return end if end is not None else conmon.unrecorded_exit(bundle, killed=self._stopping)

    def _launch(self, bundle: MonitorDirectory, process: bytes) -> tuple[CreateResult, socket.socket | None]:
        config = self._request.config
        stdio = StdioPlan(terminal=config.Tty, stdin=config.AttachStdin, keep_stdin_open=False)
        launch = ExecLaunch(self._first.runtime, bundle, stdio, attach=True, null=self._first.dependencies.null)
        try:
            check_launchable((config.Cmd or [""])[0], config.WorkingDir)
            bundle.config.write_bytes(process)
        except BaseException:
            launch.abandon()
            raise
        return launch.run(process)

    def _write(self, stream: int, data: bytes) -> None:
        self._request.output(STREAMS[stream], data)
