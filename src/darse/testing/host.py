"""A host in memory: its processes and cgroups, and the monitor and the OCI runtime that make them.

What a test sets: `host.on_launch` and `host.on_start` are called at these moments, and may raise what the real ones
raise; `host.ignored` are the signals that new processes ignore. `process.exit(code)` ends a process.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darse.core import executors
from darse.linux.descriptors import DescriptorClosed
from darse.runtime.cgroups.hierarchies import Cgroups
from darse.runtime.monitor import HeldProcess
from darse.runtime.monitor.conmon import CreateResult, MonitorDirectory
from darse.runtime.monitor.launch import ContainerLaunch
from darse.runtime.oci.spec import SpecInputs


class FakeProcess:
    """A process of the host."""

    def __init__(self, pid: int, parent: int, ignored: frozenset[int] = frozenset()) -> None:
        self.pid = pid
        self.parent = parent
        self.ignored = ignored
        self.signals: list[int] = []
        self.exit_code: int | None = None
        self.frozen = False
        self.ended = asyncio.Event()
        self.on_exit: Callable[[int], None] | None = None

    def receive(self, number: int) -> None:
        """Be sent a signal: it ends by what it does not ignore."""
        self.signals.append(number)
        fatal = number == signal.SIGKILL or (number in _FATAL and number not in self.ignored and not self.frozen)
        if fatal:
            self.exit(128 + number)

    def exit(self, code: int) -> None:
        """End."""
        if self.exit_code is None:
            self.exit_code = code
            self.ended.set()
            if self.on_exit is not None:
                self.on_exit(code)


_FATAL = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})


class _Held:
    """A process that is held, see `HeldProcess`."""

    def __init__(self, process: FakeProcess) -> None:
        self.pid = process.pid
        self._process = process
        self._closed = asyncio.Event()

    def send(self, number: int) -> None:
        if self._closed.is_set() or self._process.exit_code is not None:
            raise ProcessLookupError
        self._process.receive(number)

    async def wait(self) -> None:
        waits = [asyncio.ensure_future(one.wait()) for one in (self._process.ended, self._closed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if self._closed.is_set():
            raise DescriptorClosed

    async def ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.wait()
        except TimeoutError:
            return False
        return True

    def reap(self) -> None:
        pass

    def close(self) -> None:
        self._closed.set()


class FakeHost:
    """The processes there are."""

    def __init__(self) -> None:
        self.processes: dict[int, FakeProcess] = {}
        #: Monitors by their directories.
        self.monitors: dict[Path, int] = {}
        #: Each container's first process, by the container's id.
        self.containers: dict[str, FakeProcess] = {}
        self.ignored: frozenset[int] = frozenset()
        self.on_launch: Callable[[ContainerLaunch], None] | None = None
        self.on_start: Callable[[str], None] | None = None
        self._pids = itertools.count(100)

    def spawn(self, parent: int = 1) -> FakeProcess:
        """A new process."""
        pid = next(self._pids)
        self.processes[pid] = FakeProcess(pid, parent, self.ignored)
        return self.processes[pid]

    def create(self, files: MonitorDirectory) -> CreateResult:
        """A monitor and its container's process, as they are when the runtime has created the container."""
        monitor = self.spawn()
        process = self.spawn(monitor.pid)
        self.monitors[files.directory] = monitor.pid
        self.containers[files.container_id] = process
        files.container_pid.write_text(str(process.pid))

        def record(code: int) -> None:
            if monitor.exit_code is None:  # one that was killed records nothing
                files.exit_file.write_text(str(code))
                monitor.exit(0)

        process.on_exit = record

        def stop_listing(_: int) -> None:
            self.monitors.pop(files.directory, None)

        monitor.on_exit = stop_listing
        return CreateResult(process.pid, monitor.pid)


class FakeMonitor:
    """A monitor for each container of a host in memory, see `Monitor`."""

    def __init__(self, host: FakeHost) -> None:
        self._host = host

    async def launch_container(self, launch: ContainerLaunch) -> CreateResult:
        """See `Monitor.launch_container`; no spec is written, since there is no root to look into."""
        await asyncio.sleep(0)
        await executors.launch.run(launch.prepare)
        if self._host.on_launch is not None:
            self._host.on_launch(launch)
        launch.runtime.state_directory(launch.files.container_id).mkdir(parents=True)
        (launch.runtime.state_directory(launch.files.container_id) / "exec.fifo").touch()
        return self._host.create(launch.files)

    def hold(self, pid: int) -> HeldProcess:
        """See `Monitor.hold`."""
        process = self._host.processes.get(pid)
        if process is None or process.exit_code is not None:
            raise ProcessLookupError
        return _Held(process)

    def hold_child(self, pid: int, monitor_pid: int) -> HeldProcess | None:
        """See `Monitor.hold_child`."""
        process = self._host.processes.get(pid)
        if process is None or process.parent != monitor_pid or process.exit_code is not None:
            return None
        return _Held(process)

    def running(self) -> dict[Path, int]:
        """See `Monitor.running`."""
        return dict(self._host.monitors)


class FakeRuntime:
    """An OCI runtime of a host in memory, see `OCIRuntime`."""

    def __init__(self, host: FakeHost, root: Path, name: str = "crun") -> None:
        self.name = name
        self.program = f"/nonexistent/{name}"
        self.root = root
        self.arguments: tuple[str, ...] = ()
        self._host = host

    @property
    def global_options(self) -> tuple[str, ...]:
        """See `OCIRuntime.global_options`."""
        return (f"--root={self.root}",)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """See `OCIRuntime.command`."""
        return (self.program, *self.global_options, *arguments)

    def install(self, directory: Path) -> None:
        """Nothing is to be prepared."""

    def uninstall(self) -> None:
        """Nothing is to be undone."""

    def state_directory(self, container_id: str) -> Path:
        """See `OCIRuntime.state_directory`."""
        return self.root / container_id

    def is_created(self, container_id: str) -> bool:
        """See `OCIRuntime.is_created`."""
        return (self.state_directory(container_id) / "exec.fifo").exists()

    async def start(self, container_id: str) -> None:
        """See `OCIRuntime.start`."""
        await asyncio.sleep(0)
        if self._host.on_start is not None:
            self._host.on_start(container_id)
        (self.state_directory(container_id) / "exec.fifo").unlink()

    def delete_state(self, container_id: str) -> None:
        """See `OCIRuntime.delete_state`."""
        directory = self.state_directory(container_id)
        if directory.exists():
            (directory / "exec.fifo").unlink(missing_ok=True)
            directory.rmdir()

    def adapt_spec(self, inputs: SpecInputs, directory: Path) -> SpecInputs:
        """See `OCIRuntime.adapt_spec`."""
        return inputs

    def insert_filter(self, spec: dict[str, Any]) -> bytes | None:
        """See `OCIRuntime.insert_filter`."""
        return None

    def keep_filter(self, container_id: str, profile: bytes) -> None:
        """See `OCIRuntime.keep_filter`."""

    def require_checkpoints(self) -> None:
        """See `OCIRuntime.require_checkpoints`."""


class FakeCgroups(Cgroups):
    """The cgroups of a host in memory: one for each container, whose id is the last part of its path."""

    def __init__(self, host: FakeHost) -> None:
        super().__init__()
        self.hierarchies = ()
        self._host = host
        #: Every cgroup that was removed.
        self.removed: list[str] = []

    def _of(self, path: str) -> list[FakeProcess]:
        process = self._host.containers.get(path.rpartition("/")[2])
        return [process] if process is not None and process.exit_code is None else []

    def freeze(self, path: str, frozen: bool) -> None:
        """See `Cgroups.freeze`."""
        for process in self._of(path):
            process.frozen = frozen

    def thaw(self, path: str) -> None:
        """See `Cgroups.thaw`."""
        self.freeze(path, frozen=False)

    def processes(self, path: str) -> list[int]:
        """See `Cgroups.processes`."""
        return [process.pid for process in self._of(path)]

    def kill(self, path: str) -> list[int]:
        """See `Cgroups.kill`."""
        pids = self.processes(path)
        for process in self._of(path):
            process.receive(signal.SIGKILL)
        return pids

    async def kill_in_thread(self, path: str) -> list[int]:
        """See `Cgroups.kill_in_thread`; processes in memory end in the event loop."""
        return self.kill(path)

    def remove_empty(self, path: str) -> bool:
        """See `Cgroups.remove_empty`."""
        if self._of(path):
            return False
        self.removed.append(path)
        return True

    def remove_tree(self, path: str) -> None:
        """See `Cgroups.remove_tree`."""
        self.remove_empty(path)
