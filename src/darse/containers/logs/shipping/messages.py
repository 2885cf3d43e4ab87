"""From lines of the log file to the messages that receivers get.

conmon ends a piece wherever a read of the pipe ended; that is no concern of a receiver. So pieces are put together
to lines again, and only what is longer than 16 KiB goes in parts, as docker sends it. The parts depend on the bytes
of the line alone: reading the log a second time gives the same messages.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

import msgspec

# docker's: the longest message, in bytes.
LONGEST = 16 * 1024


class Part(msgspec.Struct, frozen=True):
    """Which part of a long line a message is; `ordinal` counts from 1."""

    id: str
    ordinal: int
    last: bool


class Message(msgspec.Struct, frozen=True):
    """A line, or a part of one: when its beginning was read (as in the file), `stdout` or `stderr`, and its bytes."""

    time: bytes
    stream: bytes
    text: bytes
    part: Part | None = None

    @property
    def is_error(self) -> bool:
        """Whether it came from the standard error."""
        return self.stream == b"stderr"


class UnfinishedMessage(msgspec.Struct, frozen=True):
    """The beginning of a line whose end is still to come; `ordinal` is that of its next part."""

    time: bytes
    text: bytes
    ordinal: int = 1


class Assembler:
    """Puts lines together. `unfinished` is all of its memory."""

    def __init__(self, unfinished: dict[str, UnfinishedMessage]) -> None:
        self._unfinished = {stream.encode(): begun for stream, begun in unfinished.items()}

    @property
    def unfinished(self) -> dict[str, UnfinishedMessage]:
        """Lines that have begun, by stream."""
        return {stream.decode(): begun for stream, begun in self._unfinished.items()}

    def messages(self, lines: Iterable[bytes]) -> list[Message]:
        """The messages that these lines of the file complete."""
        found: list[Message] = []
        unfinished = self._unfinished
        for line in lines:
            fields = line.split(b" ", 3)
            if len(fields) != 4:
                continue  # torn by a crash of the host; conmon writes whole lines
            moment, stream, tag, text = fields
            if tag == b"F" and len(text) <= LONGEST and stream not in unfinished:
                found.append(Message(moment, stream, text))
            else:
                self._add(moment, stream, text, found, ends=tag.startswith(b"F"))
        return found

    def flush(self) -> list[Message]:
        """The lines that nobody will finish: the container has ended."""
        found: list[Message] = []
        for stream in list(self._unfinished):
            self._add(b"", stream, b"", found, ends=True)
        return found

    def _add(self, moment: bytes, stream: bytes, text: bytes, found: list[Message], *, ends: bool) -> None:
        begun = self._unfinished.pop(stream, None)
        when, ordinal = moment, 1
        if begun is not None:
            when, ordinal, text = begun.time, begun.ordinal, begun.text + text
        while len(text) > LONGEST:
            found.append(Message(when, stream, text[:LONGEST], Part(_line_id(when, stream), ordinal, last=False)))
            text, ordinal = text[LONGEST:], ordinal + 1
        if not ends:
            self._unfinished[stream] = UnfinishedMessage(when, text, ordinal)
        elif ordinal > 1:
            found.append(Message(when, stream, text, Part(_line_id(when, stream), ordinal, last=True)))
        else:
            found.append(Message(when, stream, text))


def _line_id(when: bytes, stream: bytes) -> str:
    return hashlib.sha256(when + stream).hexdigest()


class Clock:
    """Reads the times of log lines, which mostly share their second."""

    def __init__(self) -> None:
        self._text = b""
        self._seconds = 0

    def seconds(self, moment: bytes) -> int:
        """Whole seconds since the epoch."""
        if moment[:19] != self._text:
            self._text = moment[:19]
            self._seconds = _epoch(self._text)
        return self._seconds

    @staticmethod
    def nanoseconds(moment: bytes) -> int:
        """What is beyond the second, in nanoseconds."""
        return int(moment[20:29])


def _epoch(text: bytes) -> int:
    import calendar  # noqa: PLC0415 - remote drivers only

    return calendar.timegm(time.strptime(text.decode(), "%Y-%m-%dT%H:%M:%S"))
