"""inotify(7) without an event loop: watches on directories, and the names in them that have changed.

For processes that have a loop of their own; the engine has `darse.linux.fs.inotify`.
"""

from __future__ import annotations

import os
import struct

from darse.linux.libc import call

TYPE_CHECKING = False  # not the one of typing, which takes memory
if TYPE_CHECKING:
    from collections.abc import Iterator

# What may make a path mean something else: written, linked, renamed, removed; or the directory itself is gone.
_IN_MODIFY, _IN_ATTRIB, _IN_CLOSE_WRITE = 0x2, 0x4, 0x8
_IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE, _IN_DELETE_SELF, _IN_MOVE_SELF = (
    0x40,
    0x80,
    0x100,
    0x200,
    0x400,
    0x800,
)
_MASK = (
    _IN_MODIFY
    | _IN_ATTRIB
    | _IN_CLOSE_WRITE
    | _IN_MOVED_FROM
    | _IN_MOVED_TO
    | _IN_CREATE
    | _IN_DELETE
    | _IN_DELETE_SELF
    | _IN_MOVE_SELF
)
_HEADER = struct.Struct("iIII")


class Watches:
    """An inotify instance."""

    def __init__(self) -> None:
        """Raises OSError."""
        self.descriptor = call("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK)
        self._watches: dict[int, str] = {}

    def set(self, directories: set[str]) -> None:
        """Watch these directories, and no others. One that cannot be watched is left out."""
        for watch, directory in list(self._watches.items()):
            if directory not in directories:
                del self._watches[watch]
                try:
                    call("inotify_rm_watch", self.descriptor, watch)
                except OSError:
                    continue  # it has gone with the directory
        for directory in directories - set(self._watches.values()):
            try:
                watch = call("inotify_add_watch", self.descriptor, os.fsencode(directory), _MASK)
            except OSError:
                continue
            self._watches[watch] = directory

    def changes(self) -> Iterator[tuple[str, str]]:
        """What has changed: directory and name; a name of "" is the directory itself. Empty ones: changes were lost."""
        while True:
            try:
                events = os.read(self.descriptor, 65536)
            except BlockingIOError:
                return
            position = 0
            while position < len(events):
                watch, _, _, length = _HEADER.unpack_from(events, position)
                position += _HEADER.size
                name = events[position : position + length].rstrip(b"\0")
                position += length
                yield self._watches.get(watch, ""), os.fsdecode(name)

    def close(self) -> None:
        """Stop watching."""
        os.close(self.descriptor)
