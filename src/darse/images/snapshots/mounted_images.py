"""Image mounts: images that containers mount as directories, with a lease on their layers while the container exists.

As with a container's own image, the name and the record of a mounted one may be removed; the row keeps its layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from darse.core.documents import ListCodec
from darse.core.errors import SystemFault
from darse.core.state import State
from darse.images.snapshots.owners import SnapshotOwners

#: The chain IDs of an image's layers, lowest first.
CHAIN_DOCUMENTS = ListCodec(list[str])
CREATE_TABLE = """
    CREATE TABLE mounted_images (
        container_id TEXT NOT NULL,
        image_id TEXT NOT NULL,
        chain BLOB NOT NULL,
        PRIMARY KEY (container_id, image_id)
    ) WITHOUT ROWID
"""


class MountedImages:
    """The images that containers mount."""

    def __init__(self, state: State, owners: SnapshotOwners) -> None:
        self._state = state
        self._owners = owners

    def hold(self, container_id: str, images: Mapping[str, Sequence[str]]) -> None:
        """Record the layers of the images, by id, that a container mounts."""
        with self._state.transaction() as connection:
            for image_id, chain in images.items():
                connection.execute(
                    "INSERT INTO mounted_images VALUES (?, ?, ?)",
                    (container_id, image_id, CHAIN_DOCUMENTS.encode(list(chain))),
                )

    def chain_of(self, container_id: str, image_id: str) -> list[str]:
        """The chain IDs of an image that a container mounts, lowest first. Raises SystemFault for a damaged record."""
        row = self._state.row(
            "SELECT chain FROM mounted_images WHERE container_id = ? AND image_id = ?", (container_id, image_id)
        )
        if row is None:
            return []
        for _, chain in self._state.decoded("mounted_images", [(container_id, row[0])], CHAIN_DOCUMENTS.decode):
            return chain
        damage = self._state.damaged["mounted_images", container_id]
        raise SystemFault(
            f"the record of the images that container {container_id} mounts {damage.found}: {damage.remedy}"
        )

    def layers_of(self, container_id: str, image_id: str) -> list[str]:
        """The directories of such an image's layers, topmost first."""
        return [
            self._owners.layer(container_id, chain_id) for chain_id in reversed(self.chain_of(container_id, image_id))
        ]

    def images_of(self, container_id: str) -> list[str]:
        """The ids of the images that a container mounts."""
        rows = self._state.rows("SELECT image_id FROM mounted_images WHERE container_id = ?", (container_id,))
        return [str(row[0]) for row in rows]

    def chains_in_use(self) -> set[str]:
        """The chain IDs of all mounted images."""
        used: set[str] = set()
        rows = self._state.rows("SELECT container_id, chain FROM mounted_images")
        for _, chain in self._state.decoded("mounted_images", rows, CHAIN_DOCUMENTS.decode):
            used.update(chain)
        return used

    def release_images(self, container_id: str) -> list[str]:
        """Remove the rows of a container; return the images' ids."""
        images = self.images_of(container_id)
        if images:
            with self._state.transaction() as connection:
                connection.execute("DELETE FROM mounted_images WHERE container_id = ?", (container_id,))
        return images
