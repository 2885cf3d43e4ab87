"""Durability of layers: which are recorded and used, and not known to be on the disk.

The files of a layer survive any end of the engine as soon as they are written: the kernel has them. Only an unclean
shutdown of the machine can lose them. So a new layer is marked with the boot in which it came; when no others come for
a while, one syncfs(2) syncs all of them and the marks are removed. A mark of another boot means that nobody knows what
reached the disk: see `darse.images.gc.crash_recovery`. A sync before each layer is recorded would be simpler, but then
a load would wait for the disk twice as long as for everything else.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from darse.core import executors
from darse.core.state import State
from darse.linux.fs.files import sync_file_system
from darse.linux.proc.procinfo import boot_id

# Seconds without a new layer before a sync, and seconds after which it is done although layers still come. A pull's
# downloads are deleted meanwhile and need not be written at all; the kernel itself begins to write after 30 s.
_QUIET = 5.0
_AT_MOST = 30.0
_log = logging.getLogger("darse.images")


class LayerSync:
    """Syncs the layers under `directory`, and keeps their marks."""

    def __init__(self, state: State, directory: Path, *, table: str = "layers", key: str = "chain_id") -> None:
        """`table` has the layers, by their `key`, with the columns `stored_ns` and `unflushed_boot`."""
        self._state = state
        self._directory = directory
        self._table, self._key = table, key
        # The mark of new layers.
        self.boot = boot_id()
        self._first = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def unsynced(self) -> list[str]:
        """The chain IDs of this boot's layers that are not known to be on the disk."""
        return [str(key) for key, _ in self._rows("unflushed_boot = ?")]

    def unverified(self) -> list[str]:
        """The chain IDs of the layers that an earlier boot left unsynced."""
        return [str(key) for key, _ in self._rows("unflushed_boot NOT IN ('', ?) ORDER BY stored_ns")]

    def _rows(self, condition: str) -> list[tuple[str, int]]:
        """Key and time of the layers of a condition on this boot."""
        query = f"SELECT {self._key}, stored_ns FROM {self._table} WHERE {condition}"  # noqa: S608 - constants
        return self._state.rows(query, (self.boot,))

    def mark_verified(self, chain_id: str) -> None:
        """Note that a layer of an earlier boot is whole, and to be synced in this one."""
        with self._state.transaction() as connection:
            connection.execute(
                f"UPDATE {self._table} SET unflushed_boot = ? WHERE {self._key} = ?",  # noqa: S608 - constants
                (self.boot, chain_id),
            )

    def schedule(self) -> None:
        """Sync when no layer has come for a while."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._first = loop.time()
        else:
            self._timer.cancel()
        self._timer = loop.call_at(min(loop.time() + _QUIET, self._first + _AT_MOST), self._begin)

    def _begin(self) -> None:
        self._timer = None
        task = asyncio.create_task(self.sync_now())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sync_now(self) -> None:
        """Sync every recorded layer. When that fails, the marks stay, and the log has the reason."""
        layers = self._rows("unflushed_boot = ?")
        if not layers:
            return
        try:
            await executors.storage.run(sync_file_system, self._directory)
        except OSError as error:
            _log.warning("cannot sync %d layers to the disk: %s", len(layers), error)
            return
        # A layer that was removed, and came again with the same chain ID meanwhile, is another one.
        with self._state.transaction(durable=False) as connection:
            connection.executemany(
                f"UPDATE {self._table} SET unflushed_boot = '' WHERE {self._key} = ? AND stored_ns = ?",  # noqa: S608
                layers,
            )
        _log.debug("%d layers are on the disk", len(layers))

    async def close(self) -> None:
        """Sync what is unsynced."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.sync_now()
