"""Reading a container's log, which conmon writes in the kubernetes file format.

A line is `TIME STREAM TAG TEXT`: the time in RFC 3339 with nanoseconds and offset (+00:00: conmon runs in UTC),
`stdout` or `stderr`, and `F` for a full line or `P` for a piece without a line's end. So every byte that the
container wrote can be told from the log, and times compare as text.

Following waits for inotify(7); nothing polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TypeVar

import msgspec

from darse.containers.logs.files import LogFiles, OpenLog
from darse.containers.streams.output import STDERR, STDOUT, Batch
from darse.core import executors
from darse.linux.descriptors import open_in_thread
from darse.linux.fs.inotify import Inotify

_BLOCK = 256 * 1024
# After so many bytes of lines that nobody wants others get their turn.
_SCAN = 16 * _BLOCK
T = TypeVar("T")


class LogOptions(msgspec.Struct, frozen=True):
    """What to read: streams, times in nanoseconds since the epoch (0: no bound), and `tail` lines (None: all)."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since_ns: int = 0
    until_ns: int = 0
    timestamps: bool = False
    tail: int | None = None
    details: bool = False


class LogStream:
    """One reader of a log."""

    def __init__(
        self,
        files: LogFiles,
        inotify: Inotify,
        options: LogOptions,
        *,
        terminal: bool,
        details: str,
        running: Callable[[], bool],
    ) -> None:
        """`running()` says whether more may be written; `details` is what `--details` puts before each line."""
        self.terminal = terminal
        self._files = files
        self._inotify = inotify
        self._running = running
        self._options = options
        self._format = LineFormatter(options, details, terminal=terminal)
        self._changed = asyncio.Event()
        self._closed = False
        # What is written from now on is later than that, wherever the clock is set to.
        self._since_is_past = options.since_ns <= time.time_ns()
        self._caught_up = False

    async def output(self) -> AsyncIterator[Batch]:
        """Yield the log; with `follow`, until the container has stopped or `close()`, else what is there now."""
        if not self._files.current.parent.exists():
            return
        with contextlib.ExitStack() as opened:
            if self._options.follow:
                watch = self._inotify.subscribe(self._files.current.parent, self._changed.set)
                opened.callback(watch.close)
            log, offset, end = await open_in_thread(self._begin_and_end, lambda begun: _close(begun[0]))
            while log is not None:
                with contextlib.closing(log):
                    async for batch in self._read(log, offset, end):
                        yield batch
                    if self._closed or (end is not None and log.sequence >= end[0]):
                        return
                log, offset = await open_in_thread(functools.partial(self._after, log.sequence), _close), 0

    def _begin_and_end(self) -> tuple[OpenLog | None, int, tuple[int, int] | None]:
        """What `_begin` does, and, without following, where the log ends. Blocks: a file may be unpacked for that."""
        log, offset = self._begin()
        try:
            return log, offset, None if self._options.follow else self._end()
        except BaseException:
            _close(log)
            raise

    def _begin(self) -> tuple[OpenLog | None, int]:
        """Open the file that the reading begins with, and say where in it."""
        first = self._files.oldest()
        if self._options.tail is None:
            return self._after(first - 1), 0
        counter = _TailCounter(self._options)
        log: OpenLog | None = None
        for sequence in range(self._files.newest(), first - 1, -1):
            older = self._files.open(sequence)
            if older is None:
                continue
            if log is not None:
                log.close()
            log = older
            offset = counter.begin_in(log.descriptor)
            if offset is not None:
                return log, offset
        return log, 0

    def _after(self, sequence: int) -> OpenLog | None:
        """Open the next file; those that were dropped meanwhile are passed over."""
        while (sequence := max(sequence + 1, self._files.oldest())) <= self._files.newest():
            log = self._files.open(sequence)
            if log is not None:
                if self._is_too_old(log):
                    log.close()
                    continue
                return log
        return None

    def _is_too_old(self, log: OpenLog) -> bool:
        if self._caught_up and self._since_is_past:
            return False
        return os.fstat(log.descriptor).st_mtime_ns < self._options.since_ns and self._files.has_successor(log)

    def _end(self) -> tuple[int, int] | None:
        """Where the log ends now: a number and an offset. Without following, what comes later is not for us."""
        log = self._files.open(self._files.newest()) or self._files.open(self._files.newest() - 1)
        if log is None:
            return None
        with contextlib.closing(log):
            return log.sequence, os.fstat(log.descriptor).st_size

    async def _read(self, log: OpenLog, offset: int, end: tuple[int, int] | None) -> AsyncIterator[Batch]:
        """Yield what one file has, until it is at its end and grows no more."""
        limit = end[1] if end is not None and end[0] == log.sequence else None
        scan = _Scan(log.descriptor, self._format, offset, limit)
        while True:
            # Asked before reading: what was written before the end is then surely read.
            more_may_come = self._options.follow and self._running() and not self._closed
            rotated, at_end = await _finish(executors.storage.run(self._look, log, scan))
            while not at_end:
                if scan.output:
                    yield scan.output
                if self._closed:
                    return
                at_end = await _finish(executors.storage.run(scan.go_on))
            if rotated or limit is not None:
                return
            if await executors.storage.run(self._files.has_successor, log):
                continue
            if not more_may_come or self._until_is_past():
                return
            self._caught_up = True
            if self._since_is_past:
                self._format.take_all_since()
            await self._changed.wait()
            self._changed.clear()

    def _look(self, log: OpenLog, scan: _Scan) -> tuple[bool, bool]:
        """Whether no more comes in this file, and whether its end is reached now. Blocks."""
        return self._files.has_successor(log), scan.go_on()

    def _until_is_past(self) -> bool:
        return bool(self._options.until_ns) and time.time_ns() > self._options.until_ns

    def container_ended(self) -> None:
        """Wake a follower so that it sees that nothing more comes."""
        self._changed.set()

    async def close(self) -> None:
        """The client is gone."""
        self._closed = True
        self.container_ended()


async def _finish(work: Coroutine[None, None, T]) -> T:
    """Await what a thread does with a descriptor that is closed next; so its end also when this is cancelled."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


class _Scan:
    """Goes through a file in a thread: a filter may drop all of its gigabytes."""

    def __init__(self, descriptor: int, format_: LineFormatter, offset: int, limit: int | None) -> None:
        """Begin at `offset`, and do not read beyond `limit`."""
        self.output: Batch = []
        self._descriptor = descriptor
        self._format = format_
        self._offset = offset
        self._limit = limit
        self._rest = b""

    def go_on(self) -> bool:
        """Read until there is output, or for a while; whether the end was reached."""
        self.output = []
        stop = self._offset + _SCAN
        while self._offset < stop and not self.output:
            size = _BLOCK if self._limit is None else min(_BLOCK, self._limit - self._offset)
            block = os.pread(self._descriptor, size, self._offset)
            if not block:
                return True
            self._offset += len(block)
            *lines, self._rest = (self._rest + block).split(b"\n")
            self.output = self._format.lines(lines)
        return False


def _close(log: OpenLog | None) -> None:
    if log is not None:
        log.close()


class LineFormatter:
    """Turns lines of the file into what the container wrote, with stamps and details before it where asked for."""

    def __init__(self, options: LogOptions, details: str, *, terminal: bool) -> None:
        """With a `terminal` there is one stream, so that lines need not stay apart: that is half the time."""
        self._terminal = terminal
        self._streams = {b"stdout": STDOUT} if options.stdout else {}
        if options.stderr:
            self._streams[b"stderr"] = STDERR
        self._since = log_time(options.since_ns) if options.since_ns else b""
        self._until = log_time(options.until_ns) if options.until_ns else b""
        self._timestamps = options.timestamps
        self._details = details.encode() + b" " if options.details else b""
        self._prefixed = bool(self._timestamps or self._details)
        self._at_line_start = {STDOUT: True, STDERR: True}

    def take_all_since(self) -> None:
        """Let every line pass that `until` lets: what comes is later than `since`, though its stamp may not be."""
        self._since = b""

    def lines(self, lines: list[bytes]) -> Batch:
        """Return the output for whole lines of the file."""
        output: Batch = []
        for line in lines:
            parts = line.split(b" ", 3)
            if len(parts) != 4:
                continue  # torn by a crash of the host; conmon writes whole lines
            moment, stream_name, tag, text = parts
            # Not the end: the clock may have been set back after this line.
            if moment < self._since or (self._until and moment > self._until):
                continue
            stream = self._streams.get(stream_name)
            if stream is None:
                continue
            # The tag is F, or F and more, where the line is at its end.
            full = tag[:1] == b"F"
            if self._prefixed:
                text = self._prefix(moment, stream, full=full) + text
            output.append((stream, text + b"\n" if full else text))
        if self._terminal and output:
            return [(STDOUT, b"".join([data for _, data in output]))]
        return output

    def _prefix(self, moment: bytes, stream: int, *, full: bool) -> bytes:
        """What stands before a piece of a line: something before the first only."""
        begins, self._at_line_start[stream] = self._at_line_start[stream], full
        if not begins:
            return b""
        return (moment[:-6] + b"Z " if self._timestamps else b"") + self._details


def log_time(nanoseconds: int) -> bytes:
    """A time since the epoch as conmon writes it."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}+00:00").encode()


class _TailCounter:
    """Counts lines from the end of a log, newest file first, to find where its last `tail` lines begin."""

    def __init__(self, options: LogOptions) -> None:
        self._left = options.tail or 0
        self._streams = {name for name, on in ((b"stdout", options.stdout), (b"stderr", options.stderr)) if on}
        self._newest = True

    def begin_in(self, descriptor: int) -> int | None:
        """Return the offset in this file at which the tail begins; None when it begins in an older one."""
        end = os.fstat(descriptor).st_size
        if self._newest and self._left == 0:
            return end
        for offset, line in _lines_backwards(descriptor, end):
            parts = line[:64].split(b" ", 3)
            if len(parts) < 3 or parts[1] not in self._streams:
                continue
            # An unfinished line (a prompt) at the very end counts as one.
            if parts[2].startswith(b"F") or self._newest:
                if self._left == 0:
                    return offset + len(line) + 1
                self._left -= 1
            self._newest = False
        return None


def _lines_backwards(descriptor: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line without its end) from the last line to the first."""
    tail = b""
    position = end
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        block = os.pread(descriptor, size, position) + tail
        lines = block.split(b"\n")
        offset = position + len(block)
        for index in range(len(lines) - 1, 0, -1):
            offset -= len(lines[index])
            if lines[index]:
                yield offset, lines[index]
            offset -= 1
        tail = lines[0]
    if tail:
        yield 0, tail
