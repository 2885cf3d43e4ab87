"""The directories of cache mounts: what outlives builds, and is in no layer.

    <data-root>/cache-mounts/<digest of its name and of what it began with>/fs

A directory begins with a copy of the mount's input, if there is one. It is bound as it is: several processes may write
to it at a time, if the mount's sharing lets them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from darse.build.executor.trees import Layers, Trees
from darse.build.files import apply_change
from darse.build.graph.operations import CopyAction
from darse.core.locks import KeyedLocks
from darse.images.snapshots.snapshotter import Snapshotter
from darse.linux.fs.openat2 import open_in_root


class CacheDirectories:
    """The directories of one engine."""

    def __init__(self, root: Path, snapshotter: Snapshotter, trees: Trees) -> None:
        self._root = root
        self._snapshotter = snapshotter
        self._trees = trees
        self._locks = KeyedLocks()

    async def path(self, name: str, base: str, layers: Layers, selector: str) -> Path:
        """The directory of a name, made where it is not there.

        base: the snapshot that it begins with, of these layers; empty is none. selector: the part of it. Raises
        BuildError for a part that is not there, and OSError.
        """
        key = hashlib.sha256(f"{name}\0{base}\0{selector if base else ''}".encode(errors="surrogateescape")).hexdigest()
        final = self._root / key
        async with self._locks.hold(key):
            if not final.exists():
                await self._make(final, base, layers, selector)
        return final / "fs"

    async def _make(self, final: Path, base: str, layers: Layers, selector: str) -> None:
        active = self._snapshotter.prepare(())
        try:
            if base:
                await self._trees.change(active, (layers,), functools.partial(_fill, selector or "/"))
            active.work.rmdir()
            os.rename(active.directory, final)
        finally:
            await self._snapshotter.discard(active)


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
