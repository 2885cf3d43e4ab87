"""Whose ids the files of a container's writable layer have on the disk; see `darse.images.layers.remapped`.

Mostly root's and so on, as images say; then there is no row. A row names the range that they are mapped to, and so
which copies of the layers are below. A change is recorded before it begins and when it is complete; what was
interrupted in between is begun again by the next one, for what was mapped already is not mapped twice.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from pathlib import Path

from darse.archive.errors import Refused
from darse.archive.id_mapping import Owners, change_owners
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
    """The rows, and how they change."""

    def __init__(self, state: State, layers: LayerStore, shifted: RemappedLayers) -> None:
        self._state = state
        self._layers = layers
        self._shifted = shifted
        self._rows: dict[str, tuple[str, bool]] = {
            container_id: (owners, bool(complete))
            for container_id, owners, complete in state.rows("SELECT * FROM snapshot_owners")
        }

    def of(self, container_id: str) -> str:
        """The range, as `Owners.parse` reads it; empty when owners are as in the image."""
        return self._rows.get(container_id, ("", True))[0]

    def layer(self, container_id: str, chain_id: str) -> str:
        """The directory of a layer that suits the container's own."""
        owners = self.of(container_id)
        return str(self._shifted.path(chain_id, owners) if owners else self._layers.path(chain_id))

    async def change(self, container_id: str, upper: Path, chain_ids: Iterable[str], owners: str) -> None:
        """Have the container's files owned by a range; "" for as in the image. Nothing of it may run.

        `chain_ids` are the layers that it needs. Raises as `RemappedLayers.ensure`, and InvalidParameter for
        what cannot be mapped.
        """
        now, complete = self._rows.get(container_id, ("", True))
        if owners:
            await self._shifted.ensure(chain_ids, owners)
        if (now, complete) == (owners, True):
            return
        try:
            if now and now != owners:
                await self._move(container_id, upper, now, Owners.parse(now).reversed(), complete="")
            if owners:
                await self._move(container_id, upper, owners, Owners.parse(owners), complete=owners)
        except Refused as error:
            raise InvalidParameter(f"userns-remap: the files of container {container_id}: {error}") from error

    async def _move(self, container_id: str, upper: Path, owners: str, mapping: Owners, *, complete: str) -> None:
        self._record(container_id, owners, complete=False)
        await asyncio.to_thread(change_owners, str(upper), mapping)
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

    def forget(self, container_id: str) -> None:
        """The container is removed."""
        if container_id in self._rows:
            self._record(container_id, "", complete=True)
