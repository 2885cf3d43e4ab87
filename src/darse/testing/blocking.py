"""What a thread does with files, noted by an audit hook: the event loop's must not wait for a disk.

A unit test needs no slow disk: it says that the loop's thread touches nothing below a directory.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Of the table of audit events of the Python documentation.
_WATCHED_EVENTS = frozenset(
    {
        *("open", "os.listdir", "os.scandir"),
        *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"),
        *("os.chown", "os.chmod", "os.truncate", "os.utime"),
    }
)
# Where their arguments have the descriptor of the directory that a path is relative to.
_DIRECTORY = {
    **{"os.remove": 1, "os.rmdir": 1, "os.mkdir": 2, "os.chmod": 2, "os.rename": 2, "os.link": 2},
    **{"os.chown": 3, "os.utime": 3},
}


class _Watched:
    """Where the calls of one thread are noted; an audit hook stays for as long as the interpreter."""

    def __init__(self) -> None:
        self.thread = 0
        self.below = ""
        self.seen: list[str] = []
        self._hooked = False

    def hook(self) -> None:
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._called)

    def _called(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.thread != threading.get_ident() or event not in _WATCHED_EVENTS:
            return
        path = arguments[0]
        text = path.decode() if isinstance(path, bytes) else str(path)
        directory = arguments[_DIRECTORY[event]] if event in _DIRECTORY else -1
        if directory >= 0:
            text = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), text)
        if text.startswith(self.below):
            self.seen.append(f"{event} {text}")


_WATCHED = _Watched()


@contextmanager
def on_this_thread(below: Path) -> Iterator[list[str]]:
    """The files and directories below one that this thread opens, makes, renames or removes during the block."""
    _WATCHED.hook()
    _WATCHED.seen, _WATCHED.below, _WATCHED.thread = [], str(below), threading.get_ident()
    try:
        yield _WATCHED.seen
    finally:
        _WATCHED.thread = 0
