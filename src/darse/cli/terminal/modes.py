"""The terminal: raw mode for the time of a stream, its size, and detach keys."""

from __future__ import annotations

import os
import sys
import termios
import tty

from darse.cli.errors import CliError
from darse.detach_keys import DEFAULT, DetachKeys, InvalidKeys, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


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


class _Changed:
    """A terminal with other settings for the time of a block; what they were is restored in any case."""

    def __init__(self, descriptor: int, change: Callable[[int], None] | None) -> None:
        """`change` sets what is to be; without one everything stays as it is."""
        self._descriptor = descriptor
        self._change = change
        self._before: list[Any] = []

    def __enter__(self) -> None:
        if self._change is None:
            return
        if not self._before:
            self._before = termios.tcgetattr(self._descriptor)
        try:
            self._change(self._descriptor)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._before:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)


def raw_mode(descriptor: int, *, when: bool = True) -> _Changed:
    """Pass every key on; `when` not, change nothing."""
    return _Changed(descriptor, _set_raw if when else None)


def _set_raw(terminal: int) -> None:
    tty.setraw(terminal, termios.TCSADRAIN)  # the default would drop what was typed ahead


def key_by_key(descriptor: int) -> _Changed:
    """Pass each key on at once and show none; those that send signals still do."""
    return _without(descriptor, termios.ECHO | termios.ICANON)


def no_echo(descriptor: int) -> _Changed:
    """Show nothing of what is typed, a password say."""
    return _without(descriptor, termios.ECHO)


def no_echo_of_controls(descriptor: int) -> _Changed:
    """Show no `^C` for what is typed (ECHOCTL, termios(3))."""
    return _without(descriptor, termios.ECHOCTL)


def _without(descriptor: int, flag: int) -> _Changed:
    def change(terminal: int) -> None:
        settings = termios.tcgetattr(terminal)
        settings[3] &= ~flag
        termios.tcsetattr(terminal, termios.TCSADRAIN, settings)

    return _Changed(descriptor, change)


def require_terminal_for(flag_stdin: bool, flag_tty: bool) -> None:
    """Refuse `-it` when standard input is no terminal, in docker's words."""
    if flag_stdin and flag_tty and not is_terminal(0):
        text = "the input device is not a TTY"
        if sys.platform == "win32":
            text += ".  If you are using mintty, try prefixing the command with 'winpty'"
        raise CliError(text)


def detach_keys(text: str) -> DetachKeys:
    """The keys of a flag such as `ctrl-p,ctrl-q`; docker's own when it is empty. Raises CliError."""
    try:
        return DetachKeys(parse(text or DEFAULT))
    except InvalidKeys:
        raise CliError(f"invalid detach keys ({text}) provided") from None
