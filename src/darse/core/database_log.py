"""The disk's part of a database in WAL mode: flushes and checkpoints, in a thread, so that no commit waits for a disk.

With `synchronous=NORMAL` SQLite appends a transaction to the log and does not flush it: the transaction survives the
engine, however that ends, and not the power going out. One fdatasync(2) of the log makes all transactions before it
durable: those that several requests wait for take one together. See https://www.sqlite.org/wal.html.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sqlite3
import struct
from pathlib import Path

from darse.core import executors
from darse.core.errors import SystemFault
from darse.core.exhaustion import exhausted, reason

_log = logging.getLogger("darse.state")
# A log that is longer than this, in bytes, is copied into the database at the next flush.
CHECKPOINT_BYTES = 4 * 1024 * 1024
# The log's header (magic, version, page size, checkpoint sequence, two salts, checksum), and that of each frame.
_HEADER = struct.Struct(">IIII8s8s")
_FRAME = struct.Struct(">II8s8s")


class DatabaseLog:
    """Flushes the log of a database that this process has open."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(f"{database.name}-wal")
        self._executor = executors.Executor("database", 1)
        self._written = 0
        self._flushed = 0
        self._flushing: asyncio.Future[bool] | None = None
        self._checkpointing: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None

    def committed(self) -> None:
        """Note a transaction that is to survive the power going out."""
        self._written += 1

    async def flush(self) -> None:
        """Return when all transactions noted before the call are on the disk. Raises NoSpace and SystemFault."""
        target = self._written
        while self._flushed < target:
            # One that has just ended is of no use to who comes before its callbacks run.
            if self._flushing is None or self._flushing.done():
                self._cancel_later()
                self._flushing = self._begin_flush()
            await self._flushing

    def flush_within(self, seconds: float) -> None:
        """Have all transactions so far on the disk in so many seconds, or with the next flush. Needs the loop."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(seconds, self._flush_now)

    def _flush_now(self) -> None:
        self._written += 1
        # Nobody waits: what fails is logged by the task that flushes.
        flushing = asyncio.create_task(self.flush())
        flushing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def settled(self) -> None:
        """Wait until no flush or checkpoint is in progress; what they report is logged already."""
        self._cancel_later()
        while self._flushing is not None or self._checkpointing is not None:
            await asyncio.wait([one for one in (self._flushing, self._checkpointing) if one is not None])

    def _begin_flush(self) -> asyncio.Future[bool]:
        try:
            flushing = self._executor.begin(self._sync)
        except OSError as error:
            _log.error("cannot flush %s: %s", self._path, reason(error))
            raise
        flushing.add_done_callback(functools.partial(self._has_flushed, self._written))
        return flushing

    def _has_flushed(self, written: int, flushing: asyncio.Future[bool]) -> None:
        if self._flushing is flushing:
            self._flushing = None
        if (error := flushing.exception()) is not None:
            # Whoever waits gets it, too; but perhaps nobody does any more.
            _log.error("%s", error)
            return
        self._flushed = written
        if flushing.result():
            self.copy_soon()

    def _cancel_later(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def copy_soon(self) -> None:
        """Have the log copied into the database: in a thread, for it waits for the disk."""
        if self._checkpointing is None:
            self._checkpointing = asyncio.create_task(self._checkpoint())

    def _sync(self) -> bool:
        """Flush; return whether the log is to be copied. Blocks."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(descriptor)
                return _is_long(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            text = f"cannot flush {self._path}: {reason(error)}: what was changed last may be lost with the power"
            raise exhausted(error, self._path.parent) or SystemFault(text) from error

    async def _checkpoint(self) -> None:
        try:
            await self._executor.run(self._copy)
        finally:
            self._checkpointing = None

    def _copy(self) -> None:
        """Copy the log into the database, as far as nobody reads or writes it: PASSIVE waits for nobody. Blocks."""
        try:
            with contextlib.closing(sqlite3.connect(self._database, isolation_level=None)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                _begin_again(connection)
        except sqlite3.DatabaseError as error:
            # Nothing is lost: the log grows, and SQLite copies it in a commit.
            _log.warning("cannot copy %s into the database: %s", self._path, error)


def _is_long(descriptor: int) -> bool:
    """Whether more than CHECKPOINT_BYTES of a log are in use: its file keeps its length when it begins again.

    Each frame carries the salts of the header that it was written after. See https://www.sqlite.org/walformat.html.
    """
    header = os.pread(descriptor, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        return False
    _, _, page_bytes, _, salts, _ = _HEADER.unpack(header)
    frame_bytes = _FRAME.size + page_bytes
    offset = _HEADER.size + CHECKPOINT_BYTES // frame_bytes * frame_bytes
    frame = os.pread(descriptor, _FRAME.size, offset)
    return len(frame) == _FRAME.size and _FRAME.unpack(frame)[2] == salts


def _begin_again(connection: sqlite3.Connection) -> None:
    """Have the log begin again after a checkpoint: the transaction that does so flushes its header. Blocks."""
    connection.execute("PRAGMA user_version = 1")  # a transaction that changes a page, and nothing that anybody reads
