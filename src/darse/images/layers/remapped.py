"""Remapped layers: second copies of layers whose files have the owners of a range of remapped ids.

They are only needed for `--userns-remap` where the file system of the data root cannot be id-mapped (mount_setattr(2)):
before Linux 5.19, and on ext3, zfs and others. dockerd, which is older than such mounts, has a data root per range.

    shifted/<uid>.<gid>/<hex>/fs      as `layers/<hex>/fs`; uid and gid are those of root inside. When there are several
                                      ranges, a digest of them follows.

A copy is made from the layer's archive when a container first needs it, published by a rename, and removed with the
layer. The directory itself lists the copies: those without a layer are removed at the engine's start.
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
from darse.core import executors
from darse.core.errors import InvalidParameter, SystemFault
from darse.core.locks import KeyedLocks
from darse.images.content.store import ContentStore
from darse.images.layers.store import TAR_SPLIT_FILE, LayerStore
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import measure, sync_directory, sync_file_system
from darse.linux.pipes import wide_pipe


class RemappedLayers:
    """Makes, finds and removes copies. `owners` are texts that `Owners.parse` reads."""

    def __init__(self, root: Path, layers: LayerStore, content: ContentStore) -> None:
        """`root` is that of the layers: the same file system."""
        self._root = root / "shifted"
        self._layers = layers
        self._content = content
        self._locks = KeyedLocks()
        self._measured: dict[Path, int] = {}

    def open(self) -> None:
        """Remove the copies of layers that are not here any more."""
        known = {_name(chain_id) for chain_id in self._layers.sizes()}
        for copy in self._all():
            if copy.name not in known:
                self._content.trash.take(copy)

    def path(self, chain_id: str, owners: str) -> Path:
        """The files of the copy: a lower directory for overlayfs, if there is one."""
        return self._root / range_name(owners) / _name(chain_id) / "fs"

    async def ensure(self, chain_ids: Iterable[str], owners: str) -> None:
        """Make the copies of these layers that are missing.

        Raises InvalidParameter for a layer with owners that are not in the range, SystemFault, and NotFound for a layer
        of an old engine whose archive cannot be reassembled.
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
            await executors.storage.run(sync_file_system, staged)
            os.rename(staged, final)
            await executors.storage.run(sync_directory, final.parent)
        finally:
            await executors.storage.run(remove_tree, staged)

    async def _unpack(self, chain_id: str, owners: str, staged: Path) -> None:
        """Reassemble the layer's archive, and unpack it with other owners."""
        fs = staged / "fs"
        fs.mkdir(mode=0o755, parents=True)
        fs.chmod(0o755)
        ids = Owners.parse(owners)
        # An archive without an entry for its root leaves that as it is.
        os.chown(fs, ids.user(0), ids.group(0))
        reading, writing = wide_pipe()
        # The metadata of the copy would be the same as the layer's.
        tar_split = os.open(staged / TAR_SPLIT_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        rebuilding = asyncio.create_task(self._rebuild(chain_id, writing))
        try:
            answer = await process.unpack(fs, reading, tar_split, owners=owners)
        except process.WorkerFailed as error:
            raise SystemFault(str(error)) from error
        finally:
            # Before the reassembly is awaited: without a reader it ends.
            os.close(reading)
            os.close(tar_split)
            failure = (await asyncio.gather(rebuilding, return_exceptions=True))[0]
        if reason := answer.get("error"):
            raise InvalidParameter(f"userns-remap: layer {chain_id}: {reason}")
        if reason := answer.get("fault"):
            raise SystemFault(f"userns-remap: cannot copy layer {chain_id}: {reason}")
        if isinstance(failure, BaseException):
            raise failure
        (staged / TAR_SPLIT_FILE).unlink()

    async def _rebuild(self, chain_id: str, writing: int) -> None:
        try:
            await self._layers.write_archive(chain_id, writing)
        finally:
            os.close(writing)

    def take_out(self, chain_ids: Iterable[str]) -> list[Path]:
        """Rename the copies of layers into the staging directory; return those, which are to be deleted. Blocks."""
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
                self._measured[copy] = (await executors.storage.run(measure, copy)).on_disk
        return sum(self._measured[copy] for copy in copies)

    def _all(self) -> list[Path]:
        if not self._root.exists():
            return []
        return [copy for owners in self._root.iterdir() for copy in owners.iterdir()]


def range_name(owners: str) -> str:
    """The name of the directory of a range."""
    ids = Owners.parse(owners)
    name = f"{ids.user(0)}.{ids.group(0)}"
    if len(ids.users) == len(ids.groups) == 1 and ids.users[0][2] == ids.groups[0][2] == _USUAL:
        return name
    return f"{name}-{hashlib.sha256(owners.encode()).hexdigest()[:12]}"


#: Ids that shadow's programs give to a user.
_USUAL = 65536


def _name(chain_id: str) -> str:
    return chain_id.removeprefix("sha256:")
