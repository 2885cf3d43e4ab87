"""Containers' writable layers: `snapshots/<container id>/{upper,work}` over the unpacked layers of an image.

The row names the layers, so a container does not need its image's name or record to be started again.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from darse.core import trace
from darse.core.errors import NotFound, SystemFault
from darse.core.state import REBUILD, Schema, State
from darse.images.layers.diff import Change, layer_changes
from darse.images.layers.store import LayerStore
from darse.images.model import Image
from darse.images.snapshots import mounted_images, owners
from darse.images.snapshots.mounted_images import MountedImages
from darse.images.snapshots.owners import SnapshotOwners
from darse.linux.fs.inode_flags import spread_subdirectories
from darse.recovery.startup import Recovery
from darse.runtime.rootfs.threads import TreeSizes, TreeThreads
from darse.runtime.rootfs.trash import Trash

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
_CHAIN = msgspec.json.Decoder(list[str])
# That are in memory at once.
_DIFFERENCES = 5000


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
        self._threads = TreeThreads(4)
        self._empty = data_root / "snapshots-empty"
        self._state = state
        self._layers = layers
        self.owners = owners
        self.mounted = MountedImages(state, owners)
        # Set by the image service: told the images of each container whose writable layer is removed.
        self.removed: Callable[[str], Awaitable[None]] | None = None

    def open(self, live: Iterable[str], recovery: Recovery) -> None:
        """Make the directories; finish removals, and set aside what belongs to no container in `live`."""
        # Nobody else passes: containers may make programs set-uid (CVE-2021-41091).
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
                self.mounted.release(container_id)
                self.owners.forget(container_id)

    def prepare(self, container_id: str, image: Image, mounted: Mapping[str, Sequence[str]] | None = None) -> None:
        """Make the writable layer of a new container, and pin the layers of images that it mounts, by their ids.

        Raises NotFound when an image was removed meanwhile.
        """
        for image_id, chain in {image.id: image.chain_ids, **(mounted or {})}.items():
            if not all(self._layers.exists(chain_id) for chain_id in chain):
                raise NotFound(f"No such image: {image_id}")
        directory = self._directory / container_id
        with trace.step("file", "writable layer", "mkdir", "-p", f"{directory}/upper", f"{directory}/work"):
            self._state.on_rollback(functools.partial(_take_back, directory))
            for path in (directory, directory / "upper", directory / "work"):
                path.mkdir(mode=0o755)
                path.chmod(0o755)
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT INTO snapshots VALUES (?, ?, ?)",
                (container_id, image.id, msgspec.json.encode(image.chain_ids)),
            )
            self.mounted.pin(container_id, mounted or {})

    def overlay(self, container_id: str) -> Overlay:
        """Return what to mount. Raises NotFound."""
        chain = self.chain_of(container_id)
        lower = tuple(self.owners.layer(container_id, chain_id) for chain_id in reversed(chain)) or (str(self._empty),)
        directory = self._directory / container_id
        return Overlay(lower, str(directory / "upper"), str(directory / "work"))

    def chain_of(self, container_id: str) -> list[str]:
        """The chain IDs of the layers that a container stands on, lowest first. Raises NotFound."""
        row = self._state.row("SELECT chain FROM snapshots WHERE container_id = ?", (container_id,))
        if row is None:
            raise NotFound(f"container {container_id} has no writable layer")
        for _, chain in self._state.decoded("snapshots", [(container_id, row[0])], _CHAIN.decode):
            return chain
        raise SystemFault(f"the record of the writable layer of container {container_id} is damaged: {REBUILD}")

    def orphans(self, containers: Iterable[str]) -> list[str]:
        """The writable layers, rows or directories, that are none of `containers`'."""
        found = {str(row[0]) for row in self._state.rows("SELECT container_id FROM snapshots")}
        found.update(path.name for path in self._directory.iterdir())
        return sorted(found.difference(containers))

    async def differences(self, container_id: str) -> AsyncIterator[list[Change]]:
        """Yield what the container has changed, some at a time; see `darse.images.layers.diff`. Raises NotFound."""
        overlay = self.overlay(container_id)
        found = layer_changes(overlay.lower, overlay.upper)
        while True:
            try:
                some = await self._threads.run(lambda: list(itertools.islice(found, _DIFFERENCES)))
            except FileNotFoundError:
                # Removed meanwhile.
                raise NotFound(f"container {container_id} has no writable layer") from None
            yield some
            if len(some) < _DIFFERENCES:
                return

    async def change_owners(self, container_id: str, owners: str) -> None:
        """Have its files owned by a range of ids, "" for as in images; see `SnapshotOwners.change`. Raises as that."""
        mounted = (self.mounted.chain_of(container_id, one) for one in self.mounted.images_of(container_id))
        chain_ids = [*self.chain_of(container_id), *(chain_id for chain in mounted for chain_id in chain)]
        await self.owners.change(container_id, self._directory / container_id / "upper", chain_ids, owners)

    def chains_in_use(self) -> set[str]:
        """The chain IDs that some container stands on, or mounts."""
        used: set[str] = set()
        for _, chain in self._chains():
            used.update(chain)
        return used | self.mounted.chains_in_use()

    @property
    def is_damaged(self) -> bool:
        """Whether the layers that some container needs are not known."""
        self.chains_in_use()
        return bool(self._state.damaged_in("snapshots") or self._state.damaged_in("mounted_images"))

    @property
    def empty(self) -> str:
        """A directory without anything in it."""
        return str(self._empty)

    def standing_on(self, chain_ids: Iterable[str]) -> list[str]:
        """The containers that stand on one of these layers."""
        wanted = set(chain_ids)
        return [one for one, chain in self._chains() if not wanted.isdisjoint(chain)]

    def _chains(self) -> Iterator[tuple[str, list[str]]]:
        rows = self._state.rows("SELECT container_id, chain FROM snapshots")
        return self._state.decoded("snapshots", rows, _CHAIN.decode)

    async def remove(self, container_id: str) -> None:
        """Remove the writable layer; fine when it is gone."""
        row = self._state.row("SELECT image_id FROM snapshots WHERE container_id = ?", (container_id,))
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM snapshots WHERE container_id = ?", (container_id,))
            images = {*self.mounted.release(container_id), *(row or ())}
            self.owners.forget(container_id)
        directory = self._directory / container_id
        if directory.exists():
            with trace.step("file", "discard the writable layer", "rm", "-r", str(directory)):
                aside = self._trash.take(directory)
            if aside is not None:
                await self._trash.remove(aside)
        if self.removed is not None:
            for image_id in images:
                await self.removed(image_id)

    async def usage(self, container_id: str) -> tuple[int, int]:
        """Return the bytes of the writable layer, and of that and the image together."""
        try:
            chain = self.chain_of(container_id)
        except (NotFound, SystemFault):
            chain = []
        own = (await self._sizes.of(self._directory / container_id / "upper")).size
        return own, own + sum(self._layers.size(chain_id) for chain_id in chain)


def _take_back(directory: Path) -> None:
    """Remove a writable layer into which nothing has been written."""
    for path in (directory / "upper", directory / "work", directory):
        with contextlib.suppress(OSError):
            path.rmdir()


def _holds_nothing(path: Path) -> bool:
    """Whether a writable layer is empty: a creation that was cut short leaves one."""
    upper = path / "upper"
    return path.is_dir() and not (upper.exists() and any(upper.iterdir()))
