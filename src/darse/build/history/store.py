"""The newest builds, in the engine's database. A power cut may lose some: no write waits for the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from darse.build.history.attachments import AttachmentCollector, AttachmentStore, compress, decompress
from darse.build.history.records import BuildRecord, BuildState, BuildSummary, StepLog, StepRecord
from darse.core.documents import DocumentCodec, ListCodec
from darse.core.errors import InvalidParameter, NotFound, SystemFault
from darse.core.state import State
from darse.images import references

# How many builds are remembered.
MOST_BUILDS = 200
_SHORTEST_ID = 4
SUMMARY_DOCUMENTS = DocumentCodec(BuildSummary)
STEPS_DOCUMENTS = ListCodec(tuple[StepRecord, ...])
LOG_DOCUMENTS = ListCodec(tuple[StepLog, ...], packed=True)
T = TypeVar("T")


class BuildHistory:
    """Keeps records and logs of builds that have ended."""

    def __init__(self, state: State, *, most: int = MOST_BUILDS) -> None:
        self._state = state
        self._most = most
        self.attachments = AttachmentStore(state)

    def add(self, record: BuildRecord, logs: Sequence[StepLog], collected: AttachmentCollector | None = None) -> None:
        """Keep a build, and forget the oldest of too many; those that are pinned are not counted."""
        row = (
            record.summary.id,
            SUMMARY_DOCUMENTS.encode(record.summary),
            compress(STEPS_DOCUMENTS.encode(record.steps)),
            compress(LOG_DOCUMENTS.encode(tuple(logs))),
        )
        with self._state.transaction(durable=False) as connection:
            connection.execute("INSERT INTO build_history (id, summary, steps, log) VALUES (?, ?, ?, ?)", row)
            connection.execute(
                "DELETE FROM build_history WHERE id NOT IN (SELECT build FROM build_pins) AND sequence <= "
                "(SELECT sequence FROM build_history WHERE id NOT IN (SELECT build FROM build_pins) "
                "ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                (self._most,),
            )
            if collected is not None:
                self.attachments.add(record.summary.id, collected)
            self.attachments.sweep()

    def remove(self, identifier: str) -> None:
        """Forget a build. Raises NotFound."""
        with self._state.transaction(durable=False) as connection:
            if not connection.execute("DELETE FROM build_history WHERE id = ?", (identifier,)).rowcount:
                raise _unknown(identifier)
            self.attachments.sweep()

    def pin(self, identifier: str, *, pinned: bool) -> bool:
        """Keep a build however many come after it, or no more; whether that changes anything. Raises NotFound."""
        with self._state.transaction(durable=False) as connection:
            if not connection.execute("SELECT 1 FROM build_history WHERE id = ?", (identifier,)).fetchone():
                raise _unknown(identifier)
            change = (
                "INSERT OR IGNORE INTO build_pins VALUES (?)" if pinned else "DELETE FROM build_pins WHERE build = ?"
            )
            return bool(connection.execute(change, (identifier,)).rowcount)

    def pinned(self) -> frozenset[str]:
        """The ids of builds that are kept until somebody removes them."""
        return frozenset(str(build) for (build,) in self._state.rows("SELECT build FROM build_pins"))

    def has(self, identifier: str) -> bool:
        """Whether a build is remembered by this id."""
        return self._state.row("SELECT 1 FROM build_history WHERE id = ?", (identifier,)) is not None

    def summaries(self) -> list[BuildSummary]:
        """All, the newest first."""
        rows = self._state.rows("SELECT id, summary FROM build_history ORDER BY sequence DESC")
        return [summary for _, summary in self._state.decoded("build_history", rows, SUMMARY_DOCUMENTS.decode)]

    def find(self, reference: str) -> BuildSummary:
        """A build by its id or the beginning of it, or the last one of an image by name or id. Raises NotFound."""
        return find(self.summaries(), reference)

    def record(self, summary: BuildSummary) -> BuildRecord:
        """All that is kept of a build. Raises NotFound where it was forgotten meanwhile, SystemFault where damaged."""
        return BuildRecord(summary, self._column("steps", summary.id, STEPS_DOCUMENTS.decode))

    def logs(self, summary: BuildSummary) -> tuple[StepLog, ...]:
        """What the steps of a build said. Raises as `record`."""
        return self._column("log", summary.id, LOG_DOCUMENTS.decode)

    def _column(self, name: str, id: str, decode: Callable[[bytes], T]) -> T:
        row = self._state.row(f"SELECT {name} FROM build_history WHERE id = ?", (id,))  # noqa: S608 - a name of ours
        if row is None:
            raise _unknown(id)
        decoded = self._state.decoded("build_history", [(id, row[0])], lambda column: decode(decompress(column)))
        for _, value in decoded:
            return value
        damage = self._state.damaged["build_history", id]
        raise SystemFault(f"the record of build {id} {damage.found}: {damage.remedy}")

    def before(self, summary: BuildSummary) -> list[BuildSummary]:
        """Builds of the same that ended before a build began, the newest first: of one of its names, or of its file."""
        return [one for one in self.summaries() if one.ended_ns <= summary.begun_ns and _is_of_the_same(one, summary)]


def _is_of_the_same(one: BuildSummary, other: BuildSummary) -> bool:
    if one.names or other.names:
        return bool(set(one.names) & set(other.names))
    return (one.dockerfile, one.remote, one.target) == (other.dockerfile, other.remote, other.target)


def find(summaries: Sequence[BuildSummary], reference: str) -> BuildSummary:
    """The newest build that a reference means: see `BuildHistory.find`. Raises NotFound."""
    name = _name(reference)
    image = reference.removeprefix("sha256:")
    for one in summaries:
        if one.id.startswith(reference) and len(reference) >= _SHORTEST_ID:
            return one
        if name in one.names:
            return one
        is_image = one.state is BuildState.BUILT and one.image.removeprefix("sha256:").startswith(image)
        if is_image and len(image) >= _SHORTEST_ID:
            return one
    raise _unknown(reference)


def _name(reference: str) -> str:
    try:
        return references.parse_tag(reference).familiar
    except InvalidParameter:
        return ""


def _unknown(reference: str) -> NotFound:
    return NotFound(f"no build {reference}: `darse build history` lists those that are remembered")
