"""Processes: spawning without a fork of the engine, pidfds instead of pids.

A pid may be reused the moment its process is reaped; a pidfd (pidfd_open(2)) names one process for ever, can be
polled for its end, and signals nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from darse.core import trace
from darse.linux.descriptors import DescriptorClosed, FileDescriptor
from darse.linux.proc.posix_spawn import change_directory, close_from, duplicate, open_file, posix_spawn

_NULL: Final = "/dev/null"
# sched.h of the kernel: the process has begun to end.
_PF_EXITING: Final = 0x4


def spawn(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    descriptors: Mapping[int, int],
    *,
    stderr: Path = Path(_NULL),
    directory: str | None = None,
) -> int:
    """Start a program and return its pid. Blocks until it is executed, without the interpreter's lock. Raises OSError.

    `arguments[0]` is an absolute path. `descriptors` maps numbers in the child to descriptors of ours; where they do
    not say otherwise stdin and stdout are /dev/null, and `stderr` is a file that is created. It has no others. It
    begins in `directory`, or where the engine is. posix_spawn(3) shares memory with the child until it executes, so
    the cost does not grow with the engine.
    """
    actions = [
        open_file(0, _NULL, os.O_RDONLY),
        open_file(1, _NULL, os.O_WRONLY),
        open_file(2, str(stderr), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600),
    ]
    if directory is not None:
        actions.append(change_directory(directory))
    with contextlib.ExitStack() as lifted:
        # One of ours may have a number that another one is to get.
        above = max(descriptors, default=2) + 1
        for theirs, ours in descriptors.items():
            copy = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, above) if ours < above else ours
            if copy != ours:
                lifted.callback(os.close, copy)
            # dup2 drops close-on-exec in the child only, so that what other threads spawn inherits nothing of ours.
            actions.append(duplicate(copy, theirs))
        actions += close_from(above)
        with trace.step("process", f"spawn {os.path.basename(arguments[0])}", *arguments):
            return posix_spawn(arguments[0], arguments, environment, actions)


def parent_of(pid: int) -> int | None:
    """Return the pid of a process's parent, or None when there is no such process."""
    found = _parent_and_session(pid)
    return found[0] if found else None


def _parent_and_session(pid: int) -> tuple[int, int] | None:
    fields = _stat(pid)
    return (int(fields[1]), int(fields[3])) if fields is not None else None


def _stat(pid: int) -> list[bytes] | None:
    """A process's state, parent, group, session and so on; see proc_pid_stat(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses and may itself contain anything.
    return stat.rpartition(b")")[2].split()


def runs(pid: int, parent: int) -> bool:
    """Whether a child of `parent` has this pid and is not about to end: it is not gone, nor another's, nor a zombie.

    The first process of a pid namespace takes its time: it waits for the end of all others of the namespace
    (pid_namespaces(7)), and they have been killed before it is a zombie.
    """
    fields = _stat(pid)
    if fields is None or int(fields[1]) != parent or fields[0] in (b"Z", b"X"):
        return False
    return not int(fields[6]) & _PF_EXITING and not _is_killed(pid)


def _is_killed(pid: int) -> bool:
    """Whether a SIGKILL is on its way to a process; see proc_pid_status(5)."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True
    pending = (line.split()[1] for line in status.splitlines() if line.startswith((b"SigPnd:", b"ShdPnd:")))
    return any(int(signals, 16) & 1 << signal.SIGKILL - 1 for signals in pending)


def kill_with_descendants(pid: int, members: Callable[[], Iterable[int]]) -> None:
    """SIGKILL a process, the rest of its session, and all that descend from these, as long as new ones appear.

    `members()` gives the pids among which to look, those of the process's cgroup, say.
    """
    first = _parent_and_session(pid)
    session = first[1] if first else 0
    doomed = {pid}
    signalled: set[int] = set()
    while True:
        family = {one: found for one in members() if (found := _parent_and_session(one)) is not None}
        size = 0
        while size != len(doomed):
            size = len(doomed)
            doomed |= {one for one, (parent, its) in family.items() if parent in doomed or (session and its == session)}
        new = doomed & family.keys() - signalled
        if not new:
            return
        for one in new:
            _kill_if_still(one, family[one])
        signalled |= new


def _kill_if_still(pid: int, seen: tuple[int, int]) -> None:
    """SIGKILL a process unless its pid has become another's."""
    with contextlib.suppress(ProcessLookupError):
        process = Process(pid)
        try:
            found = _parent_and_session(pid)
            # A parent that ended meanwhile leaves its children to another.
            if found is not None and found[1] == seen[1]:
                process.send(signal.SIGKILL)
        finally:
            process.close()


def command_of(pid: int) -> list[str]:
    """Return a process's argument vector; empty when there is no such process."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [part.decode(errors="surrogateescape") for part in raw.split(b"\0")[:-1]]


class Process:
    """A process, held by its pidfd."""

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError when there is no such process."""
        self.pid = pid
        self._pidfd = FileDescriptor(os.pidfd_open(pid))

    @classmethod
    def start(
        cls,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        descriptors: Mapping[int, int],
        *,
        directory: str | None = None,
    ) -> Process:
        """Start a program as `spawn` does, and hold it, to be reaped. Raises OSError, and then nothing runs."""
        pid = spawn(arguments, environment, descriptors, directory=directory)
        try:
            return cls(pid)
        except OSError:  # no descriptor is left
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def send(self, number: int) -> None:
        """Send a signal. Raises ProcessLookupError when the process has ended, or was let go of."""
        if self._pidfd.closed:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        name = signal.Signals(number).name if number in signal.Signals._value2member_map_ else str(number)
        with trace.step("signal", f"{name} to process {self.pid}", "kill", "-s", str(number), str(self.pid)):
            signal.pidfd_send_signal(self._pidfd.number, number)

    async def wait(self) -> None:
        """Return when the process has ended; any number may wait. Raises DescriptorClosed."""
        await self._pidfd.readable()

    async def ends_within(self, seconds: float) -> bool:
        """Whether the process has ended, or does within `seconds`. Raises DescriptorClosed."""
        try:
            async with asyncio.timeout(seconds):
                await self.wait()
        except TimeoutError:
            return False
        return True

    def await_end(self, seconds: float) -> bool:
        """Block until the process has ended, or `seconds` are over; return whether it has. Raises DescriptorClosed."""
        return bool(select.select([self._pidfd.number], [], [], seconds)[0])

    def reap(self) -> None:
        """Collect the ended process where it is our child; init collects the others. Blocks until it has ended.

        It does nothing after `close`: of several who waited, one has done it.
        """
        with contextlib.suppress(ChildProcessError, DescriptorClosed):
            os.waitid(os.P_PIDFD, self._pidfd.number, os.WEXITED)

    def close(self) -> None:
        """Let go of the pidfd; who still waits hears so."""
        self._pidfd.close()
