"""Reading a container's log, which conmon writes in the kubernetes file format.

A line is `TIME STREAM TAG TEXT`: the time in RFC 3339 with nanoseconds and offset (+00:00: conmon runs in UTC),
`stdout` or `stderr`, and `F` for a full line or `P` for a piece without a line's end. So every byte that the
container wrote can be told from the log, and times compare as text.

Following waits for inotify(7); nothing polls.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from darse.containers.console import frame
from darse.linux.inotify import IN_MODIFY, Watch

_BLOCK = 256 * 1024
_TIME_LENGTH = len("2026-01-02T03:04:05.123456789+00:00")


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
        self, path: Path, options: LogOptions, *, terminal: bool, details: str, running: Callable[[], bool]
    ) -> None:
        """`running()` says whether more may be written; `details` is what `--details` puts before each line."""
        self.multiplexed = not terminal
        self._path = path
        self._running = running
        self._options = options
        self._format = _Formatter(options, details, terminal=terminal)
        self._watch: Watch | None = None
        self._closed = False

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield the log; with `follow`, until the container has stopped or `close()`."""
        try:
            with open(self._path, "rb") as file:
                if self._options.follow:
                    self._watch = Watch(self._path, IN_MODIFY)
                if self._options.tail is not None:
                    file.seek(_tail_offset(file.fileno(), self._options.tail, self._options))
                async for piece in self._read(file.fileno(), file.tell()):
                    yield piece
        except FileNotFoundError:
            return  # never started: there is no log
        finally:
            if self._watch is not None:
                self._watch.close()

    async def _read(self, descriptor: int, offset: int) -> AsyncIterator[bytes]:
        rest = b""
        while True:
            # Asked before reading: what was written before the end is then surely read.
            more_may_come = self._options.follow and self._running() and not self._closed
            while block := os.pread(descriptor, _BLOCK, offset):
                offset += len(block)
                *lines, rest = (rest + block).split(b"\n")
                if output := self._format.lines(lines):
                    yield output
                if self._format.past_until or self._closed:
                    return
            if not more_may_come or self._until_is_past():
                return
            assert self._watch is not None
            await self._watch.changed()

    def _until_is_past(self) -> bool:
        return bool(self._options.until_ns) and time.time_ns() > self._options.until_ns

    def container_ended(self) -> None:
        """Wake a follower so that it sees that nothing more comes."""
        if self._watch is not None:
            self._watch.wake()

    async def close(self) -> None:
        """The client is gone."""
        self._closed = True
        self.container_ended()


class _Formatter:
    """Turns log lines into what the API sends."""

    def __init__(self, options: LogOptions, details: str, *, terminal: bool) -> None:
        self._wanted = {b"stdout": 1} if options.stdout else {}
        if options.stderr:
            self._wanted[b"stderr"] = 2
        self._since = _log_time(options.since_ns) if options.since_ns else b""
        self._until = _log_time(options.until_ns) if options.until_ns else b""
        self._timestamps = options.timestamps
        self._details = details.encode() + b" " if options.details else b""
        self._terminal = terminal
        self._at_line_start = {1: True, 2: True}
        self.past_until = False

    def lines(self, lines: list[bytes]) -> bytes:
        """Return the output for whole lines of the file."""
        output: list[bytes] = []
        for line in lines:
            parts = line.split(b" ", 3)
            if len(parts) != 4:
                continue  # torn by a crash of the host; conmon writes whole lines
            moment, stream_name, tag, text = parts
            if moment < self._since:
                continue
            if self._until and moment > self._until:
                self.past_until = True
                break
            stream = self._wanted.get(stream_name)
            if stream is None:
                continue
            output.append(self._render(moment, stream, tag, text))
        return b"".join(output)

    def _render(self, moment: bytes, stream: int, tag: bytes, text: bytes) -> bytes:
        full = tag.startswith(b"F")
        prefix = b""
        if self._at_line_start[stream]:
            if self._timestamps:
                prefix = moment[:-6] + b"Z "
            prefix += self._details
        self._at_line_start[stream] = full
        data = prefix + text + (b"\n" if full else b"")
        return data if self._terminal else frame(stream, data)


def _log_time(nanoseconds: int) -> bytes:
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09d}+00:00").encode()


def _tail_offset(descriptor: int, wanted: int, options: LogOptions) -> int:
    """Return where the last `wanted` full lines of the chosen streams begin, reading backwards."""
    end = os.fstat(descriptor).st_size
    if wanted == 0:
        return end
    streams = {name for name, on in ((b"stdout", options.stdout), (b"stderr", options.stderr)) if on}
    # An unfinished line (a prompt) at the end counts as one.
    seen = 0
    newest = True
    for offset, line in _lines_backwards(descriptor, end):
        parts = line[:64].split(b" ", 3)
        if len(parts) < 3 or parts[1] not in streams:
            continue
        if parts[2].startswith(b"F") or newest:
            seen += 1
            if seen > wanted:
                return offset + len(line) + 1
        newest = False
    return 0


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
