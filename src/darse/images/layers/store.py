"""The layer store: unpacked layers by chain ID, published by a rename when they are complete, and synced later
(`sync`).

    layers/<hex>/fs        the files, as a lower directory of overlayfs
    layers/<hex>/recipe    the tar-split metadata from which, with the files, the archive is reassembled byte for byte:
                           see `darse.archive.tar_split`

Archives are not kept. The *diff ID* is the digest of a layer's uncompressed archive; the *chain ID* includes the layers
below, so the same archive is another layer on another base.

Whether a layer is needed is derived from the images in the database, never counted. A layer that several operations
need at once is unpacked once. Layers do not depend on each other: they are unpacked in parallel, in any order.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from darse.archive import process
from darse.archive.errors import ArchiveRefused, Damaged
from darse.core import executors
from darse.core.errors import EngineError, InvalidParameter, NotFound, SystemFault
from darse.core.exhaustion import exhausted
from darse.core.locks import KeyedLocks
from darse.core.state import Schema, State
from darse.image_spec.digests import chain_above
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_LAYER
from darse.images.content.store import ContentStore
from darse.images.layers.sources import DescriptorSource, LayerSource
from darse.images.layers.sync import LayerSync
from darse.images.model import Layer
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import NotRegular, exchange, open_regular
from darse.recovery.startup import Recovery

SCHEMA = Schema(
    "layers",
    (
        """
        CREATE TABLE layers (
            chain_id TEXT PRIMARY KEY,
            diff_id TEXT NOT NULL,
            size INTEGER NOT NULL,
            stored_ns INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        # -1 for a layer that an older engine unpacked, which wrote no tar-split metadata.
        "ALTER TABLE layers ADD COLUMN archive_size INTEGER NOT NULL DEFAULT -1",
        # The boot in which a layer came that is not known to be on the disk. Older engines synced first.
        "ALTER TABLE layers ADD COLUMN unflushed_boot TEXT NOT NULL DEFAULT ''",
    ),
)


#: The file of a layer's tar-split metadata, in its directory: its name in every data root.
TAR_SPLIT_FILE = "recipe"
# Bytes from which on a layer of the engine's own is read by a process.
_LARGE_LAYER = 4 << 20


class DamagedLayer(SystemFault):
    """The files of a layer are not the ones that its archive had."""


class StagedLayer(NamedTuple):
    """An unpacked layer that is not published: its directory, its diff ID, bytes of its files and of its archive."""

    path: Path
    diff_id: str
    size: int
    archive_size: int


class LayerStore:
    """Layers under `root`, and their rows."""

    def __init__(self, root: Path, state: State, content: ContentStore) -> None:
        self._directory = root / "layers"
        self._state = state
        self._content = content
        self._locks = KeyedLocks()
        self.sync = LayerSync(state, self._directory)

    def open(self) -> None:
        """Make the directory."""
        # Nobody else passes: layers hold programs that are set-uid, and device nodes (CVE-2021-41091).
        self._directory.mkdir(exist_ok=True)
        self._directory.chmod(0o700)

    def sweep(self, recovery: Recovery) -> None:
        """Finish removals, and set aside the directories that no record names."""
        removed = {self._name(chain_id) for chain_id in recovery.unfinished.of("layers")}
        for path in self.orphans():
            if path.name in removed:
                self._content.trash.take(path)
            else:
                recovery.set_aside("layers", path, "no record names this layer")

    def report_lost(self, recovery: Recovery) -> None:
        """Report layers whose directories are missing."""
        present = {path.name for path in self._directory.iterdir()}
        for chain_id in self.sizes():
            if self._name(chain_id) not in present:
                recovery.report(
                    f"layer {chain_id}",
                    f"{self.path(chain_id)} is missing",
                    "containers and images on it do not work: run `darse system check --repair`",
                )

    # Looking

    def path(self, chain_id: str) -> Path:
        """The layer's files: a lower directory for overlayfs."""
        return self._directory / self._name(chain_id) / "fs"

    def size(self, chain_id: str) -> int:
        """Bytes of the layer's files; 0 when it is not here."""
        row = self._state.row("SELECT size FROM layers WHERE chain_id = ?", (chain_id,))
        return int(row[0]) if row else 0

    def diff_id(self, chain_id: str) -> str:
        """The diff ID of a layer; empty when it is not here."""
        row = self._state.row("SELECT diff_id FROM layers WHERE chain_id = ?", (chain_id,))
        return str(row[0]) if row else ""

    def archive_size(self, chain_id: str) -> int:
        """Bytes of the layer's uncompressed archive. Raises NotFound, also when that cannot be reassembled."""
        row = self._state.row("SELECT archive_size FROM layers WHERE chain_id = ?", (chain_id,))
        if row is None or row[0] < 0:
            raise NotFound(f"the archive of layer {chain_id} is not there")
        return int(row[0])

    def sizes(self) -> dict[str, int]:
        """Bytes of every layer, by chain ID."""
        return dict(self._state.rows("SELECT chain_id, size FROM layers"))

    def rebuildable(self) -> set[str]:
        """The chain IDs of the layers whose archives can be reassembled: not those that an older engine unpacked."""
        return {chain_id for (chain_id,) in self._state.rows("SELECT chain_id FROM layers WHERE archive_size >= 0")}

    def with_diff_id(self, diff_id: str) -> str | None:
        """The chain ID of a layer of this diff ID whose archive can be reassembled; None when there is none."""
        return next(iter(self.of_diff_id(diff_id)), None)

    def of_diff_id(self, diff_id: str) -> list[str]:
        """The chain IDs of the layers of this diff ID whose archives can be reassembled."""
        rows = self._state.rows("SELECT chain_id FROM layers WHERE diff_id = ? AND archive_size >= 0", (diff_id,))
        return [str(chain_id) for (chain_id,) in rows]

    def orphans(self) -> list[Path]:
        """The directories that are no layer. Blocks."""
        return self._without_record(self._directory.iterdir())

    async def lasting_orphans(self) -> list[Path]:
        """The directories that are no layer, and are not just made one, or removed."""
        found = self._without_record(await executors.storage.run(self._paths))
        if not found:
            return []
        async with self.locked(f"sha256:{path.name}" for path in found):
            return self._without_record(set(found).intersection(await executors.storage.run(self._paths)))

    def _paths(self) -> list[Path]:
        return list(self._directory.iterdir())

    def _without_record(self, paths: Iterable[Path]) -> list[Path]:
        known = {self._name(chain_id) for (chain_id,) in self._state.rows("SELECT chain_id FROM layers")}
        return sorted(path for path in paths if path.name not in known)

    def exists(self, chain_id: str) -> bool:
        """Whether the layer is here, complete."""
        return self._state.row("SELECT 1 FROM layers WHERE chain_id = ?", (chain_id,)) is not None

    # Writing

    async def ensure(self, chain_id: str, diff_id: str, source: LayerSource, *, limit: int = -1) -> None:
        """Unpack an archive as layer `chain_id` unless that is here; then `source` is not opened.

        `limit` bounds the uncompressed archive, in bytes. Raises InvalidParameter when the archive is refused or is
        not what `diff_id` says, and SystemFault when this host cannot hold it.
        """
        async with self._locks.hold(chain_id):
            if self.exists(chain_id):
                return
            staged = await self.stage(source, diff_id, limit=limit)
            try:
                if staged.diff_id != diff_id:
                    raise InvalidParameter(f"the layer unpacks to {staged.diff_id}, and the image says {diff_id}")
                await self._publish(staged, chain_id)
            finally:
                await self.discard_staged(staged)

    async def stage(self, source: LayerSource, name: str, *, limit: int = -1) -> StagedLayer:
        """Unpack an archive before its chain ID is known; errors call it `name`. Raises as `ensure` does.

        The caller publishes or discards it.
        """
        target = self._content.temporary()
        try:
            answer = await self._unpack(source, target, name, limit)
        except BaseException:
            await _removed(target)
            raise
        return StagedLayer(target, f"sha256:{answer['digest']}", int(answer["content"]), int(answer["length"]))

    async def publish(self, staged: StagedLayer, chain_id: str) -> None:
        """Make a staged layer the layer `chain_id`, unless that is here."""
        async with self._locks.hold(chain_id):
            if not self.exists(chain_id):
                await self._publish(staged, chain_id)
        await self.discard_staged(staged)

    async def discard_staged(self, staged: StagedLayer) -> None:
        """Remove a staged layer; does nothing when it was published."""
        await _removed(staged.path)

    async def commit(
        self,
        upper: Path,
        parent: str | None,
        *,
        skip: Iterable[str] = (),
        owners: str = "",
        newest: int | None = None,
    ) -> Layer:
        """Make a layer of an overlay's upper directory, on the layer whose chain ID is `parent` (None: on no layer).

        `skip` are absolute paths in it that are left out, `owners` its id mapping. Times after `newest` (seconds since
        the epoch) become that one. The directory is read once and its files are copied once: the layer shares none with
        the container, which may go on changing them. The blob of the result is the uncompressed archive, which is in no
        registry yet.

        Nothing else runs between the moment when the layer is recorded and the return. Raises InvalidParameter for a
        tree that no layer can hold, and SystemFault.
        """
        packer, reading = await process.start_pack(upper, skip, owners, newest)
        try:
            try:
                staged = await self.stage(DescriptorSource(reading), "that is committed")
            except EngineError:
                # Perhaps because the other worker failed: then its reason is the better one.
                packed = await _run(process.answer(packer))
                if "closed" not in packed:
                    _checked(packed, "that is committed", self._content.staging)
                raise
            chain_id = chain_above(parent, staged.diff_id)
            try:
                _checked(await _run(process.answer(packer)), "that is committed", self._content.staging)
                async with self._locks.hold(chain_id):
                    if not self.exists(chain_id):
                        await self._publish(staged, chain_id)
            finally:
                await self.discard_staged(staged)
        finally:
            await packer.end()
        return Layer(Descriptor(OCI_LAYER, staged.diff_id, staged.archive_size), staged.diff_id, chain_id)

    async def adopt(self, directory: Path, parent: str | None, size: int) -> tuple[Layer, bool]:
        """Make a layer of a directory in which `fs` has the files of an overlay's upper one; whether it was taken.

        It is taken by a rename, and a link to it is left in its place for those who know that name; nobody may change
        its files. A layer with the same files that is here already is used instead. `size` are the bytes of its files,
        for the choice of how it is read. Call it with a lease; nothing else runs between the moment when the layer is
        recorded and the return. Raises InvalidParameter for a tree that no layer can hold, and SystemFault.
        """
        path = directory / TAR_SPLIT_FILE
        path.unlink(missing_ok=True)
        tar_split = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            answer = await _recorded(directory / "fs", tar_split, size)
        finally:
            os.close(tar_split)
        _checked(answer, "that is built", self._content.staging)
        length = int(answer["length"])
        diff_id = f"sha256:{answer['digest']}"
        chain_id = chain_above(parent, diff_id)
        async with self._locks.hold(chain_id):
            taken = not self.exists(chain_id)
            if taken:
                staged = StagedLayer(directory, diff_id, int(answer["content"]), length)
                await self._publish(staged, chain_id, leave_link=True)
        return Layer(Descriptor(OCI_LAYER, diff_id, length), diff_id, chain_id), taken

    async def _unpack(self, source: LayerSource, target: Path, name: str, limit: int) -> dict[str, str]:
        """Unpack an archive below `target`/fs in a worker process; return its answer."""
        root = target / "fs"
        archive = source.open()
        try:
            root.mkdir(mode=0o755, parents=True)
            root.chmod(0o755)
            tar_split = os.open(target / TAR_SPLIT_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                answer = await _run(process.unpack(root, archive, tar_split, size=source.size, limit=limit))
                _checked(answer, name, target.parent, source.size)
                if "digest" not in answer:
                    raise SystemFault(f"cannot unpack layer {name}: the worker ended well, and answered only {answer}")
                return answer
            finally:
                os.close(tar_split)
        finally:
            os.close(archive)

    async def _publish(self, staged: StagedLayer, chain_id: str, *, leave_link: bool = False) -> None:
        """Record a layer, and rename it into its place; it is synced later.

        leave_link: from one moment to the next there is a link in its former place.

        The record is not synced here either: the record of an image is, and syncs all records before it. The record
        comes before the rename, so that a crash leaves no directory without a record.
        """
        final = self._directory / self._name(chain_id)
        if final.exists():
            await executors.storage.run(remove_tree, final)
        columns = "chain_id, diff_id, size, stored_ns, archive_size, unflushed_boot"
        with self._state.transaction(durable=False) as connection:
            connection.execute(
                f"INSERT INTO layers ({columns}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
                (chain_id, staged.diff_id, staged.size, time.time_ns(), staged.archive_size, self.sync.boot),
            )
        try:
            if leave_link:
                os.symlink(final, final)
                exchange(staged.path, final)
            else:
                os.rename(staged.path, final)
        except OSError:
            with self._state.transaction(durable=False) as connection:
                connection.execute("DELETE FROM layers WHERE chain_id = ?", (chain_id,))
            raise
        self.sync.schedule()

    def exchange(self, staged: StagedLayer, chain_id: str) -> None:
        """Swap a staged layer with the layer `chain_id`, which is the same; the staged one is the old one afterwards.

        Raises OSError.
        """
        exchange(staged.path, self._directory / self._name(chain_id))

    # Reassembling archives

    async def archive(self, chain_id: str) -> AsyncIterator[bytes]:
        """Yield the layer's uncompressed archive, byte for byte. Call it with a lease on the layer.

        Raises NotFound, and at the end DamagedLayer when the files were changed: then the bytes are not the archive.
        """
        tar_split = self._open_tar_split(chain_id)
        answer: dict[str, str] = {}
        try:
            pieces = process.stream(self.path(chain_id), tar_split, answer)
            try:
                async for piece in pieces:
                    yield piece
            except process.WorkerFailed as error:
                raise SystemFault(str(error)) from error
            finally:
                await pieces.aclose()
        finally:
            os.close(tar_split)
        self._check_rebuilt(chain_id, answer)

    async def write_archive(self, chain_id: str, target: int) -> None:
        """Write the layer's uncompressed archive to a file descriptor, which is faster than `archive`.

        Raises the same, and BrokenPipeError when the reader has gone.
        """
        tar_split = self._open_tar_split(chain_id)
        try:
            self._check_rebuilt(chain_id, await _run(process.rebuild(self.path(chain_id), tar_split, target)))
        finally:
            os.close(tar_split)

    async def verify(self, chain_id: str) -> None:
        """Reassemble the layer's archive and compare its digest. Raises NotFound, and DamagedLayer when it differs."""
        tar_split = self._open_tar_split(chain_id)
        try:
            self._check_rebuilt(chain_id, await _run(process.verify(self.path(chain_id), tar_split)))
        finally:
            os.close(tar_split)

    def _open_tar_split(self, chain_id: str) -> int:
        self.archive_size(chain_id)
        try:
            return open_regular(self._directory / self._name(chain_id) / TAR_SPLIT_FILE)
        except FileNotFoundError:
            raise DamagedLayer(f"layer {chain_id} is damaged: its tar-split metadata is missing") from None
        except NotRegular as error:
            raise DamagedLayer(f"layer {chain_id} is damaged: its tar-split metadata is {error}") from None

    def _check_rebuilt(self, chain_id: str, answer: dict[str, str]) -> None:
        row = self._state.row("SELECT diff_id FROM layers WHERE chain_id = ?", (chain_id,))
        if row is None:
            raise NotFound(f"layer {chain_id} was removed meanwhile")
        if "closed" in answer:
            raise BrokenPipeError(answer["closed"])
        if problem := answer.get("damaged") or answer.get("fault"):
            raise DamagedLayer(f"layer {chain_id} is damaged: {problem}")
        if f"sha256:{answer.get('digest')}" != row[0]:
            raise DamagedLayer(f"layer {chain_id} is damaged: its tar-split metadata is that of another layer")

    # Removing

    @asynccontextmanager
    async def locked(self, chain_ids: Iterable[str]) -> AsyncIterator[None]:
        """Let none of these layers be published during the block, in which they are removed.

        Their records go in one moment, and their directories in a thread, before the same layer may come again.
        """
        async with AsyncExitStack() as held:
            # Whoever publishes holds one at a time, and waits for no other.
            for chain_id in sorted(set(chain_ids)):
                await held.enter_async_context(self._locks.hold(chain_id))
            yield

    def delete_records(self, chain_ids: Iterable[str]) -> None:
        """Remove the records of layers: they are not here any more. `take_out` is to follow."""
        with self._state.transaction() as connection:
            connection.executemany("DELETE FROM layers WHERE chain_id = ?", [(chain_id,) for chain_id in chain_ids])

    def take_out(self, chain_ids: Iterable[str]) -> list[Path]:
        """Rename the directories of layers into the staging directory; return those, which are to be deleted. Blocks.

        The same layer may be unpacked again while this one is deleted.
        """
        paths = []
        for chain_id in chain_ids:
            aside = self._content.temporary()
            with contextlib.suppress(FileNotFoundError):  # it was removed by other means: nothing is left to delete
                os.rename(self._directory / self._name(chain_id), aside)
                paths.append(aside)
        return paths

    @staticmethod
    def _name(chain_id: str) -> str:
        return chain_id.removeprefix("sha256:")


async def _recorded(files: Path, tar_split: int, size: int) -> dict[str, str]:
    """What `record_layer` finds: in a thread where that takes less time than a process's start."""
    if size > _LARGE_LAYER:
        return await _run(process.record(files, tar_split))
    from darse.archive.layer_record import record_layer  # noqa: PLC0415 - an engine that builds nothing does without

    def record() -> dict[str, str]:
        try:
            return {key: str(value) for key, value in record_layer(tar_split, os.fsencode(files)).items()}
        except ArchiveRefused as error:
            return {"error": str(error)}
        except Damaged as error:
            raise SystemFault(str(error)) from error

    return await executors.storage.run_to_end(record)


async def _run(worker: Awaitable[dict[str, str]]) -> dict[str, str]:
    try:
        return await worker
    except process.WorkerFailed as error:
        raise SystemFault(str(error)) from error


def _checked(answer: dict[str, str], name: str, directory: Path, size: int = 0) -> dict[str, str]:
    if "fault" in answer:
        number = int(answer["errno"])
        if fault := exhausted(OSError(number, ""), directory, max(size, 0)):
            raise type(fault)(f"cannot unpack layer {name}: {fault}")
        raise SystemFault(f"cannot unpack layer {name}: {answer['fault']}")
    if "error" in answer:
        raise InvalidParameter(f"layer {name} is refused: {answer['error']}")
    return answer


async def _removed(path: Path) -> None:
    """Remove a tree if there is one; when this is cancelled, the tree is gone, too."""
    if path.exists():
        await executors.storage.run_to_end(remove_tree, path)
