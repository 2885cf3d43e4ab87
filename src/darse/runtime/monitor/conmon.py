"""conmon, the monitor of one container or one exec: it owns the stdio, writes the log and records the exit status.

conmon outlives the engine, so all its input is in files: `attach` (a SOCK_SEQPACKET socket; each message of
output begins with a byte naming the stream), `ctl` (a fifo that takes terminal sizes), `oom`, and the exit file,
whose modification time is when the process ended. The messages on the pipes at launch are those of API version 1.

See conmon(8) and src/ of github.com/containers/conmon, version 2.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import tempfile
import time
from pathlib import Path

import msgspec

from darse.core.errors import Conflict, SystemFault
from darse.core.exhaustion import exhausted
from darse.linux.descriptors import DescriptorClosed, FileDescriptor
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import NotRegular, read_regular
from darse.linux.proc.process import command_of, spawn
from darse.runtime.monitor import HeldProcess

STDOUT = 2
STDERR = 3
#: The directory of the exec root in which each monitor that waits for a terminal has one of its own, with its socket.
HANDOVERS = "tty"
_SUN_PATH = 107
_RETRY_SECONDS = 0.25
_DYING_SECONDS = 1.0
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class MonitorDirectory(msgspec.Struct, frozen=True):
    """The directory of one conmon, and the names of its files."""

    directory: Path
    exits: Path
    container_id: str

    @property
    def config(self) -> Path:
        """The OCI spec, or an exec's process."""
        return self.directory / "config.json"

    @property
    def rootfs(self) -> Path:
        """Where the container's root is mounted, in the container's monitor's mount namespace only."""
        return self.directory / "rootfs"

    @property
    def container_pid(self) -> Path:
        """The pid of the container's or exec's process."""
        return self.directory / "pid"

    @property
    def handovers(self) -> Path:
        """Where terminals are handed over: not below `directory`, for a socket's path has at most 108 bytes."""
        return self.directory.parents[1] / HANDOVERS

    @property
    def monitor_log(self) -> Path:
        """What conmon itself prints."""
        return self.directory / "conmon.log"

    @property
    def exit_file(self) -> Path:
        """The exit status; conmon names it after the container."""
        return self.exits / self.container_id

    @property
    def oom_file(self) -> Path:
        """Present when the OOM killer has killed a process of the container."""
        return self.directory / "oom"


class Exit(msgspec.Struct, frozen=True):
    """How a monitored process ended: its status, and when, in nanoseconds since the epoch."""

    code: int
    finished_ns: int
    oom_killed: bool


class StdioPlan(msgspec.Struct, frozen=True):
    """What conmon does with the process's stdio."""

    terminal: bool
    stdin: bool
    keep_stdin_open: bool


class _Sync(msgspec.Struct):
    data: int
    message: str = ""


class CreateFailed(Exception):
    """The runtime could not create the process; the argument is what it printed."""


class MonitorExited(SystemFault):
    """conmon ended without a word."""


class MonitorUnavailable(Conflict):
    """conmon takes no messages: the process has just ended."""


class CreateResult(msgspec.Struct, frozen=True):
    """A process that waits for its start: its pid and its monitor's, on the host.

    An exec runs already; on `exit_pipe`, a descriptor, its monitor says that it has ended.
    """

    pid: int
    monitor_pid: int
    exit_pipe: int = -1


class ConmonProcess:
    """A conmon that was started: `complete` waits for its word, `abandon` for its end.

    With `attach` (`--exec-attach`) it opens its attach socket and waits for `listening` before it runs the runtime.
    """

    def __init__(
        self, arguments: list[str], bundle: MonitorDirectory, stdio: StdioPlan, *, attach: bool = False
    ) -> None:
        """Spawn conmon. It inherits the calling thread's mount namespace. Raises OSError."""
        self._bundle = bundle
        # conmon removes its socket once it has got the terminal, and leaves it when it is killed before, or gets none.
        self._handover = _make_handover(bundle.handovers) if stdio.terminal else None
        self._sync, their_sync = os.pipe2(os.O_CLOEXEC)
        theirs = {3: their_sync}
        environment = _ENVIRONMENT | {"_OCI_SYNCPIPE": "3"}
        if self._handover is not None:
            environment["TMPDIR"] = str(self._handover)
        self._start = self._attach = -1
        if attach:
            theirs[4], self._start = os.pipe2(os.O_CLOEXEC)
            self._attach, theirs[5] = os.pipe2(os.O_CLOEXEC)
            environment |= {"_OCI_STARTPIPE": "4", "_OCI_ATTACHPIPE": "5"}
        try:
            self._monitor = spawn(arguments, environment, theirs, stderr=bundle.monitor_log)
        except BaseException:
            self._close()
            self._remove_handover()
            raise
        finally:
            # Its death is an end of file here.
            for descriptor in theirs.values():
                os.close(descriptor)

    def listening(self, seconds: float) -> socket.socket | None:
        """Connect to the attach socket and let conmon run the runtime. Blocks: call it in a thread.

        Returns None when conmon has died or says nothing for `seconds`; `complete` tells why. Raises OSError.
        """
        # A conmon that died takes no word.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._start, b"0")
            if _read_line(self._attach, seconds) is not None:
                connection = connect(self._bundle)
                os.write(self._start, b"0")
                return connection
        return None

    def feed(self, pipe: int, content: bytes) -> None:
        """Write to a pipe from which the runtime reads, as long as conmon has not said its word. Blocks."""
        os.set_blocking(pipe, False)
        poll = select.poll()
        poll.register(pipe, select.POLLOUT)
        poll.register(self._sync, select.POLLIN)
        rest = memoryview(content)
        while rest and not self.answered:
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(pipe, rest) :]
                continue
            poll.poll()

    @property
    def answered(self) -> bool:
        """Whether conmon has said its word, or died."""
        return _is_readable(self._sync)

    def complete(self, seconds: float, *, exit_pipe: bool = False, given_up: int | None = None) -> CreateResult:
        """Return when the runtime has created the process. Blocks: call it in a thread.

        With `exit_pipe`, the caller gets the pipe on which conmon reports an exec's end, and closes it. As soon as
        there is something to read from the descriptor `given_up`, conmon is killed, and with it the runtime. Raises
        CreateFailed with what the runtime printed, and MonitorExited when conmon dies or says nothing for `seconds`.
        """
        try:
            answer = _read_line(self._sync, seconds, given_up)
            if exit_pipe and answer is not None and answer.data >= 0:
                word, self._sync = self._sync, -1
                return CreateResult(answer.data, self._monitor, word)
            if answer is None:
                given = given_up is not None and _is_readable(given_up)
                ended = _end_silent(self._monitor, 0 if given else _DYING_SECONDS)
                output = read_regular(self._bundle.monitor_log).decode(errors="replace").strip()
                output = output or "it printed nothing"
                raise MonitorExited(f"conmon ended before the container was created ({ended}): {output}")
            if answer.data < 0:
                os.waitpid(self._monitor, 0)
                raise CreateFailed(answer.message)
            return CreateResult(answer.data, self._monitor)
        finally:
            self._close()
            self._remove_handover()

    def abandon(self, seconds: float) -> None:
        """Wait until a conmon whose runtime cannot but fail has ended; kill it after `seconds`. Blocks."""
        while _read_line(self._sync, seconds) is not None:
            pass
        self.kill()

    def kill(self) -> None:
        """End conmon at once."""
        self._close()
        end_child(self._monitor)
        self._remove_handover()

    def _remove_handover(self) -> None:
        if self._handover is not None:
            remove_tree(self._handover)

    def _close(self) -> None:
        for descriptor in (self._sync, self._start, self._attach):
            if descriptor >= 0:
                os.close(descriptor)
        self._sync = self._start = self._attach = -1


def _make_handover(handovers: Path) -> Path:
    handovers.mkdir(mode=0o700, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="", dir=handovers))


def _read_line(descriptor: int, seconds: float, given_up: int | None = None) -> _Sync | None:
    deadline = time.monotonic() + seconds
    text = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if given_up is not None:
        poll.register(given_up, select.POLLIN)
    while b"\n" not in text:
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if all(number != descriptor for number, _ in ready):
            return None
        piece = os.read(descriptor, 65536)
        if not piece:
            return None
        text += piece
    # A process that ends at once has its exit code on the line after.
    return msgspec.json.decode(text.partition(b"\n")[0], type=_Sync, strict=False)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def end_child(pid: int) -> None:
    """Kill a monitor that this engine has spawned and nobody holds, and reap it. Blocks for a moment."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _end_silent(pid: int, timeout: float) -> str:
    """End a conmon that said nothing, unless it ends by itself within `timeout` seconds; return how it ended."""
    monitor = os.pidfd_open(pid)
    try:
        # Its pipes are closed a moment before it has ended.
        has_ended = bool(select.select([monitor], [], [], timeout)[0])
        if not has_ended:
            signal.pidfd_send_signal(monitor, signal.SIGKILL)
    finally:
        os.close(monitor)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not has_ended:
        return "it hung"
    return f"exit status {code}" if code >= 0 else f"signal {-code}"


def read_exit(bundle: MonitorDirectory) -> Exit | None:
    """Return how the process ended; None while conmon has not said so."""
    try:
        text = read_regular(bundle.exit_file)
        finished_ns = bundle.exit_file.stat().st_mtime_ns
    except (FileNotFoundError, NotRegular):
        return None
    return Exit(int(text) if text.strip().isdigit() else 255, finished_ns, bundle.oom_file.exists())


def running_monitors() -> dict[Path, int]:
    """Find the conmons on this host: the pid of each by its bundle's directory, from their command lines.

    Asked once, when an engine takes over from one that ended: no file could say it as surely, because the engine may
    end between spawning a conmon and writing one.
    """
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            arguments = command_of(int(entry))
            if arguments and os.path.basename(arguments[0]) == "conmon" and "--bundle" in arguments[:-1]:
                found[Path(arguments[arguments.index("--bundle") + 1])] = int(entry)
    return found


async def ended(monitor: HeldProcess, bundle: MonitorDirectory) -> Exit | None:
    """Wait for the monitor's end and return what it recorded; None when it was killed before it could.

    Who closes the monitor ends the wait, too.
    """
    with contextlib.suppress(DescriptorClosed):
        await monitor.wait()
        monitor.reap()
        monitor.close()
    while True:
        try:
            return read_exit(bundle)
        except OSError as error:
            if exhausted(error) is None:
                raise
        # The engine has no descriptor left: the exit is on record, and is read when it has.
        await asyncio.sleep(_RETRY_SECONDS)


async def end_monitor(monitor: HeldProcess, seconds: float) -> bool:
    """Wait until a monitor whose processes have ended has ended, too; return whether it has.

    One that is stopped is continued, and killed after `seconds`.
    """
    try:
        with contextlib.suppress(ProcessLookupError):
            monitor.send(signal.SIGCONT)
        if await monitor.ends_within(seconds):
            return True
        with contextlib.suppress(ProcessLookupError):
            monitor.send(signal.SIGKILL)
        return await monitor.ends_within(seconds)
    except DescriptorClosed:  # somebody else has seen it end
        return True


async def close_ended_monitor(monitor: HeldProcess, seconds: float) -> None:
    """As `end_monitor`; then reap it, and let go of it."""
    if await end_monitor(monitor, seconds):
        monitor.reap()
    monitor.close()


async def wait_exit_notification(word: int) -> None:
    """Wait until an exec's monitor has recorded how its process ended, which is a moment before its own end.

    conmon says so on its pipe after it has written the exit file. `word` is closed.
    """
    pipe = FileDescriptor(word)
    try:
        await pipe.readable()
    finally:
        pipe.close()


def unrecorded_exit(bundle: MonitorDirectory, *, killed: bool) -> Exit:
    """How a process ended whose monitor did not live to say: by SIGKILL where we `killed` it, and nobody knows else.

    255 is what dockerd says of a container that ended while nobody watched.
    """
    return Exit(128 + signal.SIGKILL if killed else 255, time.time_ns(), bundle.oom_file.exists())


def resize(bundle: MonitorDirectory, height: int, width: int) -> None:
    """Set the size of the terminal, in characters. Raises MonitorUnavailable."""
    _send(bundle, b"1 %d %d\n" % (height, width))


def reopen_log(bundle: MonitorDirectory) -> None:
    """Have conmon make its log file anew, after the old one was renamed. Raises MonitorUnavailable.

    It writes to the old one until the new one is at its place, whatever is there before.
    """
    _send(bundle, b"2 0 0\n")


def _send(bundle: MonitorDirectory, message: bytes) -> None:
    try:
        control = os.open(bundle.directory / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MonitorUnavailable(f"the monitor does not listen ({error.strerror})") from error
    try:
        os.write(control, message)
    except OSError as error:
        raise MonitorUnavailable(f"the monitor does not listen ({error.strerror})") from error
    finally:
        os.close(control)


def connect(bundle: MonitorDirectory) -> socket.socket:
    """Connect to conmon's attach socket. Raises OSError when conmon does not listen any more."""
    path = bundle.directory / "attach"
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        if len(os.fsencode(path)) <= _SUN_PATH:
            connection.connect(str(path))
        else:
            # A long path is named through its directory's descriptor (unix(7) limits sun_path to 108 bytes).
            directory = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
            try:
                connection.connect(f"/proc/self/fd/{directory}/{path.name}")
            finally:
                os.close(directory)
    except BaseException:
        connection.close()
        raise
    connection.setblocking(False)
    return connection
