"""How much one address or session may ask for: token buckets, and few guesses of a password."""

from __future__ import annotations

import time
from collections.abc import Callable

_MOST_BUCKETS = 4096


class RateLimit:
    """A bucket for each key: `burst` requests at once, and `rate` of them each second in the long run."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def reset(self) -> None:
        """Nobody has asked for anything yet."""
        self._buckets.clear()

    def refund(self, key: str) -> None:
        """What was taken last does not count."""
        if key in self._buckets:
            left, moment = self._buckets[key]
            self._buckets[key] = (min(self._burst, left + 1), moment)

    def allows(self, key: str) -> bool:
        """Whether there is one more for this key; it is taken then."""
        now = self._clock()
        left, before = self._buckets.pop(key, (float(self._burst), now))
        left = min(self._burst, left + (now - before) * self._rate)
        allowed = left >= 1
        # The newest are last: whoever fills the table with addresses pushes out the oldest.
        self._buckets[key] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _MOST_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        return allowed
