"""Layers that are recorded and used, and of which the disk may not have everything yet.

A layer survives the engine, however that ends, from the moment when its files are written: the kernel has them. Only
the power may take them away. So a new layer is marked with the boot that it came in, and flushed when no others come
for a while, all of them with one syncfs(2); then its mark goes. A mark of another boot says that nobody knows what
reached the disk: see `power_loss`. To flush before a layer is recorded, as would be simpler, makes a load wait for the
disk twice as long as for everything else.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from darse.core.state import State
from darse.linux.fs.files import sync_file_system
from darse.linux.proc.procinfo import boot_id

# Seconds without a new layer before a flush, and after which it is done although they still come: a pull's downloads
# are deleted meanwhile, and need not be written at all. The kernel itself begins to write after half a minute.
_QUIET = 5.0
_AT_MOST = 30.0
_log = logging.getLogger("darse.images")


class LayerSync:
    """Flushes the layers under `directory`, and keeps their marks."""

    def __init__(self, state: State, directory: Path) -> None:
        self._state = state
        self._directory = directory
        # What a layer that comes now is marked with.
        self.boot = boot_id()
        self._first = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def waiting(self) -> list[str]:
        """The chain IDs of this boot's layers that are not known to be on the disk."""
        rows = self._state.rows("SELECT chain_id FROM layers WHERE unflushed_boot = ?", (self.boot,))
        return [str(chain_id) for (chain_id,) in rows]

    def doubtful(self) -> list[str]:
        """The chain IDs of the layers that another boot may have left in parts."""
        query = "SELECT chain_id FROM layers WHERE unflushed_boot NOT IN ('', ?) ORDER BY stored_ns"
        return [str(chain_id) for (chain_id,) in self._state.rows(query, (self.boot,))]

    def trust(self, chain_id: str) -> None:
        """Say that a doubtful layer is whole now, and of this boot."""
        with self._state.transaction() as connection:
            connection.execute("UPDATE layers SET unflushed_boot = ? WHERE chain_id = ?", (self.boot, chain_id))

    def soon(self) -> None:
        """Flush when no layer has come for a while."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._first = loop.time()
        else:
            self._timer.cancel()
        self._timer = loop.call_at(min(loop.time() + _QUIET, self._first + _AT_MOST), self._begin)

    def _begin(self) -> None:
        self._timer = None
        task = asyncio.create_task(self.now())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def now(self) -> None:
        """Flush everything that is recorded. What cannot be flushed stays marked, and is told in the log."""
        query = "SELECT chain_id, stored_ns FROM layers WHERE unflushed_boot = ?"
        layers = self._state.rows(query, (self.boot,))
        if not layers:
            return
        try:
            await asyncio.to_thread(sync_file_system, self._directory)
        except OSError as error:
            _log.warning("cannot flush %d layers to the disk: %s", len(layers), error)
            return
        # A layer of the same chain ID that came meanwhile, in the place of one that was removed, is another.
        with self._state.transaction(durable=False) as connection:
            connection.executemany("UPDATE layers SET unflushed_boot = '' WHERE chain_id = ? AND stored_ns = ?", layers)
        _log.debug("%d layers are on the disk", len(layers))

    async def close(self) -> None:
        """Flush what is not flushed yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.now()
