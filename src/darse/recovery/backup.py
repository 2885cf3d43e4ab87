"""The backup of the database: `<data-root>/state.backup.sqlite`, which `darse system check --rebuild` begins with.

It is made by SQLite's online backup in a thread, on a connection that only reads, so the engine's transactions do not
wait for it; examined; flushed; and renamed into its place. A backup that does not pass `quick_check` never takes the
place of one that did. One is made soon after the start, then a minute after the first change since the last, and when
the engine stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from pathlib import Path

from darse.core import executors
from darse.linux.fs.files import publish
from darse.recovery.records import reading

#: Its name in the data root.
NAME = "state.backup.sqlite"
# Seconds from the start to the first one, and from a change to the next.
_FIRST = 10.0
_INTERVAL = 60.0
_log = logging.getLogger("darse.backup")


class Backup:
    """Keeps the backup of one database up to date."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = False
        self._closed = False

    @property
    def path(self) -> Path:
        """The backup."""
        return self._database.with_name(NAME)

    def open(self) -> None:
        """Make one when the start is over."""
        self._changed = True
        self._timer = asyncio.get_running_loop().call_later(_FIRST, self._begin)

    def changed(self) -> None:
        """The database has changed."""
        self._changed = True
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._begin)

    async def close(self) -> None:
        """Make the last one, if anything has changed since."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await self._task
        if self._changed:
            await self._make()

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(self._make())

    async def _make(self) -> None:
        self._changed = False
        try:
            await executors.storage.run(copy_database, self._database, self.path)
        except (OSError, sqlite3.Error) as error:
            _log.warning("cannot make the backup %s of the database: %s", self.path, error)
        finally:
            self._task = None


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at this moment, write-ahead log included, and put the copy at `target` when it is sound.

    Blocks. Raises OSError, and sqlite3.Error, also when the copy is not sound; then `target` is as before.
    """
    new = target.with_name(f".{target.name}.new")
    _discard(new)
    try:
        with contextlib.closing(reading(source)) as original, contextlib.closing(sqlite3.connect(new)) as copy:
            new.chmod(0o600)
            copy.execute("PRAGMA synchronous=OFF")
            original.backup(copy)  # in one step: one that a writer interrupts begins again
            # The copy is a file of its own, without a log beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
            (verdict,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"the database is damaged: {verdict}")
        publish(new, target)
    finally:
        _discard(new)


def _discard(database: Path) -> None:
    for suffix in ("", "-journal", "-wal"):
        database.with_name(f"{database.name}{suffix}").unlink(missing_ok=True)
