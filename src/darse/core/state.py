"""The engine's state: one SQLite database in WAL mode, opened once, used from the event loop's thread.

Every change of an object is one transaction. It takes well under a millisecond, for it waits for no disk, so it runs
inline; nothing awaits inside one. Memory follows the rows: it changes when the commit has succeeded, and is as before
when it fails. A transaction survives the engine, however that ends; `flush` waits until it survives the power going
out, too. The API answers after a flush, and what rows no longer name is deleted after one.

Each package owns its tables and lists the steps that build them as `Schema(package, steps)`. A step that has shipped
never changes; a new one is appended. The number of steps applied is kept for each.

A row that cannot be decoded, or whose document is of a newer engine (see `darse.core.documents`), keeps only itself
down: `decoded` passes over it and remembers it, and nothing of the object that it describes is removed. A database that
cannot be read at all is one SystemFault with the remedy.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from darse.core import executors
from darse.core.database_log import DatabaseLog
from darse.core.documents import NewerDocument
from darse.core.errors import NoSpace, SystemFault
from darse.core.exhaustion import of_database

T = TypeVar("T")
#: What to do about a database that is lost or damaged, for error texts.
REBUILD = "stop the engine and run `darse system check --rebuild`"
#: What to do about records of a newer engine.
UPGRADE = "upgrade darse"
_SOON_SECONDS = 1.0
_log = logging.getLogger("darse.state")


class Schema(msgspec.Struct, frozen=True):
    """The tables of one package: SQL scripts, each applied once, in order."""

    package: str
    steps: Sequence[str]


class Damage(msgspec.Struct, frozen=True):
    """Why a row cannot be used, as the end of a sentence about it, and what to do."""

    found: str
    remedy: str


class DiskReserve(Protocol):
    """Space put aside on the database's disk."""

    def tend(self) -> None:
        """Make room for the next attempt, if the disk is full."""
        ...


class State:
    """The database. `transaction()` to change it, `rows()`/`row()` to read it."""

    def __init__(self, path: Path, schemas: Iterable[Schema], *, on_new: Callable[[], None] = lambda: None) -> None:
        """Open or create the database at `path` and bring the tables of all packages up to date.

        `on_new` is called before a database is begun: there is no file, or nothing in it. What it raises is raised.
        Raises SystemFault when the file cannot be used, or was written by a newer engine.
        """
        self.path = path
        # Why a row cannot be decoded, by its table and key.
        self.damaged: dict[tuple[str, str], Damage] = {}
        self._commit_listeners: list[Callable[[], object]] = []
        self._disk_reserve: DiskReserve | None = None
        self._thread = threading.get_ident()
        self._depth = 0
        self._durable = False
        self._log = DatabaseLog(path)
        self._committed: list[Callable[[], object]] = []
        self._undo: list[Callable[[], object]] = []
        try:
            if not path.exists() or (path.is_file() and path.stat().st_size == 0):
                on_new()
            with ExitStack() as undo:
                self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=True)
                undo.callback(self._connection.close)
                if self.row("SELECT 1 FROM sqlite_master LIMIT 1") is None:
                    on_new()
                for pragma in (
                    "journal_mode=WAL",
                    "synchronous=NORMAL",
                    # `DatabaseLog` does it much earlier; in a commit it would wait for the disk.
                    "wal_autocheckpoint=8000",
                    "foreign_keys=ON",
                    "busy_timeout=5000",
                    "temp_store=MEMORY",
                ):
                    self._connection.execute(f"PRAGMA {pragma}")
                path.chmod(0o600)
                self._migrate(schemas)
                undo.pop_all()
        except (sqlite3.DatabaseError, OSError) as error:
            raise database_fault(path, error) from error

    async def settled(self) -> None:
        """Wait until no flush or checkpoint is in progress."""
        await self._log.settled()

    def close(self) -> None:
        """Checkpoint and close; the object is unusable afterwards."""
        self._connection.close()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Commit on success, roll back on an exception. Joins an enclosing transaction.

        What is kept in memory beside the rows follows them by `on_commit` and `on_rollback`. `flush` does not wait for
        what is not `durable`: right for what means nothing after a reboot, and for events that report no change.

        Raises NoSpace when the disk is full, and otherwise what `exhaustion.of_database` makes of SQLite's errors: also
        when it is the commit that fails, and then nothing was changed.
        """
        if self._depth:
            self._durable |= durable
            yield self._connection
            return
        self._durable = durable
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._depth = 0
            self._roll_back()
            self._refuse_damaged(error)
            if isinstance(error, sqlite3.OperationalError):
                fault = of_database(error, self.path)
                if isinstance(fault, NoSpace) and self._disk_reserve is not None:
                    self._disk_reserve.tend()
                raise fault from error
            raise
        self._depth = 0
        if self._durable:
            self._log.committed()
        self._undo.clear()
        callbacks, self._committed = self._committed, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                # The change is made: what follows it must not make a failure of it.
                _log.exception("what was to follow a change of the database has failed")
        for listener in self._commit_listeners:
            listener()

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

    def on_every_commit(self, listener: Callable[[], object]) -> None:
        """Call `listener` after each transaction that is committed from now on."""
        self._commit_listeners.append(listener)

    def rely_on(self, reserve: DiskReserve) -> None:
        """Have a reserve, which is tended when a transaction fails for a full disk."""
        self._disk_reserve = reserve

    async def rows_beside(self, *queries: str) -> list[list[tuple[Any, ...]]]:
        """All rows of queries that take long, read in a thread by a connection of its own: of what is committed."""
        return await executors.storage.run(self._read_beside, queries)

    def _read_beside(self, queries: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        try:
            with contextlib.closing(
                sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
            ) as connection:
                return [connection.execute(query).fetchall() for query in queries]
        except sqlite3.DatabaseError as error:
            self._refuse_damaged(error)
            raise

    async def flush(self, *, everything: bool = False) -> None:
        """Wait until all durable transactions so far survive the power going out; with `everything` the others, too.

        Raises NoSpace and SystemFault.
        """
        if everything:
            self._log.committed()
        await self._log.flush()

    def flush_soon(self) -> None:
        """Have all transactions so far survive the power going out, without waiting: in a second at most."""
        self._log.flush_within(_SOON_SECONDS)

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

        They are when the log was copied, soon after. Raises NoSpace.
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
        self._log.copy_soon()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._depth > 0

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        try:
            return self._connection.execute(query, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            self._refuse_damaged(error)
            raise

    def row(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        try:
            result: tuple[Any, ...] | None = self._connection.execute(query, parameters).fetchone()
        except sqlite3.DatabaseError as error:
            self._refuse_damaged(error)
            raise
        return result

    def _refuse_damaged(self, error: BaseException) -> None:
        """Raise SystemFault with the remedy when it is the file that is damaged."""
        name = getattr(error, "sqlite_errorname", "") or ""
        if isinstance(error, sqlite3.DatabaseError) and name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise database_fault(self.path, error) from error

    def decoded(
        self, table: str, rows: Iterable[tuple[str, bytes]], decode: Callable[[bytes], T]
    ) -> Iterator[tuple[str, T]]:
        """Decode the documents of `rows` (key, document) of a table; pass over what is damaged, and remember it."""
        for key, document in rows:
            try:
                value = decode(document)
            except (msgspec.MsgspecError, TypeError, ValueError) as error:
                self.is_damaged(table, key, error)
            else:
                yield key, value

    def is_damaged(self, table: str, key: str, error: Exception | str) -> None:
        """Remember, and log once, that a row cannot be used: it is damaged, or a NewerDocument."""
        if (table, key) in self.damaged:
            return
        is_newer = isinstance(error, NewerDocument)
        damage = Damage(str(error), UPGRADE) if is_newer else Damage(f"is damaged ({error})", REBUILD)
        self.damaged[table, key] = damage
        _log.error(
            "%s: record %s of table %s %s; all else works, and nothing of it is removed: %s",
            self.path,
            key,
            table,
            damage.found,
            damage.remedy,
        )

    def damaged_in(self, table: str) -> set[str]:
        """The keys of a table's damaged rows."""
        return {key for where, key in self.damaged if where == table}

    def _migrate(self, schemas: Iterable[Schema]) -> None:
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_steps (room TEXT PRIMARY KEY, steps INTEGER NOT NULL)"
        )
        for schema in schemas:
            found = self.row("SELECT steps FROM schema_steps WHERE room = ?", (schema.package,))
            applied = found[0] if found else 0
            if applied > len(schema.steps):
                raise SystemFault(
                    f"the state of {schema.package!r} was written by a newer darsed "
                    f"(step {applied}, this one knows {len(schema.steps)}): upgrade darse"
                )
            for number in range(applied, len(schema.steps)):
                with self.transaction() as connection:
                    for statement in _statements(schema.steps[number]):
                        connection.execute(statement)
                    connection.execute(
                        "INSERT INTO schema_steps VALUES (?, ?) "
                        "ON CONFLICT (room) DO UPDATE SET steps = excluded.steps",
                        (schema.package, number + 1),
                    )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; a trigger's body has semicolons of its own."""
    pending = ""
    for piece in script.split(";"):
        pending += f"{piece};"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n;"):
                yield pending
            pending = ""


def database_fault(path: Path, error: Exception) -> SystemFault:
    """One sentence about a database that cannot be used, and what to do."""
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    if path.is_dir():
        return SystemFault(f"{path} is a directory, and the engine's database is a file: move it away, then {REBUILD}")
    if "readonly" in reason or "read-only" in reason.lower() or isinstance(error, PermissionError):
        return SystemFault(
            f"cannot write the database {path} ({reason}): let root write to it, and its file system be mounted for "
            "writing; nothing was changed"
        )
    if "locked" in reason:
        return SystemFault(f"another program uses the database {path} ({reason}): let it end")
    if "full" in reason or "No space left" in reason:
        return SystemFault(f"no space left on device: {path.parent} ({reason}): make room there")
    return SystemFault(f"the database {path} is damaged ({reason}); nothing was changed: {REBUILD}")
