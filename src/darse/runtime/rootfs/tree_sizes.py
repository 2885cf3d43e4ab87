"""How much trees of any size take, measured beside everything else.

A tree of millions of files takes minutes, and one on a file server that has gone never ends. So nothing else waits for
these threads, nor does the engine when it stops.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from darse.core.errors import SystemFault
from darse.core.executors import Executor
from darse.linux.fs.files import Measurement, PartsMeasurement, PartUsage, Usage
from darse.linux.fs.openat2 import open_beneath

# Seconds without one answer of the file system after which a tree counts as out of reach.
_SILENCE = 5.0
# Bounded by those who measure; see `TreeSizes`.
_threads = Executor("measure", 64, stuck_after=1.0)


class TreeSizes:
    """Measures trees, some at a time. Callers that ask for a tree that is being measured share one answer."""

    def __init__(self, size: int = 4) -> None:
        self._free = asyncio.Semaphore(size)
        self._running: dict[Path, _Measuring] = {}

    async def of(self, root: Path) -> Usage:
        """What a tree takes.

        Raises OSError, and SystemFault when its file system has not answered for seconds: that look goes on, and
        nobody waits for it.
        """
        while (running := self._running.get(root)) is None:
            async with self._free:
                if root not in self._running:
                    self._running[root] = running = _Measuring(root, lambda: self._running.pop(root))
                    await running.result()
                    break
        return await running.result()


class _Measuring:
    """One look at a tree, for all who wait for it."""

    def __init__(self, root: Path, ended: Callable[[], object]) -> None:
        self._root = root
        self._measurement = Measurement()
        self._future = asyncio.ensure_future(_threads.run(self._measurement.run, root))
        self._future.add_done_callback(lambda _: ended())
        self._silent = False

    async def result(self) -> Usage:
        """Raises as `TreeSizes.of`."""
        while not self._future.done() and not self._silent:
            before = self._measurement.progress
            await asyncio.wait((self._future,), timeout=_SILENCE)
            self._silent = not self._future.done() and self._measurement.progress == before
        if not self._future.done():
            raise SystemFault(f"cannot measure {self._root}: its file system does not answer")
        return self._future.result()


async def parts_of(root: Path, path: str, depth: int) -> dict[str, PartUsage]:
    """What the parts of a tree take, by their paths below the directory `path` in it; "" is all of that.

    Raises OSError; ENOTDIR and such for a path that is no directory in there, wherever its links lead.
    """

    def look() -> dict[str, PartUsage]:
        top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            directory = open_beneath(top, path or ".", os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(top)
        try:
            return PartsMeasurement(depth).parts(directory)
        finally:
            os.close(directory)

    return await _threads.run(look)
