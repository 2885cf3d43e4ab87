"""The engine's state: one SQLite database in WAL mode, opened once, used from the event loop's thread.

Every change of an object is one transaction with `synchronous=FULL`, so what a client was told survives the
power going out. A transaction takes well under a millisecond, so it runs inline; nothing awaits inside one. Memory
follows the rows: it changes when the commit has succeeded, and is as before when it fails.

Each room owns its tables and lists the steps that build them as `Schema(room, steps)`. A step that has shipped
never changes; a new one is appended. The number of steps applied is kept per room.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from darse.engine.errors import NoSpace, SystemFault
from darse.engine.exhaustion import of_database

_log = logging.getLogger("darse.engine")


class Schema(msgspec.Struct, frozen=True):
    """The tables of one room: SQL scripts, each applied once, in order."""

    room: str
    steps: Sequence[str]


class State:
    """The database. `transaction()` to change it, `rows()`/`row()` to read it."""

    def __init__(self, path: Path, schemas: Iterable[Schema]) -> None:
        """Open or create the database at `path` and bring every room's tables up to date.

        Raises SystemFault when the file was written by a newer engine.
        """
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=True)
        self._thread = threading.get_ident()
        self._path = path
        self._depth = 0
        self._committed: list[Callable[[], object]] = []
        self._undo: list[Callable[[], object]] = []
        # Set by the engine: makes room on a full disk, for the next attempt.
        self.when_full: Callable[[], None] = lambda: None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            self._connection.execute(f"PRAGMA {pragma}")
        path.chmod(0o600)
        self._migrate(schemas)

    def close(self) -> None:
        """Checkpoint and close; the object is unusable afterwards."""
        self._connection.close()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Commit on success, roll back on an exception. Joins an enclosing transaction.

        What is kept in memory beside the rows follows them by `on_commit` and `on_rollback`. What is not `durable`
        survives the engine, however that ends, and may be lost when the power goes out: right for what means nothing
        after a reboot, and for events that report no change. It saves the flush of the disk.

        Raises NoSpace when the disk is full, and otherwise what `exhaustion.of_database` makes of SQLite's errors: also
        when it is the commit that fails, and then nothing was changed.
        """
        if self._depth:
            yield self._connection
            return
        try:
            with self._flushing(durable):
                self._connection.execute("BEGIN IMMEDIATE")
                self._depth = 1
                yield self._connection
                self._connection.execute("COMMIT")
        except BaseException as error:
            self._depth = 0
            self._roll_back()
            if isinstance(error, sqlite3.OperationalError):
                fault = of_database(error, self._path)
                if isinstance(fault, NoSpace):
                    self.when_full()
                raise fault from error
            raise
        self._depth = 0
        self._undo.clear()
        callbacks, self._committed = self._committed, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                # The change is made: what follows it must not make a failure of it.
                _log.exception("what was to follow a change of the database has failed")

    def on_commit(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the transaction is committed; at once when none is open."""
        if self._depth:
            self._committed.append(callback)
        else:
            callback()

    def on_rollback(self, callback: Callable[[], object]) -> None:
        """Call `callback` when the transaction that is open fails, the newest first.

        For a change in memory that the rest of the transaction has to see. Nobody else does: nothing awaits inside.
        """
        if self._depth:
            self._undo.append(callback)

    @contextmanager
    def _flushing(self, durable: bool) -> Iterator[None]:
        if durable:
            yield
            return
        self._connection.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            if self._connection.in_transaction:  # inside one the pragma does nothing
                self._connection.execute("ROLLBACK")
            self._connection.execute("PRAGMA synchronous=FULL")

    def _roll_back(self) -> None:
        # After some errors, a full disk among them, SQLite has rolled back by itself; after others it has not.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._committed.clear()
        undo, self._undo = self._undo, []
        for callback in reversed(undo):
            callback()

    def keep_pages(self, count: int) -> None:
        """Have `count` pages, or at least half of them, that are allocated and free: rows need no space on the disk.

        Raises NoSpace.
        """
        (free,) = self.row("PRAGMA freelist_count") or (0,)
        if free >= count // 2 or self._depth:
            return
        (size,) = self.row("PRAGMA page_size") or (0,)
        with self.transaction(durable=False) as connection:
            connection.execute("CREATE TABLE ballast (content BLOB)")
            connection.execute("INSERT INTO ballast VALUES (zeroblob(?))", (count * size,))
        with self.transaction(durable=False) as connection:
            connection.execute("DROP TABLE ballast")
        # Only then is the file as long as that.
        self.rows("PRAGMA wal_checkpoint(PASSIVE)")

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._depth > 0

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self._connection.execute(query, parameters).fetchall()

    def row(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        result: tuple[Any, ...] | None = self._connection.execute(query, parameters).fetchone()
        return result

    def _migrate(self, schemas: Iterable[Schema]) -> None:
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_steps (room TEXT PRIMARY KEY, steps INTEGER NOT NULL)"
        )
        for schema in schemas:
            found = self.row("SELECT steps FROM schema_steps WHERE room = ?", (schema.room,))
            applied = found[0] if found else 0
            if applied > len(schema.steps):
                raise SystemFault(
                    f"the state of {schema.room!r} was written by a newer darsed "
                    f"(step {applied}, this one knows {len(schema.steps)}): upgrade darse"
                )
            for number in range(applied, len(schema.steps)):
                with self.transaction() as connection:
                    for statement in schema.steps[number].split(";"):
                        if statement.strip():
                            connection.execute(statement)
                    connection.execute(
                        "INSERT INTO schema_steps VALUES (?, ?) "
                        "ON CONFLICT (room) DO UPDATE SET steps = excluded.steps",
                        (schema.room, number + 1),
                    )
