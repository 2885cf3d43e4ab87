"""A line of keys below what a command prints, and what they do: docker compose's "navigation menu".

The line is taken away before something else is printed and drawn again in the event loop's next turn: what is printed
has lines of its own, and scrolls as it does without. Keys come one by one and are not shown (termios(3), ICANON and
ECHO); Ctrl-C and Ctrl-Z stay signals. After a stop and `fg` the terminal is asked again, and in the background it is
left alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from darse.cli.output.table import ellipsis
from darse.cli.terminal import screen
from darse.cli.terminal.modes import key_by_key, size

# Seconds for which a message is shown above the keys.
_MESSAGE_SECONDS = 10.0
_GAP = "   "
_BOLD_BLACK_ON_WHITE, _FAINT, _OFF = "\x1b[1;30;107m", "\x1b[2m", "\x1b[0m"


class ShortcutLine:
    """The line, from `__enter__` to `__exit__`."""

    def __init__(
        self, keys: Mapping[str, Callable[[], None]], words: Callable[[], Sequence[tuple[str, str]]], *, colours: bool
    ) -> None:
        """`keys` has what a key does; `words` gives the keys that are shown, each with what it does now."""
        self._keys = keys
        self._words = words
        self._colours = colours
        self._mode = key_by_key(0)
        self._message = ""
        self._shown = False
        self._reads = False
        self._drawing: asyncio.TimerHandle | asyncio.Handle | None = None
        self._dropping: asyncio.TimerHandle | None = None

    def __enter__(self) -> ShortcutLine:
        self._begin()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGCONT, signal.SIGWINCH):
            loop.add_signal_handler(number, self._begin)
        return self

    def __exit__(self, *_: object) -> None:
        self._read_no_more()
        self.hide()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGCONT, signal.SIGWINCH):
            loop.remove_signal_handler(number)
        if self._dropping is not None:
            self._dropping.cancel()
        if _is_in_foreground():
            self._mode.__exit__()

    def _begin(self) -> None:
        """Take the keys, when the terminal is ours, and show which."""
        if not _is_in_foreground():
            self._read_no_more()
            return
        if not self._reads:
            asyncio.get_running_loop().add_reader(0, self._read)
            self._reads = True
        self._mode.__enter__()
        self.show_soon()

    def _read_no_more(self) -> None:
        if self._reads:
            asyncio.get_running_loop().remove_reader(0)
            self._reads = False

    def _read(self) -> None:
        if not _is_in_foreground():
            self._read_no_more()  # they are for the shell; reading them would stop us
            return
        try:
            typed = os.read(0, 64)
        except OSError:
            typed = b""  # the terminal is gone
        if not typed:
            self._read_no_more()
            return
        for key in typed.decode(errors="replace"):
            if key in "\r\n":
                self.hide()
                sys.stdout.write("\n")
                self.show_soon()
            elif (action := self._keys.get(key)) is not None:
                action()

    def show_message(self, text: str) -> None:
        """Show a message above the keys for a moment."""
        self._message = text
        if self._dropping is not None:
            self._dropping.cancel()
        self._dropping = asyncio.get_running_loop().call_later(_MESSAGE_SECONDS, self._drop_message)
        self.show_soon()

    def _drop_message(self) -> None:
        self._message = ""
        self.show_soon()

    def hide(self) -> None:
        """Take the line away, for something else to be printed."""
        if self._drawing is not None:
            self._drawing.cancel()
            self._drawing = None
        if self._shown:
            self._shown = False
            screen.control("\r\x1b[J")
            sys.stdout.flush()

    def show_soon(self) -> None:
        """Draw the line when what is being printed is there; nothing before `__enter__`, and after `__exit__`."""
        if self._reads and self._drawing is None:
            self._drawing = asyncio.get_running_loop().call_soon(self._draw)

    def _draw(self) -> None:
        self._drawing = None
        if not _is_in_foreground():
            return
        _, columns = size()
        words = self._words()
        text = _GAP.join(f"{key} {what}" for key, what in words)
        if columns and len(text) >= columns:
            text = ellipsis(text, columns - 1)
        elif self._colours:
            text = _GAP.join(f"{_BOLD_BLACK_ON_WHITE}{key}{_OFF}{_FAINT} {what}{_OFF}" for key, what in words)
        above = ""
        if self._message:
            # A line of its own, and back to it: what is printed next begins there.
            above = ellipsis(screen.visible(self._message, one_line=True), max(columns - 1, 1)) + "\n"
        back = "\x1b[A" if above else ""
        screen.control(f"\r\x1b[J{above}{text}{back}\r")
        sys.stdout.flush()
        self._shown = True


def _is_in_foreground() -> bool:
    """Whether the terminal on standard input is ours at the moment: a job in the background leaves it alone."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
