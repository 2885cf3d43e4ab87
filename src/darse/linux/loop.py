"""epoll(7) and timers: what asyncio does, in a tenth of its memory and of its time per datagram."""

from __future__ import annotations

import heapq
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE, ERROR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR | select.EPOLLHUP
#: Events are reported when they come, and not as long as they last.
ONCE = select.EPOLLET
# Faults of one handler are reported so many times: a file of reports must not fill the disk.
_MOST_REPORTS = 100


class Timer:
    """A call at a time."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], object] | None) -> None:
        self.when = when
        self.callback = callback

    def cancel(self) -> None:
        """Do not call."""
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Loop:
    """Calls handlers of descriptors that are ready, and timers that are due."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        #: Descriptors that were added since the kernel was asked: it has said nothing of them yet.
        self._added: set[int] = set()
        self._timers: list[Timer] = []
        self._stopping = False
        self._reports = 0

    def add(self, descriptor: int, handler: Callable[[int], None], events: int = READ) -> None:
        """Call `handler` with the events of a descriptor. Raises OSError."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler
        self._added.add(descriptor)

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events of a descriptor."""
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor, which is still open; fine when it is not known."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` after so many seconds."""
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def stop(self) -> None:
        """Have `run` return."""
        self._stopping = True

    def run(self) -> None:
        """Call handlers and timers until `stop`. What a handler raises is reported, and ends nothing else."""
        while not self._stopping:
            timeout = max(0.0, self._timers[0].when - time.monotonic()) if self._timers else -1
            self._added.clear()
            for descriptor, events in self._epoll.poll(timeout, 256):
                # One that was closed by a handler before it in the same round is not known any more, or is another one
                # with its number.
                handler = self._handlers.get(descriptor)
                if handler is not None and descriptor not in self._added:
                    try:
                        handler(events)
                    except Exception:
                        self.report()
            self._call_due()

    def _call_due(self) -> None:
        now = time.monotonic()
        while self._timers and (self._timers[0].when <= now or self._timers[0].callback is None):
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                try:
                    callback()
                except Exception:
                    self.report()

    def report(self) -> None:
        """Write the traceback of the exception at hand to stderr."""
        self._reports += 1
        if self._reports <= _MOST_REPORTS:
            # Not traceback.print_exc(): a process that may open no file cannot import that.
            sys.__excepthook__(*sys.exc_info())
            sys.stderr.flush()

    def close(self) -> None:
        """Give the descriptor back; those that are waited on stay open."""
        self._epoll.close()
        self._handlers.clear()
        self._timers.clear()
