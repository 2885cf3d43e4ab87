"""Archives of layers that come through a pipe: see `LayerSource`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from darse.linux.descriptors import FileDescriptor
from darse.linux.pipes import wide_pipe

T = TypeVar("T")


class PipeSource:
    """A pipe: what is written to `writing` is the archive, of `size` bytes (-1: unknown)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._reading, self.writing = wide_pipe()

    def open(self) -> int:
        """Return the reading end; the caller closes it."""
        descriptor, self._reading = self._reading, -1
        return descriptor

    def close(self) -> None:
        """Close the reading end where nobody asked for it, so that the feeder does not wait for ever."""
        if self._reading >= 0:
            os.close(self._reading)
            self._reading = -1

    async def fed_by(self, pieces: AsyncIterator[bytes], reader: Coroutine[Any, Any, T]) -> T:
        """Run `reader`, which opens this source, write `pieces` to it, and return what it returns.

        All pieces are taken, also when the reader wants no more of them. When they fail, the reader is cancelled.
        """
        task = asyncio.create_task(reader)
        task.add_done_callback(lambda _: self.close())
        os.set_blocking(self.writing, False)
        writing = FileDescriptor(self.writing)
        broken = False
        try:
            try:
                async for piece in pieces:
                    broken = broken or not await _write(writing, piece)
            finally:
                writing.close()
            return await task
        except BaseException:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise


async def _write(writing: FileDescriptor, piece: bytes) -> bool:
    """Write all of a piece; False when nobody reads any more."""
    rest = memoryview(piece)
    while rest:
        try:
            rest = rest[os.write(writing.number, rest) :]
        except BrokenPipeError:
            return False
        except BlockingIOError:
            await writing.writable()
    return True
