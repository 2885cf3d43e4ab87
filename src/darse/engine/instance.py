"""One engine on a pair of roots, and in a pidfile.

The locks are flock(2) on the roots' own directories: they hold for as long as the directories are there, whatever is
deleted in them. The file `lock` beside is locked, too, for engines that know only that one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darse.core.config import EngineConfig
from darse.core.errors import SystemFault
from darse.linux.fs.files import open_own
from darse.linux.proc.process import command_of

_LOCK_SECONDS = 2.0
_log = logging.getLogger("darse.engine")


@contextmanager
def only_engine(config: EngineConfig) -> Iterator[None]:
    """Hold the locks of the roots: two engines on one would destroy each other's work. Raises SystemFault."""
    with contextlib.ExitStack() as held:
        for option, directory in (("data-root", config.data_root), ("exec-root", config.exec_root)):
            try:
                config.make_roots()
                root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                held.callback(os.close, root)
                file = held.enter_context(open(directory / "lock", "wb", opener=open_own))
            except OSError as error:
                raise SystemFault(f"cannot use {directory}: {error.strerror or error}") from error
            if os.path.samefile(config.data_root, config.exec_root):
                raise SystemFault(
                    f"--data-root and --exec-root are the same directory, {directory}: each needs its own"
                )
            try:
                with contextlib.suppress(_NotLockable):
                    _lock_within(root, _LOCK_SECONDS)
                _lock_within(file.fileno(), _LOCK_SECONDS)
            except TimeoutError:
                raise SystemFault(f"another engine runs on {directory}: stop it, or use another --{option}") from None
        yield


class _NotLockable(Exception):
    """The file system has no locks of directories: network file systems make them of fcntl(2)'s."""


def _lock_within(descriptor: int, seconds: float) -> None:
    """Take a lock, waiting for it a little: a child that an engine was just spawning when it was killed holds the lock
    until it has executed its program. Raises TimeoutError. For the main thread, before there is an event loop.
    """

    def too_late(_number: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP):
            raise _NotLockable from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def pidfile(config: EngineConfig) -> Iterator[None]:
    """Have the engine's process id in the file that `--pidfile` names; nothing without one.

    Raises SystemFault, in dockerd's words, also when the file names an engine that runs.
    """
    path = config.pidfile
    if path is None:
        yield
        return
    if path.is_fifo():
        raise SystemFault(f"cannot write the pidfile {path}: it is not a regular file")
    holder = _holder(path)
    if holder:
        raise SystemFault(
            f"failed to start daemon, ensure darsed is not running or delete {path}: process with PID {holder} is "
            "still running"
        )
    content = f"{os.getpid()}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise SystemFault(f"cannot write the pidfile {path}: {error.strerror or error}") from error
        # On a full disk, too, the engine starts: it is what makes room.
        _log.warning("cannot write the pidfile %s: %s; the engine runs without it", path, error.strerror)
        with contextlib.suppress(OSError):
            path.unlink()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text() == content:
                path.unlink()


def _holder(path: Path) -> int:
    """The process that a pidfile names, if it is an engine; 0 when it is not: ids are given to others after a while."""
    try:
        pid = int(path.read_text())
    except (OSError, ValueError):
        return 0
    if pid == os.getpid():
        return 0
    words = command_of(pid)
    is_engine = any(os.path.basename(word) == "darsed" or word == "darse.daemon" for word in words[:8])
    return pid if is_engine else 0
