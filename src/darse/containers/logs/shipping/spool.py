"""The log on disk as the queue of what a receiver has not had yet.

A position says what was delivered, to the message. It is kept beside the log and replaced by rename after each
delivery, so a new engine goes on where the last one was; what had been delivered and not yet noted when an engine was
killed is sent a second time, never not at all.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import msgspec

from darse.containers.logs.files import LogFiles, OpenLog
from darse.containers.logs.shipping.messages import Assembler, Message, UnfinishedMessage
from darse.core import executors
from darse.linux.descriptors import open_in_thread
from darse.linux.fs.files import NotRegular, read_regular, write_atomically

# Bytes of the log that are read at a time: few, for the event loop makes messages of them, and has other work too.
_BLOCK = 64 * 1024


class Position(msgspec.Struct, frozen=True):
    """A place in a log: file, offset in bytes, the lines that have begun before it, and messages to leave out."""

    sequence: int = 0
    offset: int = 0
    unfinished: dict[str, UnfinishedMessage] = msgspec.field(default_factory=dict)
    skip: int = 0


class Batch(msgspec.Struct, frozen=True):
    """Messages that were read together; `end` is where reading goes on."""

    begin: Position
    end: Position
    messages: list[Message]


class Spool:
    """Reads a log from a position. Close it when done."""

    def __init__(self, files: LogFiles, position: Position) -> None:
        self._files = files
        self._position = position
        self._log: OpenLog | None = None

    def move(self, files: LogFiles) -> None:
        """The files are at another place now, all of them."""
        self._files = files

    def close(self) -> None:
        """Let go of the open file."""
        if self._log is not None:
            self._log.close()
            self._log = None

    async def read(self, *, ended: bool) -> Batch | None:
        """Return what comes next, or None at the end of what there is.

        `ended` says that the container has: a line without an end is then whole.
        """
        while True:
            log = self._log or await self._open()
            if log is None:
                return self._rest() if ended else None
            files = self._files
            # To its end: the file is closed next when this is cancelled.
            rotated, block = await executors.storage.run_to_end(self._read_lines, files, log)
            if block:
                batch = self._batch(block)
                if batch.messages:
                    return batch
                continue
            if files is not self._files:
                continue  # they were moved meanwhile: what is next was looked for where it is not
            if not rotated:
                return self._rest() if ended else None
            self.close()
            self._position = msgspec.structs.replace(self._position, sequence=log.sequence + 1, offset=0)

    async def _open(self) -> OpenLog | None:
        while True:
            files = self._files
            find = functools.partial(_find, files, self._position)
            log, position = await open_in_thread(find, lambda found: _close(found[0]))
            if log is not None or files is self._files:  # else they were moved meanwhile
                self._log, self._position = log, position
                return log

    def _read_lines(self, files: LogFiles, log: OpenLog) -> tuple[bool, bytes]:
        """Whether no more comes in this file, and whole lines from the position on; nothing when there is not one."""
        # Asked before reading: what was written before the rotation is then surely read.
        rotated = files.has_successor(log)
        size = _BLOCK
        while True:
            block = os.pread(log.descriptor, size, self._position.offset)
            end = block.rfind(b"\n") + 1
            if end or len(block) < size:
                return rotated, block[:end]
            size *= 2

    def _batch(self, block: bytes) -> Batch:
        begin = self._position
        assembler = Assembler(begin.unfinished)
        messages = assembler.messages(block[:-1].split(b"\n"))
        self._position = Position(begin.sequence, begin.offset + len(block), assembler.unfinished)
        return Batch(begin, self._position, messages[begin.skip :])

    def _rest(self) -> Batch | None:
        begin = self._position
        if not begin.unfinished:
            return None
        messages = Assembler(begin.unfinished).flush()
        self._position = msgspec.structs.replace(begin, unfinished={}, skip=0)
        return Batch(begin, self._position, messages[begin.skip :])


def _find(files: LogFiles, position: Position) -> tuple[OpenLog | None, Position]:
    """Open the file of a position; where retention has removed it, the next one. Blocks."""
    while (number := max(position.sequence, files.oldest())) <= files.newest():
        if number != position.sequence:
            position = Position(number, unfinished=position.unfinished)
        log = files.open(number)
        if log is not None:
            return log, position
        if number == files.newest():
            break  # conmon has not made it yet
        position = Position(number + 1, unfinished=position.unfinished)
    return None, position


def _close(log: OpenLog | None) -> None:
    if log is not None:
        log.close()


class PositionFile(msgspec.Struct, frozen=True):
    """Where the position of one log is kept."""

    path: Path

    def load(self) -> Position:
        """What was noted last; the log's beginning when nothing was, or when the host's crash spoilt it."""
        try:
            return msgspec.msgpack.decode(read_regular(self.path), type=Position)
        except (FileNotFoundError, NotRegular, msgspec.MsgspecError):
            return Position()

    def save(self, position: Position) -> None:
        """Note what was delivered. Raises FileNotFoundError when the container's files are gone."""
        write_atomically(self.path, msgspec.msgpack.encode(position), durable=False)
