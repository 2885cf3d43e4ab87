"""Snapshots: the writable layers of containers, `snapshots/<container id>/{upper,work}` over an image's layers.

The row of a snapshot lists the layers, so a container can start again without the name or the record of its image.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from darse.core import executors, trace
from darse.core.errors import NotFound, SystemFault
from darse.core.executors import Executor
from darse.core.state import Schema, State
from darse.images.layers.diff import Change, layer_changes
from darse.images.layers.store import LayerStore
from darse.images.model import Image
from darse.images.snapshots import mounted_images, owners
from darse.images.snapshots.mounted_images import CHAIN_DOCUMENTS, MountedImages
from darse.images.snapshots.owners import SnapshotOwners
from darse.images.snapshots.snapshotter import refuse_too_deep
from darse.linux.fs.inode_flags import spread_subdirectories
from darse.recovery.startup import Recovery
from darse.runtime.rootfs.trash import Trash
from darse.runtime.rootfs.tree_sizes import TreeSizes

SCHEMA = Schema(
    "snapshots",
    (
        """
        CREATE TABLE snapshots (
            container_id TEXT PRIMARY KEY,
            image_id TEXT NOT NULL,
            chain BLOB NOT NULL
        ) WITHOUT ROWID
        """,
        mounted_images.CREATE_TABLE,
        owners.CREATE_TABLE,
    ),
)
DRIVER = "overlay2"
# Changes in memory at once.
_CHANGES = 5000


class Overlay(msgspec.Struct, frozen=True):
    """The directories of an overlay mount; `lower` has the topmost layer first."""

    lower: tuple[str, ...]
    upper: str
    work: str


class SnapshotService:
    """Prepares, measures and removes writable layers."""

    def __init__(self, data_root: Path, state: State, layers: LayerStore, owners: SnapshotOwners, trash: Trash) -> None:
        self._directory = data_root / "snapshots"
        self._trash = trash
        self._sizes = TreeSizes()
        self._threads = Executor("trees", 4)
        self._empty = data_root / "snapshots-empty"
        self._state = state
        self._layers = layers
        self.owners = owners
        self.mounted = MountedImages(state, owners)

    def open(self, live: Iterable[str], recovery: Recovery) -> None:
        """Make the directories; finish removals, and set orphans aside: those of no container in `live`."""
        # Only root may enter: containers may make programs set-uid (CVE-2021-41091).
        self._directory.mkdir(exist_ok=True)
        self._directory.chmod(0o700)
        spread_subdirectories(self._directory)
        self._empty.mkdir(mode=0o755, exist_ok=True)
        keep = set(live)
        gone = recovery.unfinished.of("containers") - keep
        for path in list(self._directory.iterdir()):
            if path.name in keep:
                continue
            if path.name in gone or _holds_nothing(path):
                self._trash.take(path)
            else:
                recovery.set_aside("snapshots", path, "no record names the container that this writable layer is of")
        with self._state.transaction() as connection:
            for container_id in gone:
                connection.execute("DELETE FROM snapshots WHERE container_id = ?", (container_id,))
                self.mounted.release_images(container_id)
                self.owners.remove_owners(container_id)
        for (container_id,) in self._state.rows("SELECT container_id FROM snapshots"):
            for path in self._places(container_id):
                if container_id in keep and not path.is_dir():
                    recovery.report(f"container {container_id}", f"{path} is missing", "what it had written is lost")
                    break

    def _places(self, container_id: str) -> tuple[Path, Path]:
        """The upper directory of a container's overlay, and its work directory."""
        return self._directory / container_id / "upper", self._directory / container_id / "work"

    def prepare(self, container_id: str, image: Image, mounted: Mapping[str, Sequence[str]] | None = None) -> None:
        """Record the writable layer of a new container, and the layers of the images that it mounts, by their ids.

        `make_directories` follows. Raises NotFound when an image was removed meanwhile, and InvalidParameter when one
        has too many layers.
        """
        for image_id, chain in {image.id: image.chain_ids, **(mounted or {})}.items():
            refuse_too_deep(len(chain))
            if not all(self._layers.exists(chain_id) for chain_id in chain):
                raise NotFound(f"No such image: {image_id}")
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT INTO snapshots VALUES (?, ?, ?)",
                (container_id, image.id, CHAIN_DOCUMENTS.encode(list(image.chain_ids))),
            )
            self.mounted.hold(container_id, mounted or {})

    def make_directories(self, container_id: str) -> None:
        """Make the directories of a writable layer that was prepared. Blocks. Raises OSError."""
        directory = self._directory / container_id
        with trace.step("file", "writable layer", "mkdir", "-p", f"{directory}/upper", f"{directory}/work"):
            for path in (directory, directory / "upper", directory / "work"):
                path.mkdir(mode=0o755)
                path.chmod(0o755)

    def overlay(self, container_id: str) -> Overlay:
        """Return what to mount. Raises NotFound."""
        chain = self.chain_of(container_id)
        lower = tuple(self.owners.layer(container_id, chain_id) for chain_id in reversed(chain)) or (str(self._empty),)
        upper, work = self._places(container_id)
        return Overlay(lower, str(upper), str(work))

    def chain_of(self, container_id: str) -> list[str]:
        """The chain IDs of the layers below a container's own, lowest first. Raises NotFound."""
        row = self._state.row("SELECT chain FROM snapshots WHERE container_id = ?", (container_id,))
        if row is None:
            raise NotFound(f"container {container_id} has no writable layer")
        for _, chain in self._state.decoded("snapshots", [(container_id, row[0])], CHAIN_DOCUMENTS.decode):
            return chain
        damage = self._state.damaged["snapshots", container_id]
        raise SystemFault(
            f"the record of the writable layer of container {container_id} {damage.found}: {damage.remedy}"
        )

    async def orphans(self, containers: Iterable[str]) -> list[str]:
        """The ids of the snapshots, rows or directories, that belong to none of `containers`."""
        found = set(await executors.storage.run(os.listdir, self._directory))
        found.update(str(row[0]) for row in self._state.rows("SELECT container_id FROM snapshots"))
        return sorted(found.difference(containers))

    async def changes(self, container_id: str) -> AsyncIterator[list[Change]]:
        """Yield the changes of a container in batches; see `darse.images.layers.diff`. Raises NotFound."""
        overlay = self.overlay(container_id)
        found = layer_changes(overlay.lower, overlay.upper)
        while True:
            try:
                batch = await self._threads.run(lambda: list(itertools.islice(found, _CHANGES)))
            except FileNotFoundError:
                # It was removed meanwhile.
                raise NotFound(f"container {container_id} has no writable layer") from None
            yield batch
            if len(batch) < _CHANGES:
                return

    async def change_owners(self, container_id: str, owners: str) -> None:
        """Change the owners of its files to a range of ids, or "" as in images; see `SnapshotOwners.change`."""
        mounted = (self.mounted.chain_of(container_id, one) for one in self.mounted.images_of(container_id))
        chain_ids = [*self.chain_of(container_id), *(chain_id for chain in mounted for chain_id in chain)]
        await self.owners.change(container_id, self._directory / container_id / "upper", chain_ids, owners)

    def owners_of(self, container_id: str) -> str:
        """The range of ids of a container's files; empty when owners are as in the image."""
        return self.owners.of(container_id)

    def chains_in_use(self) -> set[str]:
        """The chain IDs of all containers' layers, and of the images that they mount."""
        used: set[str] = set()
        for _, chain in self._chains():
            used.update(chain)
        return used | self.mounted.chains_in_use()

    @property
    def is_damaged(self) -> bool:
        """Whether a row cannot be read: then it is unknown which layers a container needs."""
        self.chains_in_use()
        return bool(self._state.damaged_in("snapshots") or self._state.damaged_in("mounted_images"))

    @property
    def empty(self) -> str:
        """An empty directory."""
        return str(self._empty)

    def using_layers(self, chain_ids: Iterable[str]) -> list[str]:
        """The ids of the containers on one of these layers."""
        requested = set(chain_ids)
        return [one for one, chain in self._chains() if not requested.isdisjoint(chain)]

    def _chains(self) -> Iterator[tuple[str, list[str]]]:
        rows = self._state.rows("SELECT container_id, chain FROM snapshots")
        return self._state.decoded("snapshots", rows, CHAIN_DOCUMENTS.decode)

    async def remove_snapshot(self, container_id: str) -> set[str]:
        """Remove a writable layer, if there is one; return the ids of the images that it was on, or mounted."""
        row = self._state.row("SELECT image_id FROM snapshots WHERE container_id = ?", (container_id,))
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM snapshots WHERE container_id = ?", (container_id,))
            images = {*self.mounted.release_images(container_id), *(row or ())}
            self.owners.remove_owners(container_id)
        directory = self._directory / container_id
        with trace.step("file", "discard the writable layer", "rm", "-r", str(directory)):
            await self._trash.discard(directory)
        return images

    async def usage(self, container_id: str) -> tuple[int, int]:
        """Return the bytes of the writable layer, and of it and the image's layers together."""
        try:
            chain = self.chain_of(container_id)
        except (NotFound, SystemFault):
            chain = []
        own = (await self._sizes.of(self._directory / container_id / "upper")).size
        return own, own + sum(self._layers.size(chain_id) for chain_id in chain)


def _holds_nothing(path: Path) -> bool:
    """Whether a writable layer is empty: a creation that was interrupted leaves one."""
    upper = path / "upper"
    return path.is_dir() and not (upper.exists() and any(upper.iterdir()))
