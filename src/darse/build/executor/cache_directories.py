"""The directories of cache mounts: what outlives builds, and is in no layer.

    <data-root>/cache-mounts/<digest of its name and of what it began with>/fs      the files
    …                                                                      /name    what it is called
    …                                                                      /used    was touched when it was used last

A directory begins with a copy of the mount's input, if there is one. It is bound as it is: several processes may write
to it at a time, if the mount's sharing lets them. One that a process uses is not removed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from darse.build.executor.trees import Layers, Trees
from darse.build.files import apply_change
from darse.build.graph.operations import CopyAction
from darse.core import executors
from darse.core.locks import KeyedLocks
from darse.images.snapshots.snapshotter import Snapshotter
from darse.linux.fs.files import measure
from darse.linux.fs.openat2 import open_in_root


class CacheDirectory(msgspec.Struct, frozen=True):
    """One of them; times are seconds since the epoch, the size is in bytes."""

    id: str
    name: str
    size: int
    created: float
    last_used: float


class CacheDirectories:
    """The directories of one engine."""

    def __init__(self, root: Path, snapshotter: Snapshotter, trees: Trees) -> None:
        self._root = root
        self._snapshotter = snapshotter
        self._trees = trees
        self._locks = KeyedLocks()
        self._uses: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def used(self, name: str, base: str, layers: Layers, selector: str) -> AsyncIterator[Path]:
        """The directory of a name for the block, made where it is not there.

        base: the snapshot that it begins with, of these layers; empty is none. selector: the part of it. Raises
        BuildError for a part that is not there, and OSError.
        """
        key = hashlib.sha256(f"{name}\0{base}\0{selector if base else ''}".encode(errors="surrogateescape")).hexdigest()
        final = self._root / key
        self._uses[key] += 1
        try:
            async with self._locks.hold(key):
                if not final.exists():
                    await self._make(final, name, base, layers, selector)
            await executors.storage.run((final / "used").touch)
            yield final / "fs"
        finally:
            self._uses[key] -= 1

    async def _make(self, final: Path, name: str, base: str, layers: Layers, selector: str) -> None:
        active = self._snapshotter.prepare(())
        try:
            if base:
                await self._trees.change(active, (layers,), functools.partial(_fill, selector or "/"))
            active.work.rmdir()
            (active.directory / "name").write_text(name, errors="surrogateescape")
            os.rename(active.directory, final)
        finally:
            await self._snapshotter.discard(active)

    async def all(self) -> list[CacheDirectory]:
        """All that there are."""
        return await executors.storage.run(lambda: [found for path in self._root.iterdir() if (found := _read(path))])

    def is_used(self, identifier: str) -> bool:
        """Whether a process uses one."""
        return self._uses[identifier] > 0

    async def remove(self, identifier: str) -> bool:
        """Remove one by its id; False where a process uses it, or it is gone."""
        async with self._locks.hold(identifier):
            if self.is_used(identifier) or not (self._root / identifier).exists():
                return False
            await self._snapshotter.trash.discard(self._root / identifier)
        return True


def _read(path: Path) -> CacheDirectory | None:
    """One directory; None where it was removed meanwhile."""
    try:
        size = measure(path / "fs").size
        created = path.stat().st_mtime
    except FileNotFoundError:
        return None
    name, used = "", created
    with contextlib.suppress(FileNotFoundError):  # of an engine before this one
        name = (path / "name").read_text(errors="surrogateescape")
        used = (path / "used").stat().st_mtime
    return CacheDirectory(path.name, name, size, created, max(created, used))


def _fill(selector: str, target: int, roots: Sequence[int]) -> None:
    change = CopyAction(source=selector, destination="/", copy_directory_contents=True, follow_symlink=True)
    apply_change(change, target, roots[0], roots.__getitem__)
    found = open_in_root(roots[0], selector.lstrip("/") or ".", os.O_PATH)
    try:
        status = os.fstat(found)
    finally:
        os.close(found)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
