"""Noticing that the other end of a socket is closed for good, while nothing is read from it.

A socket whose peer has ended its output is readable for ever (end of file), whether the peer still listens or is gone.
Only poll's hang-up tells the two apart for unix sockets (unix(7), epoll_ctl(2)): an epoll set that asks for no event
at all still reports it, and is itself a descriptor that the event loop can watch.
"""

from __future__ import annotations

import select
from collections.abc import Callable

from darse.linux.descriptors import FileDescriptor


class HangupWatch:
    """Calls back once when the peer of a socket is gone; close it before the socket."""

    def __init__(self, descriptor: int, on_hangup: Callable[[], None]) -> None:
        self._epoll = select.epoll()
        self._epoll.register(descriptor, 0)
        self._on_hangup = on_hangup
        self._descriptor = FileDescriptor(self._epoll.fileno(), self._epoll.close)
        self._descriptor.listen(self._hung_up)

    def _hung_up(self) -> None:
        self.close()
        self._on_hangup()

    def close(self) -> None:
        """Stop watching."""
        self._descriptor.close()
