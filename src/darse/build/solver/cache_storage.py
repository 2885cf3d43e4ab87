"""Where cached results are kept.

A record is a snapshot with its sizes and times; a result says that a key's output is a record. A record that is removed
takes its results with it. Links and operations are hints: they can be lost without harm.

Records that a build uses are leased: they are not removed until the last lease is released. Leases are not stored: what
an engine leased before it was killed is free again.

`tests/unit/build/solver/cache_storage_suite.py` holds what every implementation must show.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from darse.build.solver.operation_executor import Snapshot


class RecordKind(enum.StrEnum):
    """What a record is for, in BuildKit's words."""

    REGULAR = "regular"
    LOCAL = "source.local"
    GIT = "source.git.checkout"
    CACHE_MOUNT = "exec.cachemount"
    FRONTEND = "frontend"
    INTERNAL = "internal"


class CacheRecord(msgspec.Struct, frozen=True):
    """A snapshot that can be used again."""

    id: str
    """The snapshot's."""
    kind: RecordKind = RecordKind.REGULAR
    description: str = ""
    size: int = 0
    created: float = 0
    """Seconds since the epoch, as the next."""
    last_used: float = 0
    uses: int = 0
    parents: tuple[str, ...] = ()
    """Records that it was made from."""


class CacheStorage(Protocol):
    """Keeps records, results, links."""

    def link(self, key: str) -> str | None:
        """The key that a vertex had when its inputs were made in this way."""
        ...

    def set_link(self, key: str, target: str) -> None:
        """Remember that."""
        ...

    def last_inputs(self, operation: str) -> Sequence[str] | None:
        """The digests of the inputs with which an operation was asked for last."""
        ...

    def set_last_inputs(self, operation: str, inputs: Sequence[str]) -> None:
        """Remember that."""
        ...

    def result(self, key: str) -> CacheRecord | None:
        """The newest record of an edge's key."""
        ...

    def add(self, key: str, record: CacheRecord) -> None:
        """Add a result, and its record where it is new."""
        ...

    def use(self, record: str, now: float) -> None:
        """Note that a record was used."""
        ...

    def record(self, id: str) -> CacheRecord | None:
        """A record by its id."""
        ...

    def records(self) -> Iterable[CacheRecord]:
        """All of them."""
        ...

    def remove(self, record: str) -> bool:
        """Remove a record and its results; False where it is leased, or not there."""
        ...

    def lease(self, record: str) -> None:
        """Keep a snapshot, recorded or not, until `release`."""
        ...

    def release(self, record: str) -> None:
        """Release one lease."""
        ...

    def is_leased(self, record: str) -> bool:
        """Whether a lease is left."""
        ...


class ResultImports(Protocol):
    """Results of other builds, elsewhere, that one build may use.

    What they say cannot be verified. So what comes of them, and what is made on it, is kept under other keys, which
    only builds that use the same caches know.
    """

    space: str
    """Which caches they are."""

    def link(self, key: str) -> str | None:
        """As CacheStorage.link, of a key whose result they have."""
        ...

    async def result(self, key: str) -> Snapshot | None:
        """The result of an edge's key, fetched; None where they have none, or it cannot be fetched."""
        ...


class RecordLeases:
    """The part of a CacheStorage that counts leases; they end with the process."""

    def __init__(self) -> None:
        self._leases: Counter[str] = Counter()

    def lease(self, record: str) -> None:
        """See CacheStorage."""
        self._leases[record] += 1

    def release(self, record: str) -> None:
        """See CacheStorage."""
        self._leases[record] -= 1
        if self._leases[record] <= 0:
            del self._leases[record]

    def is_leased(self, record: str) -> bool:
        """See CacheStorage."""
        return record in self._leases


class MemoryCacheStorage(RecordLeases):
    """Keeps them as long as the process lives."""

    def __init__(self) -> None:
        super().__init__()
        self._links: dict[str, str] = {}
        self._inputs: dict[str, tuple[str, ...]] = {}
        self._results: dict[str, list[str]] = {}
        """Ids of records by key, the newest last."""
        self._records: dict[str, CacheRecord] = {}
        self._keys: dict[str, set[str]] = {}
        """Keys by the record."""

    def link(self, key: str) -> str | None:
        """See CacheStorage."""
        return self._links.get(key)

    def set_link(self, key: str, target: str) -> None:
        """See CacheStorage."""
        self._links[key] = target

    def last_inputs(self, operation: str) -> Sequence[str] | None:
        """See CacheStorage."""
        return self._inputs.get(operation)

    def set_last_inputs(self, operation: str, inputs: Sequence[str]) -> None:
        """See CacheStorage."""
        self._inputs[operation] = tuple(inputs)

    def result(self, key: str) -> CacheRecord | None:
        """See CacheStorage."""
        found = self._results.get(key)
        return self._records[found[-1]] if found else None

    def add(self, key: str, record: CacheRecord) -> None:
        """See CacheStorage."""
        self._records.setdefault(record.id, record)
        results = self._results.setdefault(key, [])
        if record.id in results:
            results.remove(record.id)
        results.append(record.id)
        self._keys.setdefault(record.id, set()).add(key)

    def use(self, record: str, now: float) -> None:
        """See CacheStorage."""
        if (found := self._records.get(record)) is not None:
            self._records[record] = msgspec.structs.replace(found, last_used=now, uses=found.uses + 1)

    def record(self, id: str) -> CacheRecord | None:
        """See CacheStorage."""
        return self._records.get(id)

    def records(self) -> Iterable[CacheRecord]:
        """See CacheStorage."""
        return list(self._records.values())

    def remove(self, record: str) -> bool:
        """See CacheStorage."""
        if record not in self._records or self.is_leased(record):
            return False
        del self._records[record]
        for key in self._keys.pop(record, ()):
            self._results[key].remove(record)
            if not self._results[key]:
                del self._results[key]
        return True
