"""Which containers use which images, volumes and networks: one table, asked before anything is removed.

A *reference* is a container's use of an object, by the object's kind and key. `darse.containers` writes a container's
references in the transaction that writes its record, and whether it runs with its state; so no answer is older or newer
than the records. The start compares them with the records, and so does `system check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from darse.core.state import Schema, State

SCHEMA = Schema(
    "object_references",
    (
        """
        CREATE TABLE object_references (
            container_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            object TEXT NOT NULL,
            running INTEGER NOT NULL,
            UNIQUE (container_id, kind, object)
        );
        CREATE INDEX object_references_by_object ON object_references (kind, object);
        """,
    ),
)
#: Whose damaged rows keep what they refer to as if they ran: it is to be there when the record is.
CONTAINERS = "containers"


class ObjectKind(StrEnum):
    """What can be used; the key is the image's id, or the name of the volume or network."""

    IMAGE = "image"
    MOUNTED_IMAGE = "mounted image"
    VOLUME = "volume"
    NETWORK = "network"


class ObjectReference(msgspec.Struct, frozen=True, order=True):
    """The object that is used."""

    kind: ObjectKind
    object: str

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.kind} {self.object}"


class ObjectUser(msgspec.Struct, frozen=True):
    """A container that uses an object; `running` also when it is about to be restarted, or its record is damaged."""

    container_id: str
    running: bool


class ObjectReferences:
    """The table."""

    def __init__(self, database: State) -> None:
        self._database = database

    def image_users(self, image_id: str) -> list[ObjectUser]:
        """The containers of an image, and those that mount it."""
        return self._users(image_id, ObjectKind.IMAGE, ObjectKind.MOUNTED_IMAGE)

    def image_user_counts(self) -> dict[str, int]:
        """How many containers each image has, those that mount it included; images without any are not in it."""
        rows = self._database.rows(
            "SELECT object, count(DISTINCT container_id) FROM object_references WHERE kind IN (?, ?) GROUP BY object",
            (ObjectKind.IMAGE, ObjectKind.MOUNTED_IMAGE),
        )
        return dict(rows)

    def volume_users(self, name: str) -> list[ObjectUser]:
        """The containers that mount a volume."""
        return self._users(name, ObjectKind.VOLUME)

    def network_users(self, name: str) -> list[ObjectUser]:
        """The containers that are, or are to be, connected to a network."""
        return self._users(name, ObjectKind.NETWORK)

    def _users(self, object_: str, *kinds: ObjectKind) -> list[ObjectUser]:
        """The containers that use an object in one of these ways, the oldest reference first."""
        damaged = self._database.damaged_in(CONTAINERS)
        rows = self._database.rows(
            "SELECT container_id, max(running) FROM object_references "
            "WHERE object = ? AND kind IN (?, ?) GROUP BY container_id ORDER BY min(rowid)",
            (object_, kinds[0], kinds[-1]),
        )
        return [ObjectUser(one, bool(running) or one in damaged) for one, running in rows]

    def recorded(self) -> dict[str, dict[ObjectReference, bool]]:
        """All references by their containers, with whether these run."""
        found: dict[str, dict[ObjectReference, bool]] = {}
        for container_id, kind, object_, running in self._database.rows(
            "SELECT container_id, kind, object, running FROM object_references"
        ):
            found.setdefault(container_id, {})[ObjectReference(ObjectKind(kind), object_)] = bool(running)
        return found

    def replace_references(self, container_id: str, references: Iterable[ObjectReference], *, running: bool) -> None:
        """Give a container these references instead of those that it has."""
        required = {(one.kind.value, one.object) for one in references}
        with self._database.transaction() as connection:
            present = set(
                connection.execute("SELECT kind, object FROM object_references WHERE container_id = ?", (container_id,))
            )
            connection.executemany(
                "DELETE FROM object_references WHERE container_id = ? AND kind = ? AND object = ?",
                [(container_id, *one) for one in present - required],
            )
            connection.executemany(
                "INSERT INTO object_references VALUES (?, ?, ?, ?)",
                [(container_id, *one, running) for one in sorted(required - present)],
            )
            self.set_running(container_id, running=running)

    def set_running(self, container_id: str, *, running: bool) -> None:
        """Say whether a container runs; what it uses stays."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE object_references SET running = ? WHERE container_id = ? AND running != ?",
                (running, container_id, running),
            )

    def delete_references(self, container_id: str) -> None:
        """A container uses nothing any more."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM object_references WHERE container_id = ?", (container_id,))


class ReferenceDifference(msgspec.Struct, frozen=True):
    """How the references on record of a container differ from what its record says."""

    container_id: str
    expected: dict[ObjectReference, bool]
    recorded: dict[ObjectReference, bool]

    def __str__(self) -> str:
        """What is lacking, and what is too much."""
        lacking = [f"{one} is lacking" for one in sorted(self.expected.keys() - self.recorded.keys())]
        more = [f"{one} is too much" for one in sorted(self.recorded.keys() - self.expected.keys())]
        return ", ".join(lacking + more) or "whether it runs is wrong"


def compare(
    expected: Mapping[str, dict[ObjectReference, bool]], recorded: Mapping[str, dict[ObjectReference, bool]]
) -> list[ReferenceDifference]:
    """The containers whose references differ."""
    return [
        ReferenceDifference(one, expected.get(one, {}), recorded.get(one, {}))
        for one in sorted(expected.keys() | recorded.keys())
        if expected.get(one, {}) != recorded.get(one, {})
    ]
