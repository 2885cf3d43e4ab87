"""inotify(7): wake when a file grows, instead of polling it.

One instance serves the whole engine, because the kernel allows a user few of them (128 by default) and many watches.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from darse.linux.descriptors import FileDescriptor
from darse.linux.libc import call

IN_MODIFY: Final = 0x00000002
IN_MOVED_TO: Final = 0x00000080
IN_CREATE: Final = 0x00000100
_MASK: Final = IN_MODIFY | IN_MOVED_TO | IN_CREATE
_OVERFLOW: Final = -1
_HEADER: Final = struct.Struct("iIII")


class Inotify:
    """Reports changes in directories: files that grow, appear, or take another's place."""

    def __init__(self) -> None:
        self._descriptor: FileDescriptor | None = None
        self._watches: dict[int, list[Subscription]] = {}

    def subscribe(self, directory: Path, changed: Callable[[], None]) -> Subscription:
        """Call `changed()` when something in a directory has changed, once for many changes at a time.

        Close the subscription when done. Raises OSError: the directory is gone, or a limit of the user is reached.
        """
        if self._descriptor is None:
            self._descriptor = FileDescriptor(call("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK))
            self._descriptor.listen(self._readable)
        watch = call(
            "inotify_add_watch", self._descriptor.number, os.fsencode(directory), _MASK, operand=str(directory)
        )
        subscription = Subscription(self, watch, changed)
        self._watches.setdefault(watch, []).append(subscription)
        return subscription

    def _readable(self) -> None:
        assert self._descriptor is not None
        events = os.read(self._descriptor.number, 65536)
        touched: set[int] = set()
        position = 0
        while position < len(events):
            watch, _, _, length = _HEADER.unpack_from(events, position)
            touched.add(watch)
            position += _HEADER.size + length
        if _OVERFLOW in touched:
            touched = set(self._watches)
        for watch in touched:
            for subscription in list(self._watches.get(watch, ())):
                subscription.changed()

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, and its watch when it was the last one."""
        others = self._watches.get(subscription.watch)
        if others is None or self._descriptor is None:
            return  # all watching has ended
        others.remove(subscription)
        if not others:
            del self._watches[subscription.watch]
            try:
                call("inotify_rm_watch", self._descriptor.number, subscription.watch)
            except OSError:
                return  # the directory is gone, and the watch with it

    def close(self) -> None:
        """Stop watching everything."""
        if self._descriptor is not None:
            self._descriptor.close()
            self._descriptor = None
            self._watches.clear()


class Subscription:
    """One who wants to know of one directory."""

    def __init__(self, inotify: Inotify, watch: int, changed: Callable[[], None]) -> None:
        self._inotify = inotify
        self.watch = watch
        self.changed = changed
        self._closed = False

    def close(self) -> None:
        """Hear nothing more; a second time does nothing."""
        if not self._closed:
            self._closed = True
            self._inotify.unsubscribe(self)
