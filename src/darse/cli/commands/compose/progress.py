"""How the progress of compose commands is shown: live lines with timers on a terminal, docker compose's plain ones
elsewhere; all on standard error, so that standard output has nothing but results.
"""

from __future__ import annotations

import os
import sys
import time

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.flags import requested_progress
from darse.cli.errors import CliError
from darse.cli.output.table import ellipsis
from darse.cli.terminal import screen
from darse.compose.operations.progress import DONE, FAILED, WARNING, WORKING, ResourceProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_ANSI = ("auto", "always", "never")

_INTERVAL = 0.1
_SIGNS = {WORKING: "⠿", DONE: "✔", WARNING: "!", FAILED: "✘"}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_COLOURS = {WORKING: "36", DONE: "32", WARNING: "33", FAILED: "31"}


class PlainProgress:
    """A line for each change."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self._prefix = " DRY-RUN MODE -  " if dry_run else " "
        self._last: dict[str, str] = {}

    def show(self, progress: ResourceProgress) -> None:
        """Print a change, unless it has been printed before."""
        if self._last.get(progress.resource) != progress.text:
            self._last[progress.resource] = progress.text
            # A resource has its kind before it, a service that is pulled has not.
            space = "  " if " " in progress.resource else " "
            sys.stderr.write(f"{self._prefix}{progress.resource}{space}{progress.text}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Nothing is left to be shown."""


class QuietProgress:
    """Nothing at all."""

    def show(self, progress: ResourceProgress) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing is left to be shown."""


class JsonProgress(QuietProgress):
    """A JSON document for each change."""

    def show(self, progress: ResourceProgress) -> None:
        """Print a change."""
        import json

        document: dict[str, object] = {"id": progress.resource, "status": progress.text}
        if progress.detail:
            document["details"] = progress.detail
        if progress.state == FAILED:
            document["error"] = True
        sys.stderr.write(f"{json.dumps(document)}\n")
        sys.stderr.flush()


class _Entry:
    """A resource on the screen."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.ended = 0.0
        self.text = ""
        self.state = WORKING


class LiveProgress:
    """A line for each resource, with the time since its begin; drawn anew when something changes, and ten times a
    second while something goes on.
    """

    def __init__(self, *, dry_run: bool = False, colours: bool = True) -> None:
        self._entries: dict[str, _Entry] = {}
        self._dry_run = dry_run
        self._colours = colours
        self._lines = 0
        self._timer: asyncio.TimerHandle | None = None

    def show(self, progress: ResourceProgress) -> None:
        """Take note of a change."""
        entry = self._entries.setdefault(progress.resource, _Entry())
        if entry.state != WORKING and progress.state == WORKING:
            entry.begun = time.monotonic()
        entry.text, entry.state = f"{progress.text} {progress.detail}".rstrip(), progress.state
        entry.ended = 0.0 if progress.state == WORKING else time.monotonic()
        if self._timer is None:
            self._timer = _later(0, self._tick)

    def _tick(self) -> None:
        self._draw()
        goes_on = any(one.state == WORKING for one in self._entries.values())
        self._timer = _later(_INTERVAL, self._tick) if goes_on else None

    def close(self) -> None:
        """Draw the last state; what is printed next comes below."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entries:
            self._draw()
        self._entries.clear()
        self._lines = 0

    def _draw(self) -> None:
        columns, rows = _size()
        done = sum(one.state == DONE for one in self._entries.values())
        head = f"[+] {'dry run ' if self._dry_run else ''}Running {done}/{len(self._entries)}"
        room = max(rows - 2, 1)
        shown = list(self._entries.items())
        if len(shown) > room:
            # What goes on is of more interest than what is done.
            shown = sorted(shown, key=lambda item: item[1].state == DONE)[:room]
        width = max((len(name) for name, _ in shown), default=0)
        lines = [head, *(self._line(name, entry, width, columns) for name, entry in shown)]
        up = f"\x1b[{self._lines}A" if self._lines else ""
        text = "".join(f"\x1b[2K{line}\n" for line in lines)
        screen.control(f"{up}\r{text}\x1b[J", sys.stderr)
        sys.stderr.flush()
        self._lines = len(lines)

    def _line(self, name: str, entry: _Entry, width: int, columns: int) -> str:
        seconds = (entry.ended or time.monotonic()) - entry.begun
        sign = _SIGNS[entry.state]
        if entry.state == WORKING:
            sign = _SPINNER[int(time.monotonic() / _INTERVAL) % len(_SPINNER)]
        timer = f"{seconds:6.1f}s"
        room = columns - len(timer) - 5
        text = ellipsis(screen.visible(f"{name:<{width}}  {entry.text}", one_line=True), room)
        if self._colours:
            sign = f"\x1b[{_COLOURS[entry.state]}m{sign}\x1b[0m"
        return f" {sign} {text:<{max(room, 0)}}{timer}"


def _size() -> tuple[int, int]:
    try:
        found = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        return 80, 24
    return found.columns or 80, found.lines or 24


def _later(seconds: float, function: Callable[[], None]) -> asyncio.TimerHandle | None:
    """Call a function later; where nothing is waited for, asyncio is not there, and what is shown at the end is all."""
    module = sys.modules.get("asyncio")
    return module.get_running_loop().call_later(seconds, function) if module is not None else None


def is_dry_run(invocation: Invocation) -> bool:
    """Whether nothing is to be changed."""
    group = invocation.group_options
    return bool(getattr(invocation.options, "dry_run", False) or (group is not None and group.dry_run))


def _ansi(invocation: Invocation) -> str:
    """What was said about control characters: never, always or auto. Raises CliError."""
    group = invocation.group_options
    given = ("never" if group.no_ansi else group.ansi) if group is not None else ""
    ansi = given or os.environ.get("COMPOSE_ANSI", "") or "auto"
    if ansi not in _ANSI:
        raise CliError(f'unsupported --ansi value "{ansi}"')
    return str(ansi)


def uses_colours(invocation: Invocation, descriptor: int) -> bool:
    """Whether what goes to a descriptor may have colours."""
    ansi = _ansi(invocation)
    if ansi != "auto":
        return ansi == "always"
    return os.isatty(descriptor) and not os.environ.get("NO_COLOR")


def chosen_progress(invocation: Invocation) -> PlainProgress | QuietProgress | LiveProgress:
    """The form of progress that was asked for, or that standard error can show. Raises CliError."""
    group = invocation.group_options
    form = requested_progress(group)
    dry_run = is_dry_run(invocation)
    if form == "quiet":
        return QuietProgress()
    if form == "json":
        return JsonProgress()
    colours = uses_colours(invocation, 2)
    is_terminal = os.isatty(sys.stderr.fileno()) and _ansi(invocation) != "never"
    if form == "tty" or (form == "auto" and is_terminal):
        return LiveProgress(dry_run=dry_run, colours=colours)
    return PlainProgress(dry_run=dry_run)
