"""Rotation: a log that has grown to its limit gets a number, and conmon begins a new one.

No line is lost or doubled: conmon writes on to the renamed file until it has made the new one, between two writes of
its only thread. When the engine dies between the two steps, the next one takes the second; what grew while no engine
ran is rotated when one does.

A size is looked at when inotify says that the file has changed, and then not before it can have grown to its limit:
an idle log costs nothing, and a busy one a few looks per rotation.

All that waits for the disk is done in threads, for each log one thing after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Protocol

from darse.containers.dependencies import Dependencies
from darse.containers.logs.drivers import Retention, retention
from darse.containers.logs.files import LogFiles
from darse.containers.model import Container
from darse.core import executors
from darse.core.locks import KeyedLocks
from darse.linux.fs.inotify import Subscription
from darse.runtime.monitor import conmon
from darse.runtime.monitor.conmon import MonitorDirectory

# More than conmon writes in a second, in bytes; a wrong guess costs an overshoot, not a line.
_FASTEST_GROWTH = 1_000_000_000
_SHORTEST_PAUSE = 0.005


class Sender(Protocol):
    """Sends a log to another place."""

    #: The number of the first file that may still be asked for.
    needs: int


class UnsentLogs:
    """The logs that are still to be sent: they are kept longer than their options say."""

    def __init__(self) -> None:
        self._senders: dict[str, Sender] = {}

    def hold(self, container_id: str, sender: Sender) -> None:
        """Keep what the sender of a container's log needs."""
        self._senders[container_id] = sender

    def release(self, container_id: str) -> None:
        """All of a log was sent, or nobody takes it."""
        del self._senders[container_id]

    def first_needed(self, container_id: str) -> int | None:
        """The number of the first file of a log that was not sent yet; None when nothing is to be sent."""
        sender = self._senders.get(container_id)
        return sender.needs if sender is not None else None


class LogRotation:
    """Rotates the logs of the containers that run."""

    def __init__(self, dependencies: Dependencies, unsent: UnsentLogs) -> None:
        """`unsent` knows which files are still to be sent somewhere."""
        self._dependencies = dependencies
        self._unsent = unsent
        self._logs: dict[str, _RotatedLog] = {}
        self._work: set[asyncio.Task[None]] = set()
        #: By container: whoever renames or removes files of a log holds the lock.
        self.turns = KeyedLocks()

    def started(self, container: Container) -> None:
        """Watch the log of a container from now on, and finish what an engine before this one has begun."""
        kept = retention(container.record.host.LogConfig)
        if kept.max_size == 0:
            return
        files = self._dependencies.files.of(container.id)
        log = _RotatedLog(self, self._dependencies, container.id, LogFiles(files.log), files.bundle, kept)
        self._logs[container.id] = log
        log.begin()

    def ended(self, container: Container) -> None:
        """Stop watching; a rotation that conmon did not live to see is finished without it."""
        log = self._logs.pop(container.id, None)
        if log is not None:
            log.stop()
            self.tidy(container.id)

    def removed(self, container: Container) -> None:
        """Its files go with the others."""

    def tidy(self, container_id: str) -> None:
        """Keep no more of a log than its options say: it has ended, or files of it were sent to where it goes."""
        container = self._dependencies.store.find(container_id)
        if container is not None:
            files = LogFiles(self._dependencies.files.of(container_id).log)
            self.begin(self._tidy(container_id, files, retention(container.record.host.LogConfig)))

    async def _tidy(self, container_id: str, files: LogFiles, kept: Retention) -> None:
        async with self.turns.hold(container_id):
            await self.retire(container_id, files, kept)

    async def retire(self, container_id: str, files: LogFiles, kept: Retention) -> None:
        """Drop what is too much and is not waiting to be sent; compress the rest. Call it in the log's turn."""
        needed = self._unsent.first_needed(container_id)
        await executors.storage.run(_drop, files, kept, needed)
        if kept.compress:
            self.begin(executors.storage.run(files.compress, needed))

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Work on a log that nobody waits for; `close` does."""
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, FileNotFoundError):
                return  # the container was removed, or the file dropped, meanwhile
            self._dependencies.log.error("rotating or compressing a log failed", exc_info=error)

    async def close(self) -> None:
        """Stop watching all logs, and wait for what is being rotated or compressed."""
        for log in self._logs.values():
            log.stop()
        self._logs.clear()
        while self._work:  # the end of one may begin another
            await asyncio.wait(self._work)


class _RotatedLog:
    """The log of one running container."""

    def __init__(
        self,
        rotation: LogRotation,
        dependencies: Dependencies,
        container_id: str,
        files: LogFiles,
        bundle: MonitorDirectory,
        kept: Retention,
    ) -> None:
        self._rotation = rotation
        self._container_id = container_id
        self._dependencies = dependencies
        self._files = files
        self._bundle = bundle
        self._kept = kept
        self._watch: Subscription | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._seen = -1
        # Between telling conmon to begin a new file and its appearing.
        self._awaits_file = False
        self._stopped = False
        # Whether it is being looked at, and is to be looked at once more then.
        self._looking = self._again = False

    def begin(self) -> None:
        """Look at once, then whenever the log has changed."""
        self._rotation.begin(self._begin())

    async def _begin(self) -> None:
        async with self._rotation.turns.hold(self._container_id):
            if self._stopped:
                return
            if await executors.storage.run(self._files.current.exists):
                await self._retire()
            else:
                self._reopen()
        self._listen()
        self._look()

    def stop(self) -> None:
        """Neither listen nor look any more."""
        self._stopped = True
        self._unwatch()
        self._cancel_timer()

    def _listen(self) -> None:
        if self._watch is None and not self._stopped:
            self._watch = self._dependencies.inotify.subscribe(self._files.current.parent, self._look)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _look(self) -> None:
        """Look soon, in the log's turn; once more when this comes while it is looked at."""
        self._again = True
        if not self._looking:
            self._looking = True
            self._rotation.begin(self._look_until_seen())

    async def _look_until_seen(self) -> None:
        try:
            while self._again and not self._stopped:
                self._again = False
                async with self._rotation.turns.hold(self._container_id):
                    await self._look_once()
        finally:
            self._looking = False

    async def _look_once(self) -> None:
        """Rotate, or listen on, or look again when the limit can have been reached."""
        size = await executors.storage.run(_size, self._files.current)
        if size is None or self._stopped:
            return  # conmon is about to make it: we are listening
        if self._awaits_file:
            self._awaits_file = False
            await self._retire()
        if size >= self._kept.max_size:
            await executors.storage.run(self._files.rotate)
            self._reopen()
            self._seen = -1
            self._listen()
        elif size == self._seen or self._seen < 0:
            self._seen = size
            self._listen()
        else:
            self._seen = size
            self._unwatch()
            self._look_later(max((self._kept.max_size - size) / _FASTEST_GROWTH, _SHORTEST_PAUSE))

    def _look_later(self, pause: float) -> None:
        self._cancel_timer()
        if not self._stopped:
            self._timer = asyncio.get_running_loop().call_later(pause, self._look_again)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._timer = None
        # Listen first, then look: a change in between is one too many, never one too few.
        self._listen()
        self._look()

    def _reopen(self) -> None:
        self._awaits_file = True
        with contextlib.suppress(conmon.MonitorUnavailable):  # it has ended: the next run begins a new file
            conmon.reopen_log(self._bundle)

    async def _retire(self) -> None:
        """conmon writes to the new file: the old one is subject to retention."""
        await self._rotation.retire(self._container_id, self._files, self._kept)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _drop(files: LogFiles, kept: Retention, needed: int | None) -> None:
    """Remove rotated files of which there are too many; those from the number `needed` on are still to be sent."""
    numbers = list(files.rotated())
    # Without a current file, the newest numbered one is in its place.
    allowed = kept.max_files - 1 if files.current.exists() else kept.max_files
    for sequence in numbers[: max(len(numbers) - allowed, 0)]:
        if needed is not None and sequence >= needed:
            break
        if sequence == numbers[-1]:
            files.empty(sequence)
        else:
            files.remove_rotated(sequence)
