"""Threads for work on trees of any size, apart from those that everything else needs.

A tree of millions of files takes minutes, and one on a file server that has gone never ends. So such work neither takes
the threads of `asyncio.to_thread`, nor does the engine wait for it when it stops: what it does can be broken off
anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from darse.core.errors import SystemFault
from darse.linux.fs.files import Measurement, Usage

P = ParamSpec("P")
T = TypeVar("T")

# Seconds without one answer of the file system after which a tree counts as out of reach.
_SILENCE = 5.0


class TreeThreads:
    """At most `size` threads, each of which ends with its work."""

    def __init__(self, size: int) -> None:
        self._free = asyncio.Semaphore(size)

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run `function` in a thread, within the caller's context (its trace). Cancelled, it goes on alone."""
        await self._free.acquire()
        try:
            running = start_thread(self._free.release, function, *arguments, **options)
        except OSError:
            self._free.release()
            raise
        return await running


def start_thread(
    ended: Callable[[], None], function: Callable[P, T], *arguments: P.args, **options: P.kwargs
) -> asyncio.Future[T]:
    """Start a thread that the interpreter does not wait for. `ended` is called in the loop when it is through.

    Raises BlockingIOError when the host has no room for a thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        ended()
        if future.done():
            return  # nobody waits any more
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failure = None, None
        try:
            result = context.run(function, *arguments, **options)
        except BaseException as error:  # it is the caller's
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, failure)

    try:
        threading.Thread(target=work, name="tree", daemon=True).start()
    except RuntimeError as error:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), "a thread") from error
    return future


class TreeSizes:
    """Measures trees, some at a time. Who asks for one that is being measured waits for the same answer."""

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
        self._future = start_thread(lambda: (ended(), None)[1], self._measurement.run, root)
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
