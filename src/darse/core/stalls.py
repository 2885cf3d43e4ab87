"""Reports what blocks the event loop, with the stack that blocked: `darsed --debug-loop-stalls MILLISECONDS`.

One slow call in the event loop stops the whole engine, so every engine of the tests runs with this guard. asyncio's own
debug mode names only the callback, and makes everything slow; here a thread looks at the loop's thread when a turn
of the loop takes long, so that a turn costs a few microseconds more.

On an overloaded machine each turn is slow, and that is no fault of the engine: the time that threads of the engine were
ready and waited for a processor (proc(5), `/proc/PID/task/TID/schedstat`) does not count. Other threads matter because
one of them may hold the interpreter's lock while it waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import sys
import threading
import time
import traceback
from collections import Counter
from types import FrameType

# How often the loop is looked at while a turn lasts, in parts of the limit.
_LOOKS = 4
_SHOWN_STACKS = 3
_log = logging.getLogger("darse.loop")


class _Turn:
    """What the loop does between two waits for news."""

    __slots__ = ("begin", "delay", "delays", "stacks")

    def __init__(self, begin: float, delay: int, delays: dict[str, int]) -> None:
        self.begin = begin
        # Nanoseconds that the loop's thread, and the others by their ids, had waited for a processor before.
        self.delay = delay
        self.delays = delays
        self.stacks: Counter[str] = Counter()


class _WatchedSelector(selectors.DefaultSelector):
    """A selector that says when the loop waits."""

    def __init__(self, detector: StallDetector) -> None:
        super().__init__()
        self._detector = detector

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for news; see the base."""
        self._detector.end_turn()
        try:
            return super().select(timeout)
        finally:
            self._detector.begin_turn()


class StallDetector:
    """Watches one event loop."""

    def __init__(self, limit: float) -> None:
        """Report turns of more than `limit` seconds."""
        self._limit = limit
        self._turn: _Turn | None = None
        self._watching = False
        self._delays: dict[str, int] = {}
        self._thread_id = 0
        self._kernel_id = ""
        self._schedstat = -1
        self._stop = threading.Event()

    def make_loop(self) -> asyncio.AbstractEventLoop:
        """Make the event loop; call it in the thread that runs it."""
        return asyncio.SelectorEventLoop(_WatchedSelector(self))

    def start(self) -> None:
        """Begin; call it in the loop."""
        self._thread_id = threading.get_ident()
        self._kernel_id = str(threading.get_native_id())
        self._schedstat = _open_schedstat("thread-self")
        self._delays = _read_delays(self._kernel_id)
        self._watching = True
        threading.Thread(target=self._watch, name="stalls", daemon=True).start()

    def stop(self) -> None:
        """End; call it in the loop."""
        self.end_turn()
        self._watching = False
        self._stop.set()
        if self._schedstat >= 0:
            os.close(self._schedstat)

    def begin_turn(self) -> None:
        """The loop goes to work."""
        if self._watching:
            self._turn = _Turn(time.monotonic(), _read_delay(self._schedstat), self._delays)

    def end_turn(self) -> None:
        """The loop is about to wait: report the turn when it was too long."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        duration = time.monotonic() - turn.begin
        if duration < self._limit:
            return
        waited = _read_delay(self._schedstat) - turn.delay
        for thread, delay in _read_delays(self._kernel_id).items():
            waited += delay - turn.delays.get(thread, 0)
        blocked = duration - waited / 1e9
        if blocked >= self._limit:
            _report(blocked, duration, turn.stacks)

    def _watch(self) -> None:
        pause = self._limit / _LOOKS
        before: _Turn | None = None
        while not self._stop.wait(pause):
            self._delays = _read_delays(self._kernel_id)
            turn = self._turn
            if turn is not None and turn is before:
                turn.stacks[_stack(sys._current_frames().get(self._thread_id))] += 1
            before = turn


def _report(blocked: float, duration: float, stacks: Counter[str]) -> None:
    looks = sum(stacks.values())
    shown = "".join(f"\nin {count} of {looks} looks:\n{stack}" for stack, count in stacks.most_common(_SHOWN_STACKS))
    _log.warning(
        "the event loop was blocked for %d ms (of %d ms; the rest it waited for a processor)%s",
        blocked * 1000,
        duration * 1000,
        shown or "\nno stack: whatever it was held the interpreter's lock",
    )


def _stack(frame: FrameType | None) -> str:
    """The stack of a thread, without what every turn of the loop begins with."""
    frames = traceback.extract_stack(frame) if frame is not None else []
    own = [one for one in frames if not one.filename.endswith(("asyncio/runners.py", "asyncio/base_events.py"))]
    return "".join(traceback.format_list(own))


def _open_schedstat(thread: str) -> int:
    try:
        return os.open(f"/proc/{thread}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a kernel without CONFIG_SCHED_INFO: nothing is subtracted
        return -1


def _read_delay(descriptor: int) -> int:
    """Nanoseconds for which a thread was ready to run and waited for a processor."""
    if descriptor < 0:
        return 0
    try:
        return int(os.pread(descriptor, 128, 0).split()[1])
    except ProcessLookupError:
        return 0


def _read_delays(but: str) -> dict[str, int]:
    """The same of each thread of this process but one, by its id."""
    found: dict[str, int] = {}
    try:
        threads = os.listdir("/proc/self/task")
    except OSError:  # no descriptor is left: nothing is subtracted
        return found
    for thread in threads:
        if thread != but and (descriptor := _open_schedstat(f"self/task/{thread}")) >= 0:
            found[thread] = _read_delay(descriptor)
            os.close(descriptor)
    return found
