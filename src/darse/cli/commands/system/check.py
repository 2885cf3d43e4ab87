"""`system check`: what is damaged, missing or left over in the engine's records and data, and what to do about it.

With --repair the engine repairs what it can; what has to come from a registry again is pulled from here, where the
credentials are. With --rebuild no engine is asked: `darsed --rebuild` makes the database again, while none runs.
"""

from __future__ import annotations

import os
import sys

from darse.cli.command_line.flags import Command, Options, string, switch, terminal_width
from darse.cli.command_line.help_pages import fitted
from darse.cli.command_line.invocation import Invocation
from darse.cli.engine import pull
from darse.cli.errors import CliError
from darse.cli.output.table import ellipsis
from darse.cli.terminal import screen
from darse.client.requests import system
from darse.image_spec.references import split
from darse.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.system import CheckMessageDocument

_MARKS = {"problem": "PROBLEM", "note": "note"}
_COLOURS = {"PROBLEM": "31", "note": "33", "repaired": "32"}


def check(invocation: Invocation) -> int:
    """Print a line for each finding; the status is 1 when problems remain."""
    options = invocation.options
    if options.format not in ("", "json"):
        raise CliError("the format of a check is json, or none")
    if options.rebuild + options.repair + options.remove_orphans > 1:
        raise CliError("--rebuild, --repair and --remove-orphans go one at a time")
    if options.rebuild:
        return _rebuild(options)
    if options.remove_orphans:
        response = invocation.client.open(system.remove_orphans())
    else:
        response = invocation.client.open(system.check(repair=options.repair))
    shown = _Shown()
    findings: list[CheckMessageDocument] = []
    last: CheckMessageDocument = {}
    for message in response.messages():
        last = message
        if message.get("finding"):
            findings.append(message)
        if options.format == "json":
            if message.get("finding"):
                from darse.cli.output.inspect import compact

                sys.stdout.write(compact(message) + "\n")
        elif message.get("finding"):
            shown.finding(message)
        else:
            shown.progress(message)
    response.close()
    shown.clear()
    if last.get("doing") != "done":
        raise CliError("the engine broke the check off: look at its log")
    remaining = last.get("problems", 0)
    references = dict.fromkeys(str(one["pull"]) for one in findings if one.get("pull"))
    if options.repair and references:
        remaining = _pull(invocation, list(references))
    if options.format != "json":
        if "images" in last or "layers" in last:
            screen.control(f"{_looked_at(last)}: ")
        screen.control(f"{len(findings)} finding{'s' * (len(findings) != 1)}, {remaining} problem")
        screen.control(f"{'s' * (remaining != 1)} left\n")
    return 1 if remaining else 0


def _looked_at(last: CheckMessageDocument) -> str:
    images, layers, documents = last.get("images", 0), last.get("layers", 0), last.get("documents", 0)
    counts = [(images, "image"), (layers, "layer"), (documents, "document")]
    summary = ", ".join(f"{count} {kind}{'s' * (count != 1)}" for count, kind in counts)
    return f"{summary}, {human_size(last.get('bytes', 0))} looked at"


def _rebuild(options: Options) -> int:
    """Have the database built again; the status is 1 when an engine runs, or something could not be taken back."""
    import subprocess

    given = {"data-root": options.data_root, "exec-root": options.exec_root, "config-file": options.config_file}
    flags = [f"--{name}={value}" for name, value in given.items() if value]
    return subprocess.run([sys.executable, "-m", "darse.daemon", "--rebuild", *flags], check=False).returncode


def _pull(invocation: Invocation, references: list[str]) -> int:
    """Pull what is to come from registries again, look once more, and return how many problems are left."""
    for reference in references:
        pull.pull(invocation.client, invocation.settings, split(reference), stream=sys.stderr)
    response = invocation.client.open(system.check())
    last: CheckMessageDocument = {}
    for message in response.messages():
        last = message
    response.close()
    return last.get("problems", 0)


class _Shown:
    """Findings as lines; on a terminal, below them what is looked at."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._has_colours = self._is_terminal and "NO_COLOR" not in os.environ

    def finding(self, message: CheckMessageDocument) -> None:
        """Print one finding."""
        self.clear()
        mark = "repaired" if message.get("repaired") else _MARKS.get(message["level"], message["level"])
        line = f"{mark:<8}  {screen.visible(message['subject'])}: {screen.visible(message['finding'])}"
        advice = [f"{'':<8}  -> {screen.visible(message['advice'])}"] if message.get("advice") else []
        text = "".join(f"{line}\n" for line in fitted([line, *advice]))
        if self._has_colours:
            text = f"\x1b[{_COLOURS.get(mark, '0')}m{text[:8]}\x1b[0m{text[8:]}"
        screen.control(text)

    def progress(self, message: CheckMessageDocument) -> None:
        """Say how far it is."""
        if self._is_terminal and message.get("doing"):
            total = f" {message.get('done', 0)}/{message['total']}" if message.get("total") else ""
            doing = ellipsis(f"{screen.visible(message['doing'])}{total}", terminal_width() - 1)
            screen.control(f"\r\x1b[2K{doing}")

    def clear(self) -> None:
        """Take the line of progress away."""
        if self._is_terminal:
            screen.control("\r\x1b[2K")


COMMANDS = {
    "system check": (
        Command(
            "system check",
            "[OPTIONS]",
            "Check that the engine's records, images and layers are whole",
            (
                switch("repair", "Repair what can be, and pull again what is lost"),
                switch("rebuild", "Build the database again from its backup and the data, while no engine runs"),
                switch("remove-orphans", "Remove for good what was moved aside because no record names it"),
                string("data-root", "With --rebuild: the engine's, where it is not that of its configuration"),
                string("exec-root", "With --rebuild: the engine's, where it is not that of its configuration"),
                string("config-file", "With --rebuild: the engine's configuration file"),
                string("format", "'json' (a line for each finding), or none", "f"),
            ),
        ),
        check,
    )
}
