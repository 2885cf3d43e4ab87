"""Descriptors that the event loop waits on, each owned by one object.

An event loop knows a descriptor by its number, and the kernel gives the number of a closed descriptor to the next one
that is opened. Who waits on a bare number hears nothing when another part of the engine closes it, and when the wait
ends takes the registration of whatever has the number by then. The loop also keeps one reader per number: of two who
wait, the first never hears.

So the number stays inside a `Descriptor`: every waiter is kept in it, all of them hear, and `close` ends the
registrations and wakes the waiters before the number is free. `add_reader` and its siblings are called nowhere else
(`tests/unit/linux/test_descriptors.py` holds that).
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
from collections.abc import Callable
from typing import Literal, TypeVar

from darse.core import executors

T = TypeVar("T")
_Side = Literal["reader", "writer"]


class DescriptorClosed(OSError):
    """The descriptor was closed, before or during a wait on it."""

    def __init__(self) -> None:
        super().__init__(errno.EBADF, "the descriptor is closed")


class FileDescriptor:
    """One open descriptor, and who waits for it to become readable or writable."""

    def __init__(self, number: int, close: Callable[[], None] | None = None) -> None:
        """Own the descriptor `number`; `close` closes it where os.close(2) is not the way (a socket's `close`)."""
        self._number = number
        self._close = close or functools.partial(os.close, number)
        self._readers = _Waiters("reader", number)
        self._writers = _Waiters("writer", number)

    @property
    def number(self) -> int:
        """The descriptor's number. Raises DescriptorClosed."""
        if self._number < 0:
            raise DescriptorClosed
        return self._number

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._number < 0

    async def readable(self) -> None:
        """Wait until there is something to read, or the end: of a pipe, say, or of the process of a pidfd.

        Any number may wait at a time. Raises DescriptorClosed.
        """
        await self._readers.wait()

    async def writable(self) -> None:
        """Wait until there is room for more, or nobody left to take it. Raises DescriptorClosed."""
        await self._writers.wait()

    def listen(self, readable: Callable[[], None]) -> None:
        """Call `readable()` whenever there is something to read, until `stop_listening`. Raises DescriptorClosed."""
        self._readers.listen(readable)

    def stop_listening(self) -> None:
        """End `listen`; fine when nobody listens."""
        self._readers.stop_listening()

    def wake(self) -> None:
        """Have those who wait look again: what they wait for will not come."""
        self._readers.wake()
        self._writers.wake()

    def close(self) -> None:
        """Wake those who wait, with DescriptorClosed, and close; a second time does nothing."""
        if self._number >= 0:
            self._number = -1
            self._readers.close()
            self._writers.close()
            self._close()


async def open_in_thread(opens: Callable[[], T], close: Callable[[T], None]) -> T:
    """Open something in a thread; who is cancelled meanwhile leaves nothing open, for `close` gets what comes."""
    opening = asyncio.ensure_future(executors.storage.run(opens))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(lambda done: close(done.result()) if done.exception() is None else None)
        raise


class _Waiters:
    """Who waits for one of a descriptor's two directions."""

    def __init__(self, side: _Side, number: int) -> None:
        self._side = side
        self._number = number
        self._waiting: list[asyncio.Future[None]] = []
        self._listener: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._register()
        try:
            await future
        finally:
            if future in self._waiting:  # cancelled
                self._waiting.remove(future)
                self._unregister_if_idle()

    def listen(self, listener: Callable[[], None]) -> None:
        self._listener = listener
        self._register()

    def stop_listening(self) -> None:
        self._listener = None
        self._unregister_if_idle()

    def close(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.stop_listening()
        self._number = -1
        for future in waiting:
            if not future.done():
                future.set_exception(DescriptorClosed())

    def _register(self) -> None:
        if self._number < 0:
            self._waiting.clear()
            raise DescriptorClosed
        if self._loop is None:
            loop = asyncio.get_running_loop()
            add = loop.add_reader if self._side == "reader" else loop.add_writer
            add(self._number, self._ready)
            self._loop = loop

    def _unregister_if_idle(self) -> None:
        if self._loop is not None and not self._waiting and self._listener is None:
            loop, self._loop = self._loop, None
            remove = loop.remove_reader if self._side == "reader" else loop.remove_writer
            remove(self._number)

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        self._unregister_if_idle()

    def _ready(self) -> None:
        listener = self._listener
        self.wake()
        if listener is not None:
            listener()
