"""Pipes between the event loop and a process: read and written when they are ready, without a thread."""

from __future__ import annotations

import contextlib
import fcntl
import os

from darse.linux.descriptors import FileDescriptor

# The largest that a process without privileges may ask for (/proc/sys/fs/pipe-max-size), and a quarter of the switches
# between two processes that the default of 64 KiB costs.
_CAPACITY = 1 << 20


def wide_pipe() -> tuple[int, int]:
    """Return the reading and the writing end of a pipe of a good size."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # more than /proc/sys/fs/pipe-user-pages-soft allows
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _CAPACITY)
    return reading, writing


class PipeEnd:
    """Our end of a pipe; `theirs` is the descriptor to be given to the other process, and then closed."""

    def __init__(self, *, reads: bool, wide: bool = True) -> None:
        reading, writing = wide_pipe() if wide else os.pipe2(os.O_CLOEXEC)
        ours, self.theirs = (reading, writing) if reads else (writing, reading)
        self._descriptor = FileDescriptor(ours)
        os.set_blocking(ours, False)

    def close_theirs(self) -> None:
        """Close the other process's end here: with that process it is gone."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    async def read(self) -> bytes:
        """Return what is there, waiting for it; nothing at the end. Raises DescriptorClosed."""
        return await read_when_ready(self._descriptor, _CAPACITY)

    async def write(self, data: bytes) -> None:
        """Write everything. Raises BrokenPipeError when nobody reads any more, and DescriptorClosed."""
        await write_when_ready(self._descriptor, data)

    def close(self) -> None:
        """Close both ends; who waits hears so, and closing again does nothing."""
        self.close_theirs()
        self._descriptor.close()


async def read_when_ready(descriptor: FileDescriptor, size: int) -> bytes:
    """Read from a descriptor that does not block: what is there, waiting for it; nothing at the end.

    `size` is the most, in bytes. Raises DescriptorClosed, and OSError.
    """
    while True:
        try:
            return os.read(descriptor.number, size)
        except BlockingIOError:
            await descriptor.readable()


async def write_when_ready(descriptor: FileDescriptor, data: bytes) -> None:
    """Write everything to a descriptor that does not block, waiting for room.

    Raises BrokenPipeError when nobody reads any more, DescriptorClosed, and OSError.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor.number, view) :]
        except BlockingIOError:
            await descriptor.writable()
