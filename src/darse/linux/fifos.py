"""Named pipes that another program reads, written without waiting for it: fifo(7)."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import select
import termios
from pathlib import Path

from darse.linux.descriptors import FileDescriptor
from darse.linux.pipes import write_when_ready

_CAPACITY = 1 << 20


def make_fifo(path: Path, mode: int = 0o600) -> None:
    """Make a fifo anew: whoever still has an older one of this name open hears nothing more from it. Raises OSError."""
    path.unlink(missing_ok=True)
    os.mkfifo(path, mode)


class FifoWriter:
    """The writing end of a fifo."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises OSError: ENXIO while nobody has it open, or is about to, to read from it."""
        number = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._descriptor = FileDescriptor(number)
        with contextlib.suppress(OSError):  # more than /proc/sys/fs/pipe-user-pages-soft allows
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _CAPACITY)

    @property
    def unread(self) -> int:
        """How many bytes nobody has read yet; also when the last reader has gone. Raises OSError."""
        found = array.array("i", [0])
        fcntl.ioctl(self._descriptor.number, termios.FIONREAD, found)
        return found[0]

    def check(self) -> None:
        """Raise BrokenPipeError when nobody has it open to read any more."""
        poll = select.poll()
        poll.register(self._descriptor.number, 0)
        if any(events & select.POLLERR for _, events in poll.poll(0)):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    async def write(self, data: bytes) -> None:
        """Write everything, and wait while there is no room. Raises BrokenPipeError, and DescriptorClosed."""
        await write_when_ready(self._descriptor, data)

    def close(self) -> None:
        """Let go of it; any number of times."""
        self._descriptor.close()
