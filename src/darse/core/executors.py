"""Threads for work that blocks: bounded for each kind of work, so that no kind keeps another waiting.

| executor | work | what it may wait for |
|---|---|---|
| `launch` | execs: monitors, the runtime | other programs |
| `kernel` | control groups, netlink, conntrack, `/proc`, workers' starts | locks of the kernel, endless processes |
| `storage` | the engine's own roots: trees, documents, flushes | disks |
| `transfer` | archives that clients send | clients |
| `foreign` | bind sources, volumes that are mounts, containers' users | file servers that never answer again |

asyncio's default executor is not used: its few threads would be shared by all of these, and six starts with a dead NFS
mount would stop every exec and every removal. Threads are daemons, for the engine must be able to exit without those
that are stuck; their work can be broken off anywhere, as by a crash. `drain` waits for what can be expected to end.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import errno
import functools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

from darse.core.errors import SystemFault
from darse.core.tasks import Outlasting

P = ParamSpec("P")
T = TypeVar("T")

# A thread without work ends after so many seconds.
_IDLE_SECONDS = 60.0
# Stuck work takes a thread of its own up to this number, in each executor.
_STUCK_MOST = 512
_FOREIGN_SECONDS = 15.0


class _Job:
    """A call, and the future that gets its result; when that is cancelled before its turn, it is not made."""

    __slots__ = ("_call", "future", "running", "stuck")

    def __init__(self, call: Callable[[], Any], future: Any) -> None:
        """`future` is one of concurrent.futures, and of asyncio for a `_LoopJob`."""
        self._call = call
        self.future = future
        self.running = False
        self.stuck = False

    def __call__(self) -> None:
        """Make the call, in a thread."""
        if self.future.cancelled():
            return
        try:
            settle, outcome = self.future.set_result, self._call()
        except BaseException as error:  # it is the caller's
            settle, outcome = self.future.set_exception, error
        self._deliver(settle, outcome)

    def _deliver(self, settle: Callable[[Any], None], outcome: Any) -> None:
        settle(outcome)


class _LoopJob(_Job):
    """A call whose future is the event loop's, and is settled there."""

    __slots__ = ("_loop", "timer")

    def __init__(self, call: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        super().__init__(call, future)
        self._loop = future.get_loop()
        # For the next look at whether it is stuck.
        self.timer: asyncio.TimerHandle | None = None

    def _deliver(self, settle: Callable[[Any], None], outcome: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who waited
            self._loop.call_soon_threadsafe(self._settle, settle, outcome)

    def _settle(self, settle: Callable[[Any], None], outcome: Any) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.future.done():
            settle(outcome)


class Executor:
    """Threads for one kind of work."""

    def __init__(
        self,
        name: str,
        size: int,
        *,
        stuck_after: float | None = None,
        surroundings: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        """At most `size` calls run at a time; a call that takes longer than `stuck_after` seconds does not count.

        Each thread does all its work within a context of its own, made by `surroundings`.
        """
        self._name = name
        self._size = size
        self._stuck_after = stuck_after
        self._surroundings = surroundings
        # Both conditions have one lock, under which all below is changed.
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._done = threading.Condition(self._lock)
        self._jobs: deque[_Job] = deque()
        self._threads = 0
        self._idle = 0
        self._running = 0
        self._stuck = 0

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call a function in a thread, within the caller's context (its trace). Cancelled, it goes on alone.

        Raises what the function raises, and BlockingIOError when the host has no room for a thread.
        """
        # Not one of concurrent.futures, which asyncio would chain to its own: half the time of a call.
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        return await self._begin(future, functools.partial(function, *arguments, **options))

    async def run_to_end(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """As `run`; cancelled, it is waited for all the same, for a caller who would undo it."""
        return await self.begin(functools.partial(function, *arguments, **options))

    def begin(self, function: Callable[[], T], stop: Callable[[], object] | None = None) -> Outlasting[T]:
        """Have a function called as by `run`, and return a future that outlasts who waits for it."""
        future = Outlasting[T](stop)
        self._begin(future, function)
        _outlasting.add(future)
        return future

    def _begin(self, future: asyncio.Future[T], function: Callable[[], T]) -> asyncio.Future[T]:
        job = _LoopJob(functools.partial(contextvars.copy_context().run, function), future)
        # The loop knows of the thread (`darse.testing.clock`), and returns what `submit` does.
        future.get_loop().run_in_executor(cast(concurrent.futures.Executor, self), cast(Callable[[], T], job))
        self._check_later(job)
        return future

    def _check_later(self, job: _LoopJob) -> None:
        if self._stuck_after is not None:
            job.timer = job.future.get_loop().call_later(self._stuck_after, self._check_again, job)

    def _check_again(self, job: _LoopJob) -> None:
        if self._check_stuck(job):
            self._check_later(job)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in a thread, within the caller's context. Blocks; not for one of these threads."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        job = _Job(functools.partial(contextvars.copy_context().run, function), future)
        self.submit(job)
        while True:
            try:
                return future.result(self._stuck_after)
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise  # the function's own
                self._check_stuck(job)

    def submit(self, job: _Job) -> Any:
        """Have a thread make a call; its future. Raises BlockingIOError when the host has no room for a thread."""
        with self._lock:
            self._jobs.append(job)
            try:
                self._add_thread()
            except RuntimeError as error:
                if not self._threads:
                    self._jobs.remove(job)
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), "a thread") from error
            self._more.notify()
        return job.future

    def wait(self, seconds: float) -> bool:
        """Wait until all work is done, `seconds` at most; whether it is. Blocks."""
        with self._lock:
            return self._done.wait_for(lambda: not self._jobs and not self._running, seconds)

    def _add_thread(self) -> None:
        """Start a thread where there is work for one. Call it under the lock."""
        if len(self._jobs) > self._idle and self._threads < self._size + self._stuck:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._threads += 1

    def _check_stuck(self, job: _Job) -> bool:
        """A call has not ended in time: let another run beside it. Whether it is to be judged again."""
        with self._lock:
            if job.running and self._stuck < _STUCK_MOST:
                job.stuck = True
                self._stuck += 1
                with contextlib.suppress(RuntimeError):  # the host has no room for a thread: what waits goes on waiting
                    self._add_thread()
                return False
            return job.running or job in self._jobs

    def _work(self) -> None:
        with self._surroundings():
            while (job := self._next()) is not None:
                job()
                with self._lock:
                    job.running = False
                    self._running -= 1
                    self._stuck -= job.stuck
                    self._done.notify_all()
                    if self._threads > self._size + self._stuck:
                        self._threads -= 1
                        return

    def _next(self) -> _Job | None:
        """The next call to make; None when the thread is to end."""
        with self._lock:
            self._idle += 1
            found = self._more.wait_for(lambda: bool(self._jobs), _IDLE_SECONDS)
            self._idle -= 1
            if not found:
                self._threads -= 1
                return None
            job = self._jobs.popleft()
            job.running = True
            self._running += 1
            return job


# What `drain` gives up: nothing else ends it.
_outlasting: weakref.WeakSet[Outlasting[Any]] = weakref.WeakSet()


class ForeignFileSystems:
    """Calls to file systems that the engine does not own, and that may never answer."""

    def __init__(self, size: int) -> None:
        """`size` calls may run at a time; those that do not answer within a second do not count."""
        self._executor = Executor("foreign", size, stuck_after=1.0)
        self._silent: dict[str, asyncio.Future[Any]] = {}

    async def run(
        self, where: str, function: Callable[..., T], *arguments: Any, seconds: float = _FOREIGN_SECONDS
    ) -> T:
        """Call a function that looks at, or changes, the file system at `where`.

        Raises what it raises, and SystemFault after `seconds` without an answer. The call goes on then, and nobody else
        calls there before it has ended.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (before := self._silent.get(where)) is not None:
            await self._answer(where, before, end - loop.time())
        call = asyncio.ensure_future(self._executor.run(function, *arguments))
        try:
            await self._answer(where, call, end - loop.time())
        finally:
            if not call.done():
                self._silent[where] = call
                call.add_done_callback(functools.partial(self._answered, where))
        return call.result()

    def _answered(self, where: str, call: asyncio.Future[Any]) -> None:
        if self._silent.get(where) is call:
            del self._silent[where]
        if not call.cancelled():
            call.exception()  # of a call that nobody waits for any more

    @staticmethod
    async def _answer(where: str, call: asyncio.Future[Any], seconds: float) -> None:
        done, _ = await asyncio.wait((call,), timeout=max(seconds, 0))
        if not done:
            raise SystemFault(f"{where}: its file system does not answer")


launch = Executor("launch", 8, stuck_after=5.0)
kernel = Executor("kernel", 8, stuck_after=1.0)
storage = Executor("storage", 8)
transfer = Executor("transfer", 8, stuck_after=1.0)
foreign = ForeignFileSystems(16)


async def drain(seconds: float) -> bool:
    """Wait for the work that can be expected to end; whether it has ended in time.

    Whoever waits for more than that, and may not be cancelled, hears that it is given up.
    """
    waiting = Executor("drain", 4)
    kinds = (launch, kernel, storage, transfer)
    is_done = all(await asyncio.gather(*(waiting.run(one.wait, seconds) for one in kinds)))
    for future in list(_outlasting):
        if not future.done():
            future.give_up(SystemFault("the engine ends, and what it waits for does not"))
    return is_done
