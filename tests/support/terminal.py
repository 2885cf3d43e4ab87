"""A command in a real pseudo-terminal, and the screen that it draws there, as a terminal shows it (pyte)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import pexpect
import pyte

_ROWS, _COLUMNS = 50, 120
_READ_SECONDS = 0.2
_BYTES = 65536


class Terminal:
    """One of them. `status` is the command's, once it has ended."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._screen = pyte.Screen(_COLUMNS, _ROWS)
        self._stream = pyte.ByteStream(self._screen)
        given = {**environment, "TERM": "xterm-256color"}
        self._process = pexpect.spawn(command[0], list(command[1:]), env=given, dimensions=(_ROWS, _COLUMNS))
        self.status: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.close(force=True)

    @property
    def lines(self) -> list[str]:
        """What the screen shows now, without what is blank at the ends."""
        return [line.rstrip() for line in "\n".join(self._screen.display).rstrip().split("\n")]

    def wait(self, shows: Callable[[list[str]], bool], seconds: float = 60) -> list[str]:
        """Draw until the screen is as it should be; return it. Raises AssertionError when it never is."""
        deadline = time.monotonic() + seconds
        while not shows(self.lines):
            assert time.monotonic() < deadline, "the screen never showed it:\n" + "\n".join(self.lines)
            assert self._draw() or shows(self.lines), "the command ended before:\n" + "\n".join(self.lines)
        return self.lines

    def end(self, seconds: float = 60) -> list[str]:
        """Draw until the command has ended; return the last screen."""
        deadline = time.monotonic() + seconds
        while self._draw():
            assert time.monotonic() < deadline, "the command has not ended:\n" + "\n".join(self.lines)
        self._process.close()
        self.status = self._process.exitstatus
        return self.lines

    def _draw(self) -> bool:
        """Take what was written; whether more may come."""
        try:
            self._stream.feed(self._process.read_nonblocking(_BYTES, _READ_SECONDS))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True
