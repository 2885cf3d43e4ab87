"""Unpacked layers, by chain ID, published by a rename once they are whole; flushed to the disk later (`flushing`).

    layers/<hex>/fs        the files, as overlayfs takes them for a lower directory
    layers/<hex>/recipe    what it takes to rebuild the archive that they came from, byte for byte: see
                           `darse.archive.tar_split`

Archives are not kept. The *diff ID* is the digest of a layer's uncompressed archive; the *chain ID* that of the layers
below included, so the same archive is another layer on another base.

Whether a layer is needed is derived from the images in the database, never counted. A layer that several want at once
is unpacked once. Layers do not depend on each other, and may be unpacked in parallel, in any order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from darse.archive import process
from darse.core.errors import EngineError, InvalidParameter, NotFound, SystemFault
from darse.core.exhaustion import exhausted
from darse.core.locks import KeyedLocks
from darse.core.state import Schema, State
from darse.images.content.store import ContentStore
from darse.images.layers.sync import LayerSync
from darse.images.model import LAYER, Descriptor, Layer, chain_above
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
        # Of a layer that an older engine unpacked, which wrote no recipe: -1.
        "ALTER TABLE layers ADD COLUMN archive_size INTEGER NOT NULL DEFAULT -1",
        # The boot in which a layer came that is not known to be on the disk. Older engines flushed first.
        "ALTER TABLE layers ADD COLUMN unflushed_boot TEXT NOT NULL DEFAULT ''",
    ),
)


class LayerSource(Protocol):
    """Where a layer's archive comes from, in whichever compression."""

    @property
    def size(self) -> int:
        """Bytes that are read of it, -1 when that is not known; a pipe that gives more is refused."""

    def open(self) -> int:
        """Return a descriptor of which the archive is read, from where it stands; the store closes it.

        A file, or a pipe that somebody feeds, who sees EPIPE when the layer is refused.
        """


class FileSource:
    """An archive in a file, or a part of one."""

    def __init__(self, path: Path, offset: int = 0, size: int = -1) -> None:
        self._path = path
        self._offset = offset
        self.size = size

    def open(self) -> int:
        """Raises OSError."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        if self._offset:
            os.lseek(descriptor, self._offset, os.SEEK_SET)
        return descriptor


class _Reading:
    """The reading end of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = -1

    def open(self) -> int:
        """Hand it over."""
        return self._descriptor


class DamagedLayer(SystemFault):
    """A layer's files are not what they were."""


class StagedLayer(NamedTuple):
    """An unpacked layer that has no place yet: its directory, diff ID, and bytes of its files and of its archive."""

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
        # Set by who keeps copies of layers: told of those that go, it answers what is left of its copies, as `remove`.
        self.copies: Callable[[list[str]], list[Path]] = lambda _: []
        self.flushing = LayerSync(state, self._directory)

    def open(self) -> None:
        """Make the directory."""
        # Nobody else passes: layers hold programs that are set-uid, and device nodes (CVE-2021-41091).
        self._directory.mkdir(exist_ok=True)
        self._directory.chmod(0o700)

    def sweep(self, recovery: Recovery) -> None:
        """Finish removals, and set aside what no record names."""
        removed = {self._name(chain_id) for chain_id in recovery.unfinished.of("layers")}
        for path in self.orphans():
            if path.name in removed:
                self._content.trash.take(path)
            else:
                recovery.set_aside("layers", path, "no record names this layer")

    def report_lost(self, recovery: Recovery) -> None:
        """Report layers that the disk has lost."""
        present = {path.name for path in self._directory.iterdir()}
        for chain_id in self.sizes():
            if self._name(chain_id) not in present:
                recovery.report(
                    f"layer {chain_id}",
                    f"{self.path(chain_id)} is missing",
                    "containers and images on it do not work: run `darse system check --repair`",
                )

    # What there is

    def path(self, chain_id: str) -> Path:
        """The directory that overlayfs takes as a lower one."""
        return self._directory / self._name(chain_id) / "fs"

    def size(self, chain_id: str) -> int:
        """Bytes of the layer's files; 0 when it is not there."""
        row = self._state.row("SELECT size FROM layers WHERE chain_id = ?", (chain_id,))
        return int(row[0]) if row else 0

    def archive_size(self, chain_id: str) -> int:
        """Bytes of the layer's uncompressed archive. Raises NotFound, also when it has no recipe."""
        row = self._state.row("SELECT archive_size FROM layers WHERE chain_id = ?", (chain_id,))
        if row is None or row[0] < 0:
            raise NotFound(f"the archive of layer {chain_id} is not there")
        return int(row[0])

    def sizes(self) -> dict[str, int]:
        """Bytes of every layer, by chain ID."""
        return dict(self._state.rows("SELECT chain_id, size FROM layers"))

    def rebuildable(self) -> set[str]:
        """The chain IDs of the layers whose archives can be rebuilt: all but those that an older engine unpacked."""
        return {chain_id for (chain_id,) in self._state.rows("SELECT chain_id FROM layers WHERE archive_size >= 0")}

    def with_diff_id(self, diff_id: str) -> str | None:
        """The chain ID of a layer that came from the archive `diff_id`, and can give it back."""
        return next(iter(self.of_diff_id(diff_id)), None)

    def of_diff_id(self, diff_id: str) -> list[str]:
        """The chain IDs of the layers that came from the archive `diff_id`, and can give it back."""
        rows = self._state.rows("SELECT chain_id FROM layers WHERE diff_id = ? AND archive_size >= 0", (diff_id,))
        return [str(chain_id) for (chain_id,) in rows]

    def orphans(self) -> list[Path]:
        """What is in the directory and no layer."""
        known = {self._name(chain_id) for (chain_id,) in self._state.rows("SELECT chain_id FROM layers")}
        return [path for path in self._directory.iterdir() if path.name not in known]

    def exists(self, chain_id: str) -> bool:
        """Whether the layer is there, whole."""
        return self._state.row("SELECT 1 FROM layers WHERE chain_id = ?", (chain_id,)) is not None

    # How it comes

    async def ensure(self, chain_id: str, diff_id: str, source: LayerSource, *, limit: int = -1) -> None:
        """Unpack an archive as layer `chain_id` unless that is there; then `source` is not opened.

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
                await self.discard(staged)

    async def stage(self, source: LayerSource, name: str, *, limit: int = -1) -> StagedLayer:
        """Unpack an archive before it is known which layer it is; errors call it `name`. Raises as `ensure` does.

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
        """Make a staged layer the layer `chain_id`, unless that is there."""
        async with self._locks.hold(chain_id):
            if not self.exists(chain_id):
                await self._publish(staged, chain_id)
        await self.discard(staged)

    async def discard(self, staged: StagedLayer) -> None:
        """Remove what was staged; fine when it was published."""
        await _removed(staged.path)

    async def commit(self, upper: Path, parent: str | None, *, skip: Iterable[str] = (), owners: str = "") -> Layer:
        """Make a layer of an overlay's upper directory, on the layer whose chain ID is `parent` (None: on nothing).

        `skip` are absolute paths in it that are no part of the layer, `owners` how ids are mapped there. The directory
        is read once, and its files are copied once: nothing shares them with the container, which may go on changing
        them. The blob of the answer is the uncompressed archive, which nobody has yet.

        Nothing else runs between the moment when the layer is recorded and the return. Raises InvalidParameter for a
        tree that no layer can hold, and SystemFault.
        """
        packer, reading = await process.start_pack(upper, skip, owners)
        try:
            try:
                staged = await self.stage(_Reading(reading), "that is committed")
            except EngineError:
                # Perhaps because the other worker failed, whose reason is the better one.
                packed = await _run(process.answer(packer))
                if "closed" not in packed:
                    _checked(packed, "that is committed", self._content.ingest)
                raise
            chain_id = chain_above(parent, staged.diff_id)
            try:
                _checked(await _run(process.answer(packer)), "that is committed", self._content.ingest)
                async with self._locks.hold(chain_id):
                    if not self.exists(chain_id):
                        await self._publish(staged, chain_id)
            finally:
                await self.discard(staged)
        finally:
            await process.end(packer)
        return Layer(Descriptor(LAYER, staged.diff_id, staged.archive_size), staged.diff_id, chain_id)

    async def _unpack(self, source: LayerSource, target: Path, name: str, limit: int) -> dict[str, str]:
        """Unpack an archive below `target`/fs in a worker; return its answer."""
        root = target / "fs"
        archive = source.open()
        try:
            root.mkdir(mode=0o755, parents=True)
            root.chmod(0o755)
            recipe = os.open(target / "recipe", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                answer = await _run(process.unpack(root, archive, recipe, size=source.size, limit=limit))
                return _checked(answer, name, target.parent, source.size)
            finally:
                os.close(recipe)
        finally:
            os.close(archive)

    async def _publish(self, staged: StagedLayer, chain_id: str) -> None:
        """Record a layer, and move it to its place; it is flushed later.

        The record may wait, too: that of an image, which is flushed, flushes all before it. It is first, so that a
        crash leaves no directory that nobody knows.
        """
        final = self._directory / self._name(chain_id)
        if final.exists():
            await asyncio.to_thread(remove_tree, final)
        columns = "chain_id, diff_id, size, stored_ns, archive_size, unflushed_boot"
        with self._state.transaction(durable=False) as connection:
            connection.execute(
                f"INSERT INTO layers ({columns}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
                (chain_id, staged.diff_id, staged.size, time.time_ns(), staged.archive_size, self.flushing.boot),
            )
        try:
            os.rename(staged.path, final)
        except OSError:
            with self._state.transaction(durable=False) as connection:
                connection.execute("DELETE FROM layers WHERE chain_id = ?", (chain_id,))
            raise
        self.flushing.soon()

    def exchange(self, staged: StagedLayer, chain_id: str) -> None:
        """Put a staged layer in the place of the layer `chain_id` that is the same; discard that as the staged one.

        Raises OSError.
        """
        exchange(staged.path, self._directory / self._name(chain_id))

    # The way back

    async def archive(self, chain_id: str) -> AsyncIterator[bytes]:
        """Yield the layer's uncompressed archive, byte for byte; hold the layer meanwhile.

        Raises NotFound, and, at the end, SystemFault when the files are not what they were: then what was yielded
        is not the archive.
        """
        recipe = self._open_recipe(chain_id)
        answer: dict[str, str] = {}
        try:
            pieces = process.stream(self.path(chain_id), recipe, answer)
            try:
                async for piece in pieces:
                    yield piece
            except process.WorkerFailed as error:
                raise SystemFault(str(error)) from error
            finally:
                await pieces.aclose()
        finally:
            os.close(recipe)
        self._check_rebuilt(chain_id, answer)

    async def write_archive(self, chain_id: str, target: int) -> None:
        """Write the layer's uncompressed archive to a descriptor, which is faster than `archive`.

        Raises the same, and BrokenPipeError when nobody takes it any more.
        """
        recipe = self._open_recipe(chain_id)
        try:
            self._check_rebuilt(chain_id, await _run(process.rebuild(self.path(chain_id), recipe, target)))
        finally:
            os.close(recipe)

    async def verify(self, chain_id: str) -> None:
        """Rebuild the layer's archive and compare its digest. Raises NotFound, and DamagedLayer when it is."""
        recipe = self._open_recipe(chain_id)
        try:
            self._check_rebuilt(chain_id, await _run(process.verify(self.path(chain_id), recipe)))
        finally:
            os.close(recipe)

    def _open_recipe(self, chain_id: str) -> int:
        self.archive_size(chain_id)
        try:
            return open_regular(self._directory / self._name(chain_id) / "recipe")
        except FileNotFoundError:
            raise DamagedLayer(f"layer {chain_id} is damaged: its recipe is missing") from None
        except NotRegular as error:
            raise DamagedLayer(f"layer {chain_id} is damaged: its recipe is {error}") from None

    def _check_rebuilt(self, chain_id: str, answer: dict[str, str]) -> None:
        row = self._state.row("SELECT diff_id FROM layers WHERE chain_id = ?", (chain_id,))
        if row is None:
            raise NotFound(f"layer {chain_id} was removed meanwhile")
        if "closed" in answer:
            raise BrokenPipeError(answer["closed"])
        if problem := answer.get("damaged") or answer.get("fault"):
            raise DamagedLayer(f"layer {chain_id} is damaged: {problem}")
        if f"sha256:{answer.get('digest')}" != row[0]:
            raise DamagedLayer(f"layer {chain_id} is damaged: its recipe is that of another layer")

    # How it goes

    def remove(self, chain_ids: Iterable[str]) -> list[Path]:
        """Forget layers; return what is left of them, in the ingest directory, to be deleted at leisure."""
        paths = []
        gone = list(chain_ids)
        with self._state.transaction() as connection:
            connection.executemany("DELETE FROM layers WHERE chain_id = ?", [(chain_id,) for chain_id in gone])
        for chain_id in gone:
            # Out of the way at once: the same layer may be wanted again while this one is deleted.
            aside = self._content.temporary()
            with contextlib.suppress(FileNotFoundError):  # somebody else removed it: nothing is left to delete
                os.rename(self._directory / self._name(chain_id), aside)
                paths.append(aside)
        return paths + self.copies(gone)

    @staticmethod
    def _name(chain_id: str) -> str:
        return chain_id.removeprefix("sha256:")


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
    """Remove a tree if it is there, and return when it is gone, also to a caller who is cancelled meanwhile."""
    if not path.exists():
        return
    removal = asyncio.create_task(asyncio.to_thread(remove_tree, path))
    try:
        await asyncio.shield(removal)
    except asyncio.CancelledError:
        await asyncio.wait({removal})
        raise
