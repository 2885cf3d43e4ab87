"""Cache storage in the engine's database.

Nothing here needs to survive the power going out: a record that is lost is a result that is made again, and one whose
snapshot is missing is found out when it is used. So no write waits for the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from darse.build.solver.cache_storage import CacheRecord, RecordLeases
from darse.core.documents import DocumentCodec, ListCodec
from darse.core.state import State

# Operations of which the last inputs are remembered, the newest.
_MOST_OPERATIONS = 20_000
CACHE_DOCUMENTS = DocumentCodec(CacheRecord)
INPUTS_DOCUMENTS = ListCodec(list[str])


class DatabaseCacheStorage(RecordLeases):
    """Keeps records, results and links in tables; leases in memory."""

    def __init__(self, state: State, *, most_operations: int = _MOST_OPERATIONS) -> None:
        super().__init__()
        self._state = state
        self._most_operations = most_operations

    def link(self, key: str) -> str | None:
        """See CacheStorage."""
        row = self._state.row("SELECT target FROM build_links WHERE key = ?", (key,))
        return None if row is None else str(row[0])

    def set_link(self, key: str, target: str) -> None:
        """See CacheStorage."""
        with self._state.transaction(durable=False) as connection:
            connection.execute("INSERT OR REPLACE INTO build_links VALUES (?, ?)", (key, target))

    def last_inputs(self, operation: str) -> Sequence[str] | None:
        """See CacheStorage."""
        row = self._state.row("SELECT inputs FROM build_inputs WHERE operation = ?", (operation,))
        rows = [] if row is None else [(operation, row[0])]
        decoded = self._state.decoded("build_inputs", rows, INPUTS_DOCUMENTS.decode)
        return next((inputs for _, inputs in decoded), None)

    def set_last_inputs(self, operation: str, inputs: Sequence[str]) -> None:
        """See CacheStorage."""
        with self._state.transaction(durable=False) as connection:
            inserted = connection.execute(
                "INSERT OR REPLACE INTO build_inputs (operation, inputs) VALUES (?, ?)",
                (operation, INPUTS_DOCUMENTS.encode(list(inputs))),
            )
            oldest = (inserted.lastrowid or 0) - self._most_operations
            connection.execute("DELETE FROM build_inputs WHERE sequence <= ?", (oldest,))

    def result(self, key: str) -> CacheRecord | None:
        """See CacheStorage."""
        return next(
            self._decoded(
                "SELECT id, document FROM build_records JOIN build_results ON record = id WHERE key = ? "
                "ORDER BY sequence DESC",
                (key,),
            ),
            None,
        )

    def add(self, key: str, record: CacheRecord) -> None:
        """See CacheStorage."""
        with self._state.transaction(durable=False) as connection:
            document = CACHE_DOCUMENTS.encode(record)
            connection.execute("INSERT OR IGNORE INTO build_records VALUES (?, ?)", (record.id, document))
            connection.execute("INSERT OR REPLACE INTO build_results (key, record) VALUES (?, ?)", (key, record.id))

    def use(self, record: str, now: float) -> None:
        """See CacheStorage."""
        found = self.record(record)
        if found is None:
            return
        used = CACHE_DOCUMENTS.encode(msgspec.structs.replace(found, last_used=now, uses=found.uses + 1))
        with self._state.transaction(durable=False) as connection:
            connection.execute("UPDATE build_records SET document = ? WHERE id = ?", (used, record))

    def record(self, id: str) -> CacheRecord | None:
        """See CacheStorage."""
        return next(self._decoded("SELECT id, document FROM build_records WHERE id = ?", (id,)), None)

    def records(self) -> Iterable[CacheRecord]:
        """See CacheStorage."""
        return list(self._decoded("SELECT id, document FROM build_records", ()))

    def _decoded(self, query: str, parameters: Sequence[str]) -> Iterator[CacheRecord]:
        rows = self._state.rows(query, parameters)
        return (record for _, record in self._state.decoded("build_records", rows, CACHE_DOCUMENTS.decode))

    def remove(self, record: str) -> bool:
        """See CacheStorage."""
        if self.is_leased(record):
            return False
        with self._state.transaction(durable=False) as connection:
            removed = connection.execute("DELETE FROM build_records WHERE id = ?", (record,)).rowcount
            # Links to what has no result any more are of no use.
            connection.execute(
                "DELETE FROM build_links WHERE target IN (SELECT key FROM build_results WHERE record = :record) "
                "AND NOT EXISTS (SELECT 1 FROM build_results WHERE key = target AND record <> :record)",
                {"record": record},
            )
            connection.execute("DELETE FROM build_results WHERE record = ?", (record,))
        return removed > 0
