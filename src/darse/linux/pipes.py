"""Pipes between the event loop and a process: read and written when they are ready, without a thread."""

from __future__ import annotations

import asyncio
import fcntl
import os

# The largest that a process without privileges may ask for (/proc/sys/fs/pipe-max-size), and a quarter of the switches
# between two processes that the default of 64 KiB costs.
_CAPACITY = 1 << 20


class PipeEnd:
    """Our end of a pipe; `theirs` is the descriptor to be given to the other process, and then closed."""

    def __init__(self, *, reads: bool) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._descriptor, self.theirs = (reading, writing) if reads else (writing, reading)
        os.set_blocking(self._descriptor, False)
        fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, _CAPACITY)

    def give_away(self) -> None:
        """Close the other process's end here: with that process it is gone."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    async def read(self) -> bytes:
        """Return what is there, waiting for it; nothing at the end."""
        while True:
            try:
                return os.read(self._descriptor, _CAPACITY)
            except BlockingIOError:
                await until_readable(self._descriptor)

    async def write(self, data: bytes) -> None:
        """Write everything. Raises BrokenPipeError when nobody reads any more."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                await until_writable(self._descriptor)

    def close(self) -> None:
        """Close both ends; closing again does nothing."""
        self.give_away()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


async def until_readable(descriptor: int) -> None:
    """Wait until there is something to read, or the end: of a pipe, say, or of the process of a pidfd."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def until_writable(descriptor: int) -> None:
    """Wait until there is room for more, or nobody left to take it."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
