"""What the engine itself has begun to make or to remove, and not finished: the only things that a start may delete.

A row that is deleted leaves a note of its kind and key in the same transaction, by a trigger, so that every removal is
provable after a crash: the object has no row, and the note says that it is to go. What has neither row nor note is an
orphan, which is moved aside and kept (see `darse.recovery.orphans`). Whoever writes files before their row says so with
`begin`. Notes go when there is nothing left of what they name.
"""

from __future__ import annotations

from collections.abc import Iterable

from darse.core.state import Schema, State

#: The kinds of objects with data on the disk: their tables, and the tables' keys.
KINDS = {"containers": "id", "volumes": "name", "layers": "chain_id", "images": "id", "image_targets": "digest"}
#: Documents of images, by digest: they have no table.
DOCUMENTS = "documents"

_TABLES = """
    CREATE TABLE unfinished (kind TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
    CREATE TABLE serial (number INTEGER NOT NULL);
    INSERT INTO serial VALUES (0);
"""
_TRIGGER = """
    CREATE TRIGGER {table}_removed AFTER DELETE ON {table} BEGIN
        INSERT OR IGNORE INTO unfinished VALUES ('{table}', OLD.{key});
    END;
"""
# To be applied after all others: a step of theirs that makes one of these tables again has to make its trigger, too.
SCHEMA = Schema("unfinished", (_TABLES + "".join(_TRIGGER.format(table=one, key=KINDS[one]) for one in KINDS),))


class Unfinished:
    """The notes."""

    def __init__(self, state: State) -> None:
        self._state = state

    def of(self, kind: str) -> set[str]:
        """The keys of what is unfinished of a kind."""
        return {str(key) for (key,) in self._state.rows("SELECT key FROM unfinished WHERE kind = ?", (kind,))}

    def all(self) -> list[tuple[str, str]]:
        """Kind and key of everything that is unfinished."""
        return [(str(kind), str(key)) for kind, key in self._state.rows("SELECT kind, key FROM unfinished")]

    def begin(self, kind: str, keys: Iterable[str]) -> None:
        """Note what is about to be made, before its files are."""
        with self._state.transaction(durable=False) as connection:
            connection.executemany("INSERT OR IGNORE INTO unfinished VALUES (?, ?)", [(kind, key) for key in keys])

    def done(self, notes: Iterable[tuple[str, str]]) -> None:
        """Drop notes: what they name is recorded, or gone."""
        with self._state.transaction(durable=False) as connection:
            connection.executemany("DELETE FROM unfinished WHERE kind = ? AND key = ?", list(notes))
