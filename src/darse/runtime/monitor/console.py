"""A client of conmon's attach socket: the output of a process, and its input."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

from darse.linux.descriptors import DescriptorClosed, FileDescriptor

# conmon reads its socket in pieces of 32 KiB and loses the rest of a longer message.
_INPUT_PIECE = 32 * 1024
_OUTPUT_MESSAGE = 64 * 1024


class Console:
    """A connection to conmon's attach socket, driven by the event loop.

    `on_output(stream, data)` is called for each message, `on_end()` once, when conmon has closed or gone.
    """

    def __init__(
        self, connection: socket.socket, on_output: Callable[[int, bytes], None], on_end: Callable[[], None]
    ) -> None:
        """Take over a socket that `connect()` returned."""
        self._on_output = on_output
        self._on_end = on_end
        self._socket = connection
        self._descriptor = FileDescriptor(connection.fileno(), connection.close)
        self._ended = False
        self._writable = asyncio.Lock()
        self.resume()

    def pause(self) -> None:
        """Take no more output for now; conmon, and then the container, wait when the socket is full."""
        self._descriptor.stop_listening()

    def resume(self) -> None:
        """Take output again."""
        if not self._ended:
            self._descriptor.listen(self._readable)

    def _readable(self) -> None:
        try:
            message = self._socket.recv(_OUTPUT_MESSAGE)
        except BlockingIOError:
            return
        except ConnectionError:
            message = b""
        if message:
            self._on_output(message[0], message[1:])
        else:
            self.pause()
            self._ended = True
            self._on_end()

    async def write(self, data: bytes) -> None:
        """Send input, waiting while conmon does not take it. Raises ConnectionError when it is gone."""
        async with self._writable:
            for begin in range(0, len(data), _INPUT_PIECE):
                await self._send(data[begin : begin + _INPUT_PIECE])

    async def _send(self, piece: bytes) -> None:
        while not self._descriptor.closed:
            try:
                self._socket.send(piece)
            except BlockingIOError:
                with contextlib.suppress(DescriptorClosed):
                    await self._descriptor.writable()
            else:
                return
        raise BrokenPipeError(errno.EPIPE, "the console is closed")

    def end_input(self) -> None:
        """Tell conmon that no more input comes; it closes the process's stdin."""
        with contextlib.suppress(OSError):  # conmon has closed it already
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Leave."""
        self._ended = True
        self._descriptor.close()
