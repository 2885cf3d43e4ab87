"""Disk usage of the image store, as `du` finds it: whole blocks, directories, tar-split metadata.

A layer never changes, so it is measured once, on demand, and the number is recorded.
"""

from __future__ import annotations

from darse.core import executors
from darse.core.state import Schema, State
from darse.images.content.store import ContentStore
from darse.images.layers.remapped import RemappedLayers
from darse.images.layers.store import LayerStore
from darse.linux.fs.files import measure

SCHEMA = Schema(
    "layer_disk_usage",
    ("CREATE TABLE layer_disk_usage (chain_id TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID",),
)


class LayerDiskUsage:
    """Measures the stores of images."""

    def __init__(self, state: State, content: ContentStore, layers: LayerStore, remapped: RemappedLayers) -> None:
        self._state = state
        self._content = content
        self._layers = layers
        self._remapped = remapped

    async def of_layers(self) -> dict[str, int]:
        """Bytes on the disk of every layer, by chain ID."""
        measured: dict[str, int] = dict(self._state.rows("SELECT chain_id, bytes FROM layer_disk_usage"))
        present = self._layers.sizes().keys()
        new = {}
        for chain_id in present - measured.keys():
            new[chain_id] = (await executors.storage.run(measure, self._layers.path(chain_id).parent)).on_disk
        gone = measured.keys() - present
        if new or gone:
            with self._state.transaction(durable=False) as connection:
                connection.executemany("DELETE FROM layer_disk_usage WHERE chain_id = ?", [(one,) for one in gone])
                connection.executemany("INSERT OR REPLACE INTO layer_disk_usage VALUES (?, ?)", list(new.items()))
        return {chain_id: size for chain_id, size in (measured | new).items() if chain_id in present}

    async def total(self) -> int:
        """Bytes on the disk of all layers and their copies, documents and ingests."""
        layers = sum((await self.of_layers()).values())
        return layers + await self._remapped.disk_usage() + await executors.storage.run(self._content.disk_usage)
