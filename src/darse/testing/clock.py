"""An event loop whose time passes at once: `run(main())` takes milliseconds, whatever `main` sleeps.

When no callback is ready and no thread works for the loop, its clock jumps to the next timer, as trio's autojump clock
does. Where there is no timer either, nothing can happen any more: `run` raises RuntimeError instead of hanging.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
# What a thread that works for the loop may take, in real seconds.
_THREAD_SECONDS = 30.0


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for threads only; every other wait makes time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.threads:
            # What a thread has done comes by the loop's own pipe.
            return super().select(_THREAD_SECONDS)
        if timeout is None:
            raise RuntimeError("nothing can happen any more: no timer is set, and no thread works for the loop")
        self.now += timeout
        return []


class FakeClockLoop(asyncio.SelectorEventLoop):
    """The event loop."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The loop's own time, in seconds from its beginning."""
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run `func` in a thread; no time passes meanwhile."""
        self._jumping.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *arguments: Any) -> None:
        """Wait for the threads; no time passes meanwhile."""
        self._jumping.threads += 1
        await super().shutdown_default_executor(*arguments)
        self._jumping.threads -= 1

    def _thread_done(self, _: object) -> None:
        self._jumping.threads -= 1


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in time that passes at once."""
    with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
        return runner.run(main)


def in_fake_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """A test function that runs in time that passes at once."""

    @functools.wraps(test)
    def runs(*arguments: P.args, **options: P.kwargs) -> T:
        return run(test(*arguments, **options))

    return runs
