"""The terminal: raw mode for the time of a stream, its size, and detach keys."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from darse.cli.errors import CliError


def is_terminal(descriptor: int) -> bool:
    """Whether a descriptor is a terminal."""
    return os.isatty(descriptor)


def size() -> tuple[int, int]:
    """Height and width of the terminal; zeros where there is none."""
    for descriptor in (1, 0, 2):
        try:
            columns, lines = os.get_terminal_size(descriptor)
        except OSError:
            continue
        return lines, columns
    return 0, 0


@contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """Pass every key on, and restore the terminal in any case."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)  # the default would drop what was typed ahead
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def no_echo(descriptor: int) -> AbstractContextManager[None]:
    """Show nothing of what is typed, a password say, and restore the terminal in any case."""
    return _without(descriptor, termios.ECHO)


def no_echo_of_controls(descriptor: int) -> AbstractContextManager[None]:
    """Show no `^C` for what is typed (ECHOCTL, termios(3)), and restore the terminal in any case."""
    return _without(descriptor, termios.ECHOCTL)


@contextmanager
def _without(descriptor: int, flag: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    quiet = termios.tcgetattr(descriptor)
    quiet[3] &= ~flag
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def require_terminal_for(flag_stdin: bool, flag_tty: bool) -> None:
    """Refuse `-it` when standard input is no terminal, in docker's words."""
    if flag_stdin and flag_tty and not is_terminal(0):
        text = "the input device is not a TTY"
        if sys.platform == "win32":
            text += ".  If you are using mintty, try prefixing the command with 'winpty'"
        raise CliError(text)


def parse_keys(text: str) -> bytes:
    """The bytes of a sequence such as `ctrl-p,ctrl-q`. Raises CliError."""
    special = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1:
            keys.append(ord(key))
        elif key.startswith("ctrl-") and len(key) == 6 and key[5].isascii():
            letter = key[5]
            keys.append(ord(letter) - 96 if letter.isalpha() else special.get(letter, 255))
        else:
            raise CliError(f"invalid detach keys ({text}) provided")
    return bytes(keys)


class KeyWatcher:
    """Notices the detach sequence in what is typed."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._seen = b""
        self.detached = False

    def watch(self, data: bytes) -> None:
        """Look at input."""
        self._seen = (self._seen + data)[-(len(self._keys) + len(data)) :]
        if self._keys and self._keys in self._seen:
            self.detached = True
        self._seen = self._seen[-len(self._keys) :]
