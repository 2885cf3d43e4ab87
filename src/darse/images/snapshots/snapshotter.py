"""The snapshotter: trees that are no container's, each made on another one; builds keep their results in it.

In containerd's words (`core/snapshots`): a snapshot is *prepared* on a parent, and *active* while somebody writes to
it. To *commit* it makes it immutable; from then on it can be a parent. A snapshot is a stack of layers, lowest first. A
layer is one of the image store, by its chain ID, or one of the snapshotter's own: the upper directory of the overlay in
which it was made, renamed to its place. Nothing is copied, and no archive is made. When an own layer is exported it
becomes the image store's, by another rename; a link to it is left for those who know its former place, and removed by
the next engine.

    snapshots-active/<id>/{fs,work}     active; an engine that is killed leaves some, and the next one removes them
    snapshots-committed/<id>/fs         layers of committed snapshots

Layers that are not known to be on the disk have the mark of their boot, as those of images have. Here the results of a
boot that ended too early are simply removed: they can be made again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from darse.core import executors
from darse.core.errors import InvalidParameter, NotFound
from darse.core.ids import new_id
from darse.core.state import Schema, State
from darse.images.layers.store import LayerStore
from darse.images.layers.sync import LayerSync
from darse.images.model import Layer
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import measure
from darse.linux.fs.inode_flags import spread_subdirectories
from darse.linux.fs.mounts import MOST_LAYERS
from darse.runtime.rootfs.trash import Trash

SCHEMA = Schema(
    "snapshotter",
    (
        """
        CREATE TABLE committed_snapshots (id TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE committed_snapshot_layers (
            snapshot TEXT NOT NULL, position INTEGER NOT NULL, layer TEXT NOT NULL, PRIMARY KEY (snapshot, position)
        ) WITHOUT ROWID;
        CREATE INDEX committed_snapshot_layers_layer ON committed_snapshot_layers (layer);
        CREATE TABLE snapshot_layers (
            id TEXT PRIMARY KEY,
            diff_id TEXT NOT NULL DEFAULT '',
            stored_ns INTEGER NOT NULL,
            unflushed_boot TEXT NOT NULL
        ) WITHOUT ROWID
        """,
    ),
)
_CHAIN_ID = "sha256:"


class ActiveSnapshot(msgspec.Struct, frozen=True):
    """A tree that is being written: `fs` over the layers, lowest first."""

    id: str
    layers: tuple[str, ...]
    directory: Path

    @property
    def upper(self) -> Path:
        """What is written: a plain directory, where there are no layers."""
        return self.directory / "fs"

    @property
    def work(self) -> Path:
        """For overlayfs."""
        return self.directory / "work"


class CommittedSnapshot(msgspec.Struct, frozen=True):
    """An immutable tree; `size` is what its topmost layer adds, in bytes."""

    id: str
    layers: tuple[str, ...]
    size: int = 0


class Snapshotter:
    """The snapshots of one engine."""

    def __init__(self, data_root: Path, state: State, layers: LayerStore, trash: Trash) -> None:
        self._active = data_root / "snapshots-active"
        self._committed = data_root / "snapshots-committed"
        self._empty = data_root / "snapshots-empty"
        self._state = state
        self._layers = layers
        self._trash = trash
        self._sync = LayerSync(state, self._committed, table="snapshot_layers", key="id")

    def open(self) -> None:
        """Make the directories, and remove what is not whole: of an engine, or a machine, that ended too early."""
        for directory in (self._active, self._committed):
            # Nobody else passes: layers hold programs that are set-uid (CVE-2021-41091).
            directory.mkdir(exist_ok=True)
            directory.chmod(0o700)
        self._empty.mkdir(mode=0o755, exist_ok=True)
        spread_subdirectories(self._active)
        for path in list(self._active.iterdir()):
            self._trash.take(path)
        present = {path.name for path in self._committed.iterdir()}
        recorded = {str(row[0]) for row in self._state.rows("SELECT id FROM snapshot_layers")}
        lost = (recorded - present) | set(self._sync.unverified())
        images = {str(row[0]) for row in self._state.rows("SELECT DISTINCT layer FROM committed_snapshot_layers")}
        lost |= {layer for layer in images if _is_of_image(layer) and not self._layers.exists(layer)}
        self._remove_rows(
            str(snapshot)
            for layer in lost
            for (snapshot,) in self._state.rows(
                "SELECT snapshot FROM committed_snapshot_layers WHERE layer = ?", (layer,)
            )
        )
        for name in present - {str(row[0]) for row in self._state.rows("SELECT id FROM snapshot_layers")}:
            self._trash.take(self._committed / name)

    async def close(self) -> None:
        """Sync what is not synced."""
        await self._sync.close()

    @property
    def trash(self) -> Trash:
        """Removes trees on the same file system."""
        return self._trash

    # Looking

    def layers_of(self, snapshot: str) -> tuple[str, ...]:
        """The layers of a committed snapshot, lowest first. Raises NotFound."""
        rows = self._state.rows(
            "SELECT layer FROM committed_snapshot_layers WHERE snapshot = ? ORDER BY position", (snapshot,)
        )
        if not rows and not self.exists(snapshot):
            raise NotFound(f"no such snapshot: {snapshot}")
        return tuple(str(row[0]) for row in rows)

    def exists(self, snapshot: str) -> bool:
        """Whether a committed snapshot is there, with all its layers: a damaged one of the image store may be gone."""
        query = """
            SELECT 1 FROM committed_snapshots WHERE id = ? AND NOT EXISTS (
                SELECT 1 FROM committed_snapshot_layers
                WHERE snapshot = id AND layer LIKE 'sha256:%' AND layer NOT IN (SELECT chain_id FROM layers)
            )
        """
        return self._state.row(query, (snapshot,)) is not None

    def path(self, layer: str) -> Path:
        """The files of a layer: a lower directory for overlayfs."""
        return self._layers.path(layer) if _is_of_image(layer) else self._committed / layer / "fs"

    def current(self, layer: str) -> str:
        """A layer as it is called now: one of our own may have become the image store's."""
        path = self._committed / layer
        if _is_of_image(layer) or not path.is_symlink():
            return layer
        return f"{_CHAIN_ID}{path.readlink().name}"

    def lower(self, layers: Sequence[str]) -> tuple[str, ...]:
        """The lower directories of a stack of layers, the topmost first: one at least."""
        return tuple(str(self.path(layer)) for layer in reversed(layers)) or (str(self._empty),)

    @property
    def empty(self) -> str:
        """An empty directory."""
        return str(self._empty)

    def chains_in_use(self) -> set[str]:
        """The chain IDs of the image store's layers that snapshots are made of."""
        rows = self._state.rows("SELECT DISTINCT layer FROM committed_snapshot_layers WHERE layer LIKE 'sha256:%'")
        return {str(row[0]) for row in rows}

    def diff_id(self, layer: str) -> str:
        """The diff ID of an own layer; empty while nobody has asked for its archive."""
        row = self._state.row("SELECT diff_id FROM snapshot_layers WHERE id = ?", (layer,))
        return str(row[0]) if row else ""

    # Writing

    def prepare(self, layers: Sequence[str]) -> ActiveSnapshot:
        """Begin a snapshot on a stack of layers. Commit it, or discard it.

        Raises OSError, and InvalidParameter when no overlay could have one layer more.
        """
        refuse_too_deep(len(layers) + 1)
        name = new_id()
        active = ActiveSnapshot(name, tuple(layers), self._active / name)
        for path in (active.directory, active.upper, active.work):
            path.mkdir(mode=0o755)
            path.chmod(0o755)
        return active

    async def commit(self, active: ActiveSnapshot, size: int | None = None) -> CommittedSnapshot:
        """Make what was written the topmost layer of a new snapshot; `size`, where that is known. Raises OSError."""
        size = await executors.storage.run_to_end(_finish, active, size)
        os.rename(active.directory, self._committed / active.id)
        committed = CommittedSnapshot(active.id, (*active.layers, active.id), size)
        try:
            with self._state.transaction(durable=False) as connection:
                connection.execute(
                    "INSERT INTO snapshot_layers (id, stored_ns, unflushed_boot) VALUES (?, ?, ?)",
                    (active.id, time.time_ns(), self._sync.boot),
                )
                self._record(committed)
        except BaseException:
            self._trash.take(self._committed / active.id)
            raise
        self._sync.schedule()
        return committed

    async def discard(self, active: ActiveSnapshot) -> None:
        """Remove an active snapshot; fine when it was committed."""
        await self._trash.discard(active.directory)

    def view(self, layers: Sequence[str]) -> CommittedSnapshot:
        """A snapshot of layers that are there, with nothing of its own. Raises NotFound for layers that are not."""
        for layer in layers:
            if not (self._layers.exists(layer) if _is_of_image(layer) else self.path(layer).is_dir()):
                raise NotFound(f"no such layer: {layer}")
        committed = CommittedSnapshot(new_id(), tuple(layers))
        with self._state.transaction(durable=False):
            self._record(committed)
        return committed

    def _record(self, snapshot: CommittedSnapshot) -> None:
        with self._state.transaction(durable=False) as connection:
            connection.execute("INSERT INTO committed_snapshots VALUES (?, ?)", (snapshot.id, snapshot.size))
            connection.executemany(
                "INSERT INTO committed_snapshot_layers VALUES (?, ?, ?)",
                [(snapshot.id, position, layer) for position, layer in enumerate(snapshot.layers)],
            )

    async def export(self, layer: str, parent: str | None) -> Layer:
        """An own layer as one of the image store, above the layer with the chain ID `parent`.

        Where the image store has no such layer yet it becomes its: then snapshots are made of that one. Call it with a
        lease on layers. Raises as `LayerStore.adopt`.
        """
        row = self._state.row("SELECT size FROM committed_snapshots WHERE id = ?", (layer,))
        exported, taken = await self._layers.adopt(self._committed / layer, parent, int(row[0]) if row else 1 << 40)
        with self._state.transaction(durable=False) as connection:
            if taken:
                change = "UPDATE committed_snapshot_layers SET layer = ? WHERE layer = ?"
                connection.execute(change, (exported.chain_id, layer))
                connection.execute("DELETE FROM snapshot_layers WHERE id = ?", (layer,))
            else:
                self.set_diff_id(layer, exported.diff_id)
        return exported

    def set_diff_id(self, layer: str, diff_id: str) -> None:
        """Note the digest of an own layer's archive."""
        with self._state.transaction(durable=False) as connection:
            connection.execute("UPDATE snapshot_layers SET diff_id = ? WHERE id = ?", (diff_id, layer))

    # Removing

    async def remove(self, snapshots: Iterable[str]) -> None:
        """Remove committed snapshots, and the own layers that no other has. Layers of images are the collector's."""
        for layer in self._remove_rows(snapshots):
            await self._trash.discard(self._committed / layer)

    def _remove_rows(self, snapshots: Iterable[str]) -> list[str]:
        """Remove the rows of snapshots, and those of own layers that no other has; return these."""
        gone = [(snapshot,) for snapshot in set(snapshots)]
        with self._state.transaction(durable=False) as connection:
            connection.executemany("DELETE FROM committed_snapshot_layers WHERE snapshot = ?", gone)
            connection.executemany("DELETE FROM committed_snapshots WHERE id = ?", gone)
            unused = [
                str(row[0])
                for row in connection.execute(
                    "SELECT id FROM snapshot_layers WHERE id NOT IN (SELECT layer FROM committed_snapshot_layers)"
                )
            ]
            connection.executemany("DELETE FROM snapshot_layers WHERE id = ?", [(layer,) for layer in unused])
        return unused


def refuse_too_deep(layers: int) -> None:
    """Raise InvalidParameter for more layers than an overlay can have, with docker's words and a way out."""
    if layers > MOST_LAYERS:
        raise InvalidParameter(
            f"max depth exceeded: an image has at most {MOST_LAYERS} layers here, for an overlay has no more lower"
            " directories: join instructions, or build with --squash"
        )


def _is_of_image(layer: str) -> bool:
    return layer.startswith(_CHAIN_ID)


def _finish(active: ActiveSnapshot, size: int | None) -> int:
    """Remove what overlayfs has kept beside the files; return the bytes of these."""
    remove_tree(active.work)
    return measure(active.upper).size if size is None else size
