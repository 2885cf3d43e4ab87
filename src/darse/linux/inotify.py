"""inotify(7): wake when a file grows, instead of polling it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from darse.linux.libc import call

IN_MODIFY = 0x00000002
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_CLOEXEC = os.O_CLOEXEC
IN_NONBLOCK = os.O_NONBLOCK


class Watch:
    """Waits for changes of one file or directory. Close it when done; the kernel limits their number per user."""

    def __init__(self, path: Path, mask: int) -> None:
        """Raises OSError: the path is gone, or the user's limit of instances is reached."""
        self._fd = call("inotify_init1", IN_CLOEXEC | IN_NONBLOCK)
        try:
            call("inotify_add_watch", self._fd, os.fsencode(path), mask, operand=str(path))
        except OSError:
            os.close(self._fd)
            raise
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        os.read(self._fd, 65536)
        self._changed.set()

    def wake(self) -> None:
        """End a `changed()` that waits, for a reason other than the file."""
        self._changed.set()

    async def changed(self) -> None:
        """Return when there was a change since the last call."""
        await self._changed.wait()
        self._changed.clear()

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
