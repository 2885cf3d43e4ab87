"""Messages of pulls, pushes, loads and imports: lines in a pipe; on a terminal each layer keeps its line.

What is shown when follows docker's client: a pipe gets the states without the bars; a terminal gets a bar (docker's
where it is wider than 110 columns, a short one down to 67), numbers always, and the time that is left when the engine
tells when the transfer began.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from darse.cli.errors import CliError
from darse.cli.output.table import ellipsis
from darse.cli.terminal import screen
from darse.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.images import ProgressDetailDocument, ProgressDocument

_BAR = 50
# Columns of the terminal, and how long the bar is there: docker's where it has one, else a short one.
_BARS = ((110, _BAR), (78, 20), (66, 10))
_WIDE_ENOUGH_FOR_TIME = 50
# Where the terminal does not tell.
_UNKNOWN_WIDTH = 200


def display(
    messages: Iterable[ProgressDocument], stream: TextIO | None = None, *, on_aux: Callable[[Any], None] | None = None
) -> None:
    """Print messages as they come, to standard output or `stream`; `on_aux` gets what they carry for programs.

    Raises CliError for one that reports an error.
    """
    out = sys.stdout if stream is None else stream
    show = _Screenful(out).show if out.isatty() else lambda message: _print(out, message)
    for message in messages:
        raise_error(message)
        if "aux" in message:
            if on_aux is not None:
                on_aux(message["aux"])
            continue
        show(message)
        out.flush()


def raise_error(message: ProgressDocument) -> None:
    """Raise CliError when a message reports an error."""
    if "error" in message or "errorDetail" in message:
        detail = message.get("errorDetail") or {}
        raise CliError(str(detail.get("message") or message.get("error")))


def _print(out: TextIO, message: ProgressDocument) -> None:
    """A message in a pipe: not those that only move a bar."""
    if not _progress(message.get("progressDetail"), _UNKNOWN_WIDTH):
        out.write(_head(message) + (message["stream"] if message.get("stream") else f"{message.get('status', '')}\n"))


def _head(message: ProgressDocument) -> str:
    return f"{message['id']}: " if message.get("id") else ""


class _Screenful:
    """The lines of a terminal on which layers are shown, by their ids; the cursor is below the last one."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lines: dict[str, int] = {}

    def show(self, message: ProgressDocument) -> None:
        if message.get("stream"):
            self._lines.clear()
            self._out.write(_head(message) + message["stream"])
            return
        identifier, has_bar = message.get("id", ""), message.get("progressDetail") is not None
        columns = _columns(self._out)
        text = f"{_head(message)}{message.get('status', '')}"
        if not (identifier and has_bar):
            # Something else than a layer: the lines above stay as they are from now on.
            self._lines.clear()
            self._out.write(f"{text}\n")
            return
        text = f"{text} {_progress(message['progressDetail'], columns)}"
        # A line that wraps would make the count of lines wrong.
        text = ellipsis(screen.visible(text, one_line=True), columns - 1)
        if identifier not in self._lines:
            self._lines[identifier] = len(self._lines)
            self._out.write("\n")
        up = len(self._lines) - self._lines[identifier]
        screen.control(f"\x1b[{up}A\x1b[2K\r{text}\r\x1b[{up}B", self._out)


def _columns(out: TextIO) -> int:
    try:
        return os.get_terminal_size(out.fileno()).columns or _UNKNOWN_WIDTH
    except (OSError, ValueError):
        return _UNKNOWN_WIDTH


def _progress(detail: ProgressDetailDocument | None, columns: int) -> str:
    """`[==>   ]  1.2MB/3.4MB 5s`, as much of it as fits; empty when nothing is known."""
    detail = detail or {}
    current, total, units = detail.get("current", 0), detail.get("total", 0), detail.get("units", "")
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{current} {units}" if units else f"{human_size(current):>8}"
    done = min(int(current / total * 100) // 2, _BAR)
    length = next((length for wide_enough, length in _BARS if columns > wide_enough), 0)
    part = done * length // _BAR
    bar = f"[{'=' * part}>{' ' * (length - part)}] " if length else ""
    return bar + _numbers(detail, current, total, units) + _time_left(detail, current, total, columns, done)


def _numbers(detail: ProgressDetailDocument, current: int, total: int, units: str) -> str:
    if detail.get("hidecounts"):
        return ""
    if units:
        return f"{current} {units}" if current > total else f"{current}/{total} {units}"
    return f"{human_size(current):>8}" if current > total else f"{human_size(current):>8}/{human_size(total)}"


def _time_left(detail: ProgressDetailDocument, current: int, total: int, columns: int, done: int) -> str:
    start = detail.get("start", 0)
    if columns <= _WIDE_ENOUGH_FOR_TIME or current <= 0 or start <= 0 or done >= _BAR:
        return ""
    seconds = round((time.time() - start) / current * (total - current))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f" {text}{seconds % 60}s"
