"""When to repair again what somebody keeps undoing: firewall rules, for example, that another program flushes.

The first repairs follow at once, since one flush is an accident. Who repeats it has a reason; then the engine waits
longer each time, up to a minute, and does not fight with it for the processor.
"""

from __future__ import annotations

# Seconds, but for the first.
_AT_ONCE = 8
_WITHIN = 10.0
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_QUIET = 120.0


class Backoff:
    """Lets the first repairs pass at once; then each waits twice as long as the last, until there was peace."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._wait = 0.0

    def note(self, now: float) -> None:
        """A repair was done. Times are those of one monotonic clock, in seconds."""
        if self._times and now - self._times[-1] > _QUIET:
            self._times, self._wait = [], 0.0
        self._times = [*self._times[1 - _AT_ONCE :], now]
        if self._wait:
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
        elif len(self._times) == _AT_ONCE and now - self._times[0] < _WITHIN:
            self._wait = _FIRST_WAIT

    def wait(self, now: float) -> float:
        """Seconds until the next repair may be done; 0: at once."""
        if not self._wait or self.is_quiet(now):
            return 0.0
        return max(0.0, self._times[-1] + self._wait - now)

    def is_quiet(self, now: float) -> bool:
        """Whether nothing had to be repaired for so long that all is forgotten."""
        return not self._times or now - self._times[-1] > _QUIET
