"""How a build is shown: what the engine's status documents say, as plain lines, as a live picture, or as they are.

The forms are those of BuildKit's progressui: `#1 [1/3] FROM …` lines in a pipe, a line for each step with its seconds
on a terminal.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from datetime import datetime

from darse.cli.errors import CliError
from darse.cli.output.table import ellipsis
from darse.cli.terminal import screen
from darse.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self, TextIO

# Lines of a running step's output that the live picture shows, and those of a failed one.
_TAIL, _FAILED_TAIL = 6, 20
_INTERVAL = 0.1
_SHORTEST = 40


class BuildStep:
    """A vertex of the graph, as far as it is known."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.started = self.completed = ""
        self.cached = False
        self.error = ""
        self.lines: list[str] = []
        self.statuses: dict[str, dict[str, Any]] = {}
        self._rest = b""

    def write(self, data: bytes) -> list[str]:
        """Take output; return the lines that are complete."""
        self._rest += data
        *complete, self._rest = self._rest.split(b"\n")
        lines = [line.rsplit(b"\r", 1)[-1].decode("utf-8", "replace") for line in complete]
        self.lines = [*self.lines, *lines][-_FAILED_TAIL:]
        return lines

    def rest(self) -> list[str]:
        """What came after the last end of a line, once no more comes."""
        return self.write(b"\n") if self._rest else []

    def seconds(self) -> float:
        """How long it has taken."""
        if not self.started:
            return 0.0
        end = _time(self.completed) if self.completed else time.time()
        return max(0.0, end - _time(self.started))


def _time(text: str) -> float:
    # Nanoseconds are more than fromisoformat of every Python takes.
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


class BuildDisplay:
    """Shows nothing: `quiet`. Others say what they show."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.steps: dict[str, BuildStep] = {}
        self.warnings: list[str] = []

    def show(self, document: dict[str, Any]) -> None:
        """Take a status document."""
        for vertex in document.get("vertexes") or ():
            self.vertex(vertex)
        for status in document.get("statuses") or ():
            if (step := self.steps.get(status["vertex"])) is not None:
                self.status(step, status)
        for log in document.get("logs") or ():
            if (step := self.steps.get(log["vertex"])) is not None:
                self.log(step, log, step.write(base64.b64decode(log["data"])))
        self.warnings += [base64.b64decode(one["short"]).decode() for one in document.get("warnings") or ()]

    def vertex(self, vertex: dict[str, Any]) -> None:
        """A vertex is new, has begun, or is complete."""
        step = self.steps.get(vertex["digest"])
        if step is None:
            step = self.steps[vertex["digest"]] = BuildStep(len(self.steps) + 1, vertex.get("name", ""))
        step.started = vertex.get("started") or step.started
        step.completed = vertex.get("completed") or step.completed
        step.cached = vertex.get("cached", step.cached)
        step.error = vertex.get("error", step.error)
        self.changed(step)

    def changed(self, step: BuildStep) -> None:
        """A step has begun, or is complete."""

    def log(self, step: BuildStep, log: dict[str, Any], lines: list[str]) -> None:
        """A step has written lines."""

    def status(self, step: BuildStep, status: dict[str, Any]) -> None:
        """A part of a step, such as the pull of a layer, is further."""
        step.statuses[status["id"]] = status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Nothing more comes."""
        if self.warnings:
            several = "s" if len(self.warnings) > 1 else ""
            self.out.write(f"\n {len(self.warnings)} warning{several} found (use --check to see their rules):\n")
            self.out.writelines(f" - {warning}\n" for warning in self.warnings)
        self.out.flush()


class RawDisplay(BuildDisplay):
    """The documents themselves: `rawjson`."""

    def show(self, document: dict[str, Any]) -> None:
        """Print it."""
        if "result" not in document:
            self.out.write(json.dumps(document, separators=(",", ":")) + "\n")
            self.out.flush()

    def finish(self) -> None:
        """Everything was said."""


class PlainDisplay(BuildDisplay):
    """Lines as they come: `plain`."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._shown: dict[int, int] = {}
        self._last = 0
        self._count = 0

    def changed(self, step: BuildStep) -> None:
        """Print its name when it begins, and how it ended."""
        if not step.started:
            return
        self._switch(step)
        if step.completed and step.number in self._shown:
            for line in step.rest():
                self._line(step, line)
            ending = (
                f"ERROR: {step.error}" if step.error else "CACHED" if step.cached else f"DONE {step.seconds():.1f}s"
            )
            self._write(f"#{self._shown[step.number]} {ending}\n")
            self._last = 0

    def log(self, step: BuildStep, log: dict[str, Any], lines: list[str]) -> None:
        """Print its lines, each with the seconds since it began."""
        self._switch(step)
        offset = max(0.0, _time(log["timestamp"]) - _time(step.started)) if step.started else 0.0
        for line in lines:
            self._line(step, f"{offset:.3f} {line}")

    def status(self, step: BuildStep, status: dict[str, Any]) -> None:
        """Print a part of it that is complete."""
        if status.get("completed"):
            self._switch(step)
            size = f" {human_size(status['total'])}" if status.get("total") else ""
            self._line(step, f"{status['id']}{size} done")

    def _switch(self, step: BuildStep) -> None:
        """Say of which step the next lines are."""
        if self._last == step.number:
            return
        if step.number not in self._shown:
            self._count += 1
            self._shown[step.number] = self._count
        elif self._last == 0 and step.completed and not step.lines:
            return
        if self._last:
            self._write(f"#{self._shown[self._last]} ...\n")
        self._write(
            f"\n#{self._shown[step.number]} {step.name}\n" if self._count > 1 else f"#{self._count} {step.name}\n"
        )
        self._last = step.number

    def _line(self, step: BuildStep, text: str) -> None:
        self._write(f"#{self._shown[step.number]} {text}\n")

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()


class LiveDisplay(BuildDisplay):
    """A picture of all steps that is drawn anew: `tty`."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._began = time.monotonic()
        self._drawn = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def _tick(self) -> None:
        """Draw again and again: seconds go by while nothing comes."""
        while not self._over.wait(_INTERVAL):
            with self._lock:
                self._draw(final=False)

    def show(self, document: dict[str, Any]) -> None:
        """Take a document."""
        with self._lock:
            super().show(document)

    def finish(self) -> None:
        """Draw the last picture, which stays."""
        self._over.set()
        self._clock.join()
        self._draw(final=True)
        super().finish()

    def _draw(self, *, final: bool) -> None:
        columns, rows = _size(self.out)
        begun = [step for step in self.steps.values() if step.started]
        done = sum(bool(step.completed) for step in begun)
        is_over = final and not any(step.error for step in begun)
        head = f"[+] Building {time.monotonic() - self._began:.1f}s ({done}/{len(self.steps)})"
        lines = [head + (" FINISHED" if is_over else "")]
        body = [line for step in begun for line in _lines(step, columns, final=final)]
        lines += body if final else body[-(rows - 2) :]
        text = "".join(f"\x1b[2K{screen.visible(line, one_line=True)}\n" for line in lines)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        # What an earlier picture had below.
        screen.control(f"\x1b[?25l{up}\r{text}\x1b[J\x1b[?25h", self.out)
        self._drawn = 0 if final else len(lines)
        self.out.flush()


def _lines(step: BuildStep, columns: int, *, final: bool) -> list[str]:
    """A step's line with its seconds at the right, and what it is doing below."""
    mark = "CACHED " if step.cached else "ERROR " if step.error else ""
    lines = [_row(f" => {mark}{step.name}", f"{step.seconds():.1f}s", columns)]
    for status in step.statuses.values():
        total, current = status.get("total", 0), status.get("current", 0)
        amount = f" {human_size(current)} / {human_size(total)}" if total else ""
        is_done = bool(status.get("completed"))
        seconds = f"{_time(status['completed']) - _time(status['started']):.1f}s" if is_done else ""
        if is_done or not step.completed:
            lines.append(_row(f" => => {status['id']}{amount}", seconds, columns))
    if not step.completed and not final:
        lines += [ellipsis(f" => => # {line.expandtabs()}", columns - 1) for line in step.lines[-_TAIL:]]
    return lines


def _row(left: str, right: str, columns: int) -> str:
    room = max(columns - len(right) - 2, _SHORTEST)
    return f"{ellipsis(left, room):<{room}} {right}"


def _size(out: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        return 80, 25
    return size.columns or 80, size.lines or 25


def display_of(form: str, out: TextIO | None = None) -> BuildDisplay:
    """The display that `--progress` names. Raises CliError."""
    stream = out or sys.stderr
    form = os.environ.get("BUILDKIT_PROGRESS", form) if form in ("", "auto") else form
    if form in ("", "auto"):
        form = "tty" if stream.isatty() else "plain"
    displays = {"tty": LiveDisplay, "plain": PlainDisplay, "rawjson": RawDisplay, "quiet": BuildDisplay}
    if form == "none":
        form = "quiet"
    if form not in displays:
        raise CliError(f"invalid progress mode {form}")
    return displays[form](stream)


def follow(documents: Iterable[dict[str, Any]], display: BuildDisplay) -> dict[str, Any]:
    """Show documents until the last; return what it says. Raises CliError when the build failed."""
    failed: dict[str, Any] | None = None
    result: dict[str, Any] = {}
    with display:
        for document in documents:
            if "error" in document or "errorDetail" in document:
                failed = document
                break
            result = document.get("result") or result
            display.show(document)
    if failed is not None:
        _fail(failed, display)
    return result


def _fail(failed: dict[str, Any], display: BuildDisplay) -> None:
    """Say what the failed step wrote last, and which lines of the Dockerfile it is."""
    step = display.steps.get(failed.get("vertex", ""))
    if step is not None:
        display.out.write(f"------\n > {step.name}:\n")
        display.out.writelines(f"{line}\n" for line in step.lines)
        display.out.write("------\n")
    if failed.get("source"):
        display.out.write(failed["source"])
    display.out.flush()
    raise CliError(f"ERROR: failed to build: failed to solve: {failed.get('error')}")
