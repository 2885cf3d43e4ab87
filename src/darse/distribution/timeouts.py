"""How long a registry may take, how often it is asked again, and how a caller gives up."""

from __future__ import annotations

import contextlib
import email.utils
import socket
import threading
import time

import msgspec

from darse.distribution.errors import Cancelled, RegistryError


class Limits(msgspec.Struct, frozen=True):
    """How long a registry may take, in seconds."""

    connect: float = 20
    # Between two arrivals of anything.
    silence: float = 60
    # For the head of an answer, and for a document such as a manifest or a token as a whole.
    document: float = 60
    # A layer may take as long as it likes, at this rate or a better one, over any period of `rate_period`.
    least_rate: int = 512
    rate_period: float = 60
    # Pauses before another try: the first, doubled each time; and the longest that a registry may ask for.
    pause: float = 1
    longest_pause: float = 60
    attempts: int = 5


class Cancellation:
    """Lets one thread end what others wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Wake every waiting thread; whatever is begun afterwards fails at once."""
        with self._lock:
            self._cancelled.set()
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            # The descriptor stays open: closing it is its own thread's business. Not SSLSocket's method, which waits.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    @property
    def cancelled(self) -> bool:
        """Whether the caller gave up."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise Cancelled when the caller gave up."""
        if self._cancelled.is_set():
            raise Cancelled("context canceled")

    def wait(self, seconds: float) -> None:
        """Pause. Raises Cancelled as soon as the caller gives up."""
        if self._cancelled.wait(seconds):
            raise Cancelled("context canceled")

    def watch(self, one: socket.socket) -> None:
        """Shut this socket, too, when the caller gives up. Raises Cancelled when it has."""
        with self._lock:
            self.check()
            self._sockets.add(one)

    def unwatch(self, one: socket.socket) -> None:
        """The socket is somebody else's again."""
        with self._lock:
            self._sockets.discard(one)


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value.strip()[:9])
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def pause_before(attempt: int, error: RegistryError, limits: Limits) -> float:
    """Seconds to wait before try number `attempt` (the second is 2), after `error`.

    Raises the error itself when another try is not worth it, or the registry asks for a longer wait than allowed.
    """
    if not error.retryable or attempt > limits.attempts:
        raise error
    pause = float(limits.pause * 2 ** (attempt - 2))
    if error.retry_after is not None:
        if error.retry_after > limits.longest_pause:
            raise error
        pause = max(pause, error.retry_after)
    return min(pause, limits.longest_pause)
