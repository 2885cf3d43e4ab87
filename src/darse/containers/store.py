"""All containers: the table, and the index by id, name and abbreviated id that every request goes through.

What a container uses of images, networks and volumes is written with its record: see `darse.core.object_references`.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterator

import msgspec

from darse.containers.model import RECORD_DOCUMENTS, STATE_DOCUMENTS, Container, Record, Status, references_of
from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.core.ids import may_be_id_prefix
from darse.core.object_references import ObjectKind, ObjectReference, ObjectReferences, ReferenceDifference, compare
from darse.core.state import Schema
from darse.core.state import State as Database

SCHEMA = Schema(
    "containers",
    (
        """
        CREATE TABLE containers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            image_id TEXT NOT NULL,
            record BLOB NOT NULL,
            state BLOB NOT NULL
        ) WITHOUT ROWID
        """,
    ),
)


class ContainerStore:
    """The containers in memory, and their rows."""

    def __init__(self, database: Database) -> None:
        """Read every row."""
        self._database = database
        self._references = ObjectReferences(database)
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, Container] = {}
        self._sorted_ids: list[str] = []
        self._linked: dict[str, Container] = {}
        self._damaged_names: dict[str, str] = {}
        self._damaged_images: dict[str, str] = {}
        for id_, name, image_id, record, state in database.rows(
            "SELECT id, name, image_id, record, state FROM containers"
        ):
            try:
                container = Container(RECORD_DOCUMENTS.decode(record), STATE_DOCUMENTS.decode(state))
            except (msgspec.MsgspecError, TypeError, ValueError) as error:
                database.is_damaged("containers", id_, error)
                self._damaged_names[name] = id_
                self._damaged_images[id_] = image_id
            else:
                self._index(container)

    def __iter__(self) -> Iterator[Container]:
        """Every container that a client may know."""
        return (one for one in self.everything() if one.state.status is not Status.CREATING)

    def __len__(self) -> int:
        return sum(1 for _ in self.visible())

    def visible(self) -> Iterator[Container]:
        """Those that clients see: all but the engine's own."""
        return (one for one in self if not one.record.plugin)

    def with_links(self) -> list[Container]:
        """Those that were created with links to others."""
        return list(self._linked.values())

    def everything(self) -> list[Container]:
        """All of them, also those whose creation is under way."""
        return list(self._by_id.values())

    def find(self, reference: str) -> Container | None:
        """Return the container of a full id, a name, or the name that another has linked it under (`app/mysql`)."""
        found = self._by_id.get(reference) or self._by_name.get(reference.removeprefix("/"))
        if found is None and "/" in reference:
            found = self._linked_as(reference)
        return found if found is not None and found.state.status is not Status.CREATING else None

    def _linked_as(self, reference: str) -> Container | None:
        name, _, alias = reference.removeprefix("/").partition("/")
        parent = self._by_name.get(name)
        links = parent.record.links if parent is not None else ()
        return next((self.find(link.target) for link in links if alias and link.alias == alias), None)

    def get(self, reference: str) -> Container:
        """Return the container of an id, a name or an abbreviated id, in that order.

        Raises NotFound, and InvalidParameter for an abbreviation that several ids share.
        """
        found = self.find(reference)
        if found is not None and not found.record.plugin:
            return found
        if may_be_id_prefix(reference):
            at = bisect.bisect_left(self._sorted_ids, reference)
            matches = [one for one in self._sorted_ids[at : at + 2] if one.startswith(reference)]
            found = self.find(matches[0]) if len(matches) == 1 else None
            if found is not None and not found.record.plugin:
                return found
            if len(matches) > 1:
                raise InvalidParameter(f"multiple IDs found with provided prefix: {reference}")
        raise NotFound(f"No such container: {reference}")

    def add(self, container: Container) -> None:
        """Insert a container. Raises Conflict when its name is taken."""
        self.refuse_taken(container.name)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO containers VALUES (?, ?, ?, ?, ?)",
                (
                    container.id,
                    container.name,
                    container.record.image_id,
                    RECORD_DOCUMENTS.encode(container.record),
                    STATE_DOCUMENTS.encode(container.state),
                ),
            )
            self._references.replace_references(
                container.id, references_of(container.record), running=container.state.active
            )
            self._database.on_rollback(functools.partial(self._remove_from_index, container))
            self._index(container)

    def save_state(self, container: Container) -> None:
        """Write the container's state."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE containers SET state = ? WHERE id = ?", (STATE_DOCUMENTS.encode(container.state), container.id)
            )
            self._references.set_running(container.id, running=container.state.active)

    def save_record(self, container: Container, record: Record | None = None) -> None:
        """Write the container's record, or give it another one."""
        new = container.record if record is None else record
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE containers SET record = ? WHERE id = ?", (RECORD_DOCUMENTS.encode(new), container.id)
            )
            self._references.replace_references(container.id, references_of(new), running=container.state.active)
            self._database.on_commit(functools.partial(setattr, container, "record", new))

    def rename(self, container: Container, name: str) -> None:
        """Give a container another name. Raises Conflict when it is taken."""
        self.refuse_taken(name)
        old = container.name
        record = msgspec.structs.replace(container.record, name=name)
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE containers SET name = ?, record = ? WHERE id = ?",
                (name, RECORD_DOCUMENTS.encode(record), container.id),
            )

        def renamed() -> None:
            container.record = record
            del self._by_name[old]
            self._by_name[name] = container

        self._database.on_commit(renamed)

    def delete_container(self, container: Container) -> None:
        """Remove a container's row."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM containers WHERE id = ?", (container.id,))
            self._references.delete_references(container.id)
            self._database.on_rollback(functools.partial(self._index, container))
            self._remove_from_index(container)

    def counts(self) -> dict[Status, int]:
        """How many containers there are in each state."""
        counts = dict.fromkeys(Status, 0)
        for container in self.visible():
            counts[container.state.status] += 1
        return counts

    def name_is_taken(self, name: str) -> bool:
        """Whether a container has this name."""
        return name in self._by_name or name in self._damaged_names

    @property
    def damaged(self) -> set[str]:
        """The ids of containers whose rows cannot be read; what is theirs stays as it is."""
        return set(self._damaged_names.values())

    def reference_differences(self) -> list[ReferenceDifference]:
        """The containers whose references differ from what their records say.

        A container whose record is damaged keeps those that it has, and its image's at least.
        """
        recorded = self._references.recorded()
        expected = {
            container.id: dict.fromkeys(references_of(container.record), container.state.active)
            for container in self.everything()
        }
        for container_id, image_id in self._damaged_images.items():
            own_image = {ObjectReference(ObjectKind.IMAGE, image_id): True}
            expected[container_id] = own_image | recorded.get(container_id, {})
        return compare(expected, recorded)

    def repair_references(self) -> list[ReferenceDifference]:
        """Write the references anew that differ, and return the differences. References of no container go."""
        differences = self.reference_differences()
        if differences:
            with self._database.transaction():
                for one in differences:
                    running = any(one.expected.values())
                    self._references.replace_references(one.container_id, one.expected, running=running)
        return differences

    def refuse_taken(self, name: str) -> None:
        """Raise Conflict when a container has this name."""
        holder = self._by_name.get(name)
        holder_id = holder.id if holder is not None else self._damaged_names.get(name)
        if holder_id is not None:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder_id}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def _index(self, container: Container) -> None:
        self._by_id[container.id] = container
        self._by_name[container.name] = container
        if container.record.links:
            self._linked[container.id] = container
        bisect.insort(self._sorted_ids, container.id)

    def _remove_from_index(self, container: Container) -> None:
        del self._by_id[container.id]
        del self._by_name[container.name]
        self._linked.pop(container.id, None)
        del self._sorted_ids[bisect.bisect_left(self._sorted_ids, container.id)]
