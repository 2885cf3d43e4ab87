"""The owners that the files of writable layers have on the disk: an id mapping; see `darse.images.layers.remapped`.

Without a row, owners are as in the image. A row names the range to which they are mapped, and so which remapped layers
are below. A change is recorded before it begins and when it is complete; an interrupted change is repeated by the next
one, since files that are mapped already are not mapped twice.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from darse.archive.errors import ArchiveRefused
from darse.archive.id_mapping import Owners, change_owners
from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.core.state import State
from darse.images.layers.remapped import RemappedLayers
from darse.images.layers.store import LayerStore

CREATE_TABLE = """
    CREATE TABLE snapshot_owners (
        container_id TEXT PRIMARY KEY,
        owners TEXT NOT NULL,
        complete INTEGER NOT NULL
    ) WITHOUT ROWID
"""


class SnapshotOwners:
    """The id mapping of each writable layer."""

    def __init__(self, state: State, layers: LayerStore, remapped: RemappedLayers) -> None:
        self._state = state
        self._layers = layers
        self._remapped = remapped
        self._rows: dict[str, tuple[str, bool]] = {
            container_id: (owners, bool(complete))
            for container_id, owners, complete in state.rows("SELECT * FROM snapshot_owners")
        }

    def of(self, container_id: str) -> str:
        """The range, as `Owners.parse` reads it; empty when owners are as in the image."""
        return self._rows.get(container_id, ("", True))[0]

    def layer(self, container_id: str, chain_id: str) -> str:
        """The directory of a layer with the owners of the container."""
        owners = self.of(container_id)
        return str(self._remapped.path(chain_id, owners) if owners else self._layers.path(chain_id))

    async def change(self, container_id: str, upper: Path, chain_ids: Iterable[str], owners: str) -> None:
        """Change the owners of a container's files to a range, or to those of the image (""). It must not run.

        `chain_ids` are the layers that it needs. Raises as `RemappedLayers.ensure`, and InvalidParameter for ids that
        cannot be mapped.
        """
        now, complete = self._rows.get(container_id, ("", True))
        if owners:
            await self._remapped.ensure(chain_ids, owners)
        if (now, complete) == (owners, True):
            return
        try:
            if now and now != owners:
                await self._move(container_id, upper, now, Owners.parse(now).reversed(), complete="")
            if owners:
                await self._move(container_id, upper, owners, Owners.parse(owners), complete=owners)
        except ArchiveRefused as error:
            raise InvalidParameter(f"userns-remap: the files of container {container_id}: {error}") from error

    async def _move(self, container_id: str, upper: Path, owners: str, mapping: Owners, *, complete: str) -> None:
        self._record(container_id, owners, complete=False)
        await executors.storage.run(change_owners, str(upper), mapping)
        self._record(container_id, complete, complete=True)

    def _record(self, container_id: str, owners: str, *, complete: bool) -> None:
        with self._state.transaction() as connection:
            if owners:
                connection.execute(
                    "INSERT OR REPLACE INTO snapshot_owners VALUES (?, ?, ?)", (container_id, owners, complete)
                )
            else:
                connection.execute("DELETE FROM snapshot_owners WHERE container_id = ?", (container_id,))
            self._state.on_commit(functools.partial(self._remember, container_id, owners, complete=complete))

    def _remember(self, container_id: str, owners: str, *, complete: bool) -> None:
        if owners:
            self._rows[container_id] = (owners, complete)
        else:
            self._rows.pop(container_id, None)

    def remove_owners(self, container_id: str) -> None:
        """Remove the row of a container."""
        if container_id in self._rows:
            self._record(container_id, "", complete=True)
