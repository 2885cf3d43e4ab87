"""Snapshots as directories, for work on their files: mounted in a mount namespace that is the thread's alone.

With the namespace all mounts go, whatever ends the engine. A tree of one layer of ours needs no mount at all.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from darse.images.snapshots.snapshotter import ActiveSnapshot, Snapshotter
from darse.linux.fs.mounts import MS_REC, MS_SLAVE, NamespaceThreads, mount, mount_layers, mount_overlay

_T = TypeVar("_T")
_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

Layers = Sequence[str]
"""The layers of a tree, lowest first."""


class Trees:
    """Opens the trees of one engine's snapshots."""

    def __init__(self, threads: NamespaceThreads, snapshotter: Snapshotter, scratch: Path) -> None:
        """scratch: any directory of the engine's; it is hidden in those namespaces only."""
        self._threads = threads
        self._snapshotter = snapshotter
        self._scratch = scratch

    async def read(self, layers: Layers, work: Callable[[int], _T], *, stop: Callable[[], None] | None = None) -> _T:
        """Call a function with a descriptor of a tree's root. Raises what it raises, and OSError.

        When this is cancelled, the function has ended all the same; `stop` makes it end early.
        """
        return await self._threads.begin(functools.partial(self._read, layers, work), stop)

    def _read(self, layers: Layers, work: Callable[[int], _T]) -> _T:
        with self._mounted((layers,), None) as (roots, _):
            return work(roots[0])

    async def read_active(self, active: ActiveSnapshot, work: Callable[[int], _T]) -> _T:
        """As `read`, of a tree that others may be writing: what they have written so far is in it."""
        return await self._threads.begin(functools.partial(self._read_active, active, work))

    def _read_active(self, active: ActiveSnapshot, work: Callable[[int], _T]) -> _T:
        with self._own_scratch():
            place = str(self._scratch / "active")
            os.mkdir(place, 0o700)
            mount_layers((str(active.upper), *self._snapshotter.lower(active.layers)), place)
            root = os.open(place, _ROOT)
            try:
                return work(root)
            finally:
                os.close(root)

    async def change(
        self,
        active: ActiveSnapshot,
        sources: Sequence[Layers],
        work: Callable[[int, Sequence[int]], _T],
        *,
        stop: Callable[[], None] | None = None,
    ) -> _T:
        """Call a function with descriptors of the roots of a tree that is written, and of those that are read.

        When this is cancelled, the function has ended all the same; `stop` makes it end early.
        """
        return await self._threads.begin(functools.partial(self._change, active, sources, work), stop)

    async def change_plain(
        self, active: ActiveSnapshot, sources: Sequence[Layers], work: Callable[[int, Sequence[int]], _T]
    ) -> _T:
        """As `change`, with a descriptor of the upper directory alone in the place of the tree's root."""
        alone = msgspec.structs.replace(active, layers=())
        return await self.change(alone, sources, work)

    def _change(
        self, active: ActiveSnapshot, sources: Sequence[Layers], work: Callable[[int, Sequence[int]], _T]
    ) -> _T:
        with self._mounted(sources, active) as (roots, target):
            return work(target, roots)

    @contextlib.contextmanager
    def _mounted(self, sources: Sequence[Layers], active: ActiveSnapshot | None) -> Iterator[tuple[Sequence[int], int]]:
        """Descriptors of the trees that are read, and of the one that is written; -1 without one."""
        with contextlib.ExitStack() as stack:
            if any(map(self._needs_mount, sources)) or (active is not None and active.layers):
                stack.enter_context(self._own_scratch())
            roots = []
            for number, layers in enumerate(sources):
                roots.append(os.open(self._directory(layers, number), _ROOT))
                stack.callback(os.close, roots[-1])
            target = -1
            if active is not None:
                target = os.open(self._writable(active), _ROOT)
                stack.callback(os.close, target)
            yield roots, target

    @contextlib.contextmanager
    def _own_scratch(self) -> Iterator[None]:
        """A mount namespace with room for mount points, for the block."""
        with self._threads.private_mounts():
            # Unmounts on the host still come through, mounts made here go nowhere.
            mount("", "/", "", MS_SLAVE | MS_REC)
            mount("tmpfs", str(self._scratch), "tmpfs", 0, "mode=700")
            yield

    def _needs_mount(self, layers: Layers) -> bool:
        # A layer of an image alone may have whiteouts.
        return len(layers) > 1 or any(layer.startswith("sha256:") for layer in layers)

    def _directory(self, layers: Layers, number: int) -> str:
        lower = self._snapshotter.lower(layers)
        if not self._needs_mount(layers):
            return lower[0]
        place = str(self._scratch / str(number))
        os.mkdir(place, 0o700)
        mount_layers(lower if len(lower) > 1 else (*lower, self._snapshotter.empty), place)
        return place

    def _writable(self, active: ActiveSnapshot) -> str:
        if not active.layers:
            return str(active.upper)
        place = str(self._scratch / "target")
        os.mkdir(place, 0o700)
        lower = self._snapshotter.lower(active.layers)
        mount_overlay(lower, str(active.upper), str(active.work), place, volatile=True)
        return place
