"""Second copies of layers, whose files have the owners that a range of remapped ids gives them.

Only for `--userns-remap` where the file system of the data root cannot be id-mapped (mount_setattr(2)): before Linux
5.19, and on ext3, zfs and others. dockerd, which is older than such mounts, keeps a whole data root per range.

    shifted/<uid>.<gid>/<hex>/fs      as `layers/<hex>/fs`; the ids are those of root inside. A digest of the ranges
                                      follows where they are more than one.

A copy is made from the layer's archive when a container first needs it, published by a rename, and goes with the layer.
Which there are, the directory tells: what belongs to no layer is dropped at the engine's start.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from darse.archive import process
from darse.archive.id_mapping import Owners
from darse.core.errors import InvalidParameter, SystemFault
from darse.core.locks import KeyedLocks
from darse.images.content.store import ContentStore
from darse.images.layers.store import LayerStore
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import measure, sync_directory, sync_file_system


class RemappedLayers:
    """Makes, finds and removes copies. `owners` are texts that `Owners.parse` reads."""

    def __init__(self, root: Path, layers: LayerStore, content: ContentStore) -> None:
        """`root` is that of the layers: the same file system."""
        self._root = root / "shifted"
        self._layers = layers
        self._content = content
        self._locks = KeyedLocks()
        self._measured: dict[Path, int] = {}
        layers.copies = self.remove

    def open(self) -> None:
        """Drop the copies of layers that are not there any more."""
        known = {_name(chain_id) for chain_id in self._layers.sizes()}
        for copy in self._all():
            if copy.name not in known:
                self._content.trash.take(copy)

    def path(self, chain_id: str, owners: str) -> Path:
        """Where the copy is, for overlayfs, if it is there."""
        return self._root / range_name(owners) / _name(chain_id) / "fs"

    async def ensure(self, chain_ids: Iterable[str], owners: str) -> None:
        """Have copies of these layers.

        Raises InvalidParameter for a layer with owners that are not in the range, SystemFault, and NotFound for a layer
        of an old engine that has no recipe.
        """
        for chain_id in chain_ids:
            final = self.path(chain_id, owners).parent
            if final.exists():
                continue
            async with self._locks.hold(str(final)):
                if not final.exists():
                    await self._make(chain_id, owners, final)

    async def _make(self, chain_id: str, owners: str, final: Path) -> None:
        for directory in (self._root, final.parent):
            # Nobody else passes, as with layers.
            directory.mkdir(mode=0o700, exist_ok=True)
        staged = self._content.temporary()
        try:
            await self._unpack(chain_id, owners, staged)
            await asyncio.to_thread(sync_file_system, staged)
            os.rename(staged, final)
            sync_directory(final.parent)
        finally:
            await asyncio.to_thread(remove_tree, staged)

    async def _unpack(self, chain_id: str, owners: str, staged: Path) -> None:
        """Rebuild the layer's archive, and unpack it with other owners."""
        fs = staged / "fs"
        fs.mkdir(mode=0o755, parents=True)
        fs.chmod(0o755)
        ids = Owners.parse(owners)
        # An archive that says nothing of its root leaves that as it is.
        os.chown(fs, ids.user(0), ids.group(0))
        reading, writing = process.pipe()
        # The new one says what the old one does.
        recipe = os.open(staged / "recipe", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        rebuilding = asyncio.create_task(self._rebuild(chain_id, writing))
        try:
            answer = await process.unpack(fs, reading, recipe, owners=owners)
        except process.WorkerFailed as error:
            raise SystemFault(str(error)) from error
        finally:
            # Before it is awaited: without a reader it ends.
            os.close(reading)
            os.close(recipe)
            failure = (await asyncio.gather(rebuilding, return_exceptions=True))[0]
        if reason := answer.get("error"):
            raise InvalidParameter(f"userns-remap: layer {chain_id}: {reason}")
        if reason := answer.get("fault"):
            raise SystemFault(f"userns-remap: cannot copy layer {chain_id}: {reason}")
        if isinstance(failure, BaseException):
            raise failure
        (staged / "recipe").unlink()

    async def _rebuild(self, chain_id: str, writing: int) -> None:
        try:
            await self._layers.write_archive(chain_id, writing)
        finally:
            os.close(writing)

    def remove(self, chain_ids: Iterable[str]) -> list[Path]:
        """Put the copies of layers that go aside; return what is to be deleted at leisure."""
        gone = {_name(chain_id) for chain_id in chain_ids}
        paths = []
        for copy in self._all():
            if copy.name in gone:
                aside = self._content.temporary()
                with contextlib.suppress(FileNotFoundError):
                    os.rename(copy, aside)
                    paths.append(aside)
        return paths

    async def disk_usage(self) -> int:
        """Bytes on the disk of all copies. A copy never changes, so each is measured once."""
        copies = self._all()
        for copy in copies:
            if copy not in self._measured:
                self._measured[copy] = (await asyncio.to_thread(measure, copy)).on_disk
        return sum(self._measured[copy] for copy in copies)

    def _all(self) -> list[Path]:
        if not self._root.exists():
            return []
        return [copy for owners in self._root.iterdir() for copy in owners.iterdir()]


def range_name(owners: str) -> str:
    """What the directory of a range is called."""
    ids = Owners.parse(owners)
    name = f"{ids.user(0)}.{ids.group(0)}"
    if len(ids.users) == len(ids.groups) == 1 and ids.users[0][2] == ids.groups[0][2] == _USUAL:
        return name
    return f"{name}-{hashlib.sha256(owners.encode()).hexdigest()[:12]}"


#: Ids that shadow's programs give to a user.
_USUAL = 65536


def _name(chain_id: str) -> str:
    return chain_id.removeprefix("sha256:")
