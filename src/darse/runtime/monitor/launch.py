"""Launching a container: its files, its mount namespace, its root, its monitor, in that order and in one thread.

The thread lets the caller make the files that the container stands on, for a disk may be busy for long. It leaves the
host's mount namespace, mounts the root file system there, lets the caller write the OCI spec (which needs the mounted
root to look up users) and spawns conmon, which inherits the namespace. When conmon and the container are gone the
kernel drops the mount; there is nothing for a crash to leave behind.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from darse.core import trace
from darse.linux.fs.mounts import NamespaceThreads, mount_overlay
from darse.linux.proc.process import Process, parent_of
from darse.runtime.monitor import HeldProcess
from darse.runtime.monitor.conmon import (
    ConmonProcess,
    CreateResult,
    MonitorDirectory,
    StdioPlan,
    end_child,
    running_monitors,
)
from darse.runtime.monitor.null_device import NullDevice
from darse.runtime.oci import OCIRuntime

CONMON = "/usr/bin/conmon"
#: The step in which conmon starts the runtime and that does its work.
CREATES = "the runtime creates the process"
# The runtime answers within milliseconds; only a hung file system or runtime takes longer than this.
_LAUNCH_SECONDS = 120.0


class RootMount(msgspec.Struct, frozen=True):
    """The directories of a container's overlay, topmost lower one first.

    On id-mapped mounts `owner` are the user and group of the host that are the container's root. A `volatile` one is
    never synced, see `mount_overlay`.
    """

    lower: Sequence[str]
    upper: str
    work: str
    owner: tuple[int, int] | None = None
    volatile: bool = False


class ContainerLaunch(msgspec.Struct, frozen=True):
    """What a container is launched with.

    `prepare()` makes the bundle's directory, and whatever else waits for a disk. `write_spec(root_fd)` writes
    config.json, given a descriptor of the mounted root. Without a `log_path` the output goes to those who are attached
    only. With `restore`, the directory of a checkpoint, its processes go on at once from where they were.
    """

    runtime: OCIRuntime
    files: MonitorDirectory
    name: str
    root: RootMount
    stdio: StdioPlan
    prepare: Callable[[], None]
    write_spec: Callable[[int], None]
    log_path: Path | None
    restore: Path | None = None


def launch_container(threads: NamespaceThreads, launch: ContainerLaunch, given_up: int) -> CreateResult:
    """Create a container, to be started with `OCIRuntime.start`. Blocks: run it in `threads`.

    The monitor and the runtime are killed as soon as there is something to read from the descriptor `given_up`.
    Raises what `prepare` and `write_spec` raise, OSError for a failed mount, and CreateFailed and MonitorExited as
    `ConmonProcess.complete` does.
    """
    files, restore = launch.files, launch.restore
    arguments = [
        *_common(launch.runtime, files, launch.stdio),
        *("--name", launch.name),
        *("--log-path", f"k8s-file:{launch.log_path}" if launch.log_path is not None else "off"),
        *("--persist-dir", str(files.directory)),
        "--no-sync-log",
        *(["--restore", str(restore)] if restore is not None else []),
    ]
    words = ("--bundle", str(files.directory), "--pid-file", str(files.container_pid), files.container_id)
    verb = ("restore", "--image-path", str(restore), "--detach") if restore is not None else ("create",)
    command = launch.runtime.command(*verb, *words)
    root = launch.root
    launch.prepare()
    with threads.private_mounts():
        mount_overlay(root.lower, root.upper, root.work, str(files.rootfs), root.owner, volatile=root.volatile)
        root_fd = os.open(files.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            launch.write_spec(root_fd)
        finally:
            os.close(root_fd)
        with trace.step("process", CREATES, *command):
            return ConmonProcess(arguments, files, launch.stdio).complete(_LAUNCH_SECONDS, given_up=given_up)


class Conmon:
    """conmon(8) as the monitor, see `darse.runtime.monitor.Monitor`."""

    def __init__(self, threads: NamespaceThreads) -> None:
        self._threads = threads

    async def launch_container(self, launch: ContainerLaunch) -> CreateResult:
        """See `Monitor.launch_container`."""
        given_up = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            work = self._threads.begin(
                functools.partial(launch_container, self._threads, launch, given_up),
                stop=functools.partial(os.eventfd_write, given_up, 1),
            )
            try:
                return await work
            except asyncio.CancelledError:
                if work.exception() is None:
                    end_child(work.result().monitor_pid)
                raise
        finally:
            os.close(given_up)

    def hold(self, pid: int) -> HeldProcess:
        """See `Monitor.hold`."""
        return Process(pid)

    def hold_child(self, pid: int, monitor_pid: int) -> HeldProcess | None:
        """See `Monitor.hold_child`."""
        try:
            process = Process(pid)
        except ProcessLookupError:
            return None
        # Once its monitor has reaped the process the pid may be another's.
        if parent_of(pid) == monitor_pid:
            return process
        process.close()
        return None

    def running(self) -> dict[Path, int]:
        """See `Monitor.running`."""
        return running_monitors()


class ExecLaunch:
    """An exec whose monitor is there and whose runtime waits for the process that it is to run.

    The runtime has read all about the container by then, and reads the process from a pipe that only the engine can
    write to: with the engine it ends, and the runtime finds nothing to run.
    """

    def __init__(
        self, runtime: OCIRuntime, bundle: MonitorDirectory, stdio: StdioPlan, *, attach: bool, null: NullDevice
    ) -> None:
        """Start them; with `attach`, connect to the console. Blocks: call it in a thread. Raises OSError."""
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        self._console: socket.socket | None = None
        arguments = [
            *_common(runtime, bundle, stdio),
            "--exec",
            # An open of a pipe by this name waits for no writer, unlike one of a fifo (proc_pid_fd(5)).
            *("--exec-process-spec", f"/proc/{os.getpid()}/fd/{self._read}"),
            *("--log-path", "off"),
            *(["--exec-attach"] if attach else []),
        ]
        try:
            words = ("--detach", "--pid-file", str(bundle.container_pid), "--process", str(bundle.config))
            self._command = runtime.command("exec", *words, bundle.container_id)
            self._monitor_process = null.call_with_device(
                lambda: ConmonProcess(arguments, bundle, stdio, attach=attach), bundle.directory
            )
            if attach:
                try:
                    self._console = self._monitor_process.listening(_LAUNCH_SECONDS)
                except BaseException:
                    self._monitor_process.kill()
                    raise
        except BaseException:
            self._close_pipe()
            raise

    @property
    def failed(self) -> bool:
        """Whether the runtime has given up before it knew what to run."""
        return self._monitor_process.answered

    def run(self, process: bytes) -> tuple[CreateResult, socket.socket | None]:
        """Run an OCI process, as JSON; return it with its console. Blocks: call it in a thread.

        The console was connected before the process ran, so it misses nothing. Raises as `ConmonProcess.complete` does.
        """
        try:
            self._monitor_process.feed(self._write, process)
            self._close_writer()
            with trace.step("process", CREATES, *self._command):
                launched = self._monitor_process.complete(_LAUNCH_SECONDS, exit_pipe=True)
        except BaseException:
            if self._console is not None:
                self._console.close()
            raise
        finally:
            self._close_pipe()
        return launched, self._console

    def abandon(self) -> None:
        """Run nothing, and return when the monitor has ended. Blocks: call it in a thread."""
        # The runtime may not have opened its pipe yet, which it does by our number: that stays ours until the runtime
        # has ended, or it would read from whatever gets the number next.
        self._close_writer()
        if self._console is not None:
            self._console.close()
        try:
            self._monitor_process.abandon(_LAUNCH_SECONDS)
        finally:
            self._close_pipe()

    def _close_writer(self) -> None:
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    def _close_pipe(self) -> None:
        """Close both ends, once conmon has ended or answered: the runtime, which dies with conmon, has ended then."""
        self._close_writer()
        os.close(self._read)


def _common(runtime: OCIRuntime, bundle: MonitorDirectory, stdio: StdioPlan) -> list[str]:
    arguments = [
        CONMON,
        *("--api-version", "1"),
        *("--cid", bundle.container_id),
        *("--cuuid", bundle.container_id),
        *("--runtime", runtime.program),
        *(word for option in runtime.global_options for word in ("--runtime-arg", option)),
        *("--bundle", str(bundle.directory)),
        *("--container-pidfile", str(bundle.container_pid)),
        *("--exit-dir", str(bundle.exits)),
        "--full-attach",
        # Our own child, not a daemon's: saves a fork, and the engine learns of its end either way.
        "--sync",
    ]
    if stdio.terminal:
        # Without --stdin: conmon would close the terminal, which is one descriptor for both ways, with the input.
        arguments.append("--terminal")
    elif stdio.stdin:
        arguments.append("--stdin")
    if stdio.keep_stdin_open:
        arguments.append("--leave-stdin-open")
    return arguments
