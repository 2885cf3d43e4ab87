"""`system import-docker`: images, networks, volumes and containers of a dockerd that does not run are the engine's.

The engine does it: the data root is one on its host.
"""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, string, switch, terminal_width
from darse.cli.command_line.help_pages import fitted
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import ApiError, CliError
from darse.cli.output.table import ellipsis
from darse.cli.terminal import screen
from darse.client.requests import containers, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.system import ImportMessageDocument

_KINDS = ("image", "network", "volume", "container")
_MARKS = {"imported": "imported", "present": "there", "left": "left", "failed": "FAILED"}


def import_docker(invocation: Invocation) -> int:
    """Print a line for each object; the status is 1 when something could not be imported."""
    options = invocation.options
    response = invocation.client.open(system.import_docker(options.data_root, dry_run=options.dry_run))
    shown = _Shown(dry_run=options.dry_run)
    last: ImportMessageDocument = {}
    for message in response.messages():
        last = message
        if message.get("outcome"):
            shown.outcome(message)
        else:
            shown.progress(message)
    response.close()
    shown.clear()
    if last.get("doing") != "done":
        raise CliError("the engine broke the import off: look at its log, and run it again")
    counts: dict[str, int] = last.get("counts", {})
    _print(_summary(counts, dry_run=options.dry_run))
    failed = sum(number for name, number in counts.items() if name.endswith(" failed"))
    starts = last.get("starts", [])
    if options.start and not options.dry_run:
        failed += _start(invocation, starts)
    elif starts:
        names = " ".join(one[:12] for one in starts)
        _print(f"docker would have started with itself: {names}")
    return 1 if failed else 0


def _print(*lines: str) -> None:
    """Print lines, folded where the terminal is narrower."""
    screen.control("".join(f"{line}\n" for line in fitted([*lines])))


def _start(invocation: Invocation, ended: list[str]) -> int:
    """Start containers; return how many do not."""
    failed = 0
    for container in ended:
        try:
            invocation.client.do(containers.start(container))
            screen.control(f"started   container {container[:12]}\n")
        except ApiError as error:
            failed += 1
            sys.stderr.write(f"container {container[:12]} does not start: {error.reason}\n")
    return failed


def _summary(counts: dict[str, int], *, dry_run: bool) -> str:
    def number(outcome: str) -> int:
        return sum(count for name, count in counts.items() if name.endswith(f" {outcome}"))

    parts = []
    for kind in _KINDS:
        count = counts.get(f"{kind} imported", 0)
        parts.append(f"{count} {kind}{'s' * (count != 1)}")
    summary = f"{', '.join(parts)} {'would be ' if dry_run else ''}imported"
    for outcome, words in (("present", "there already"), ("left", "left"), ("failed", "failed")):
        if count := number(outcome):
            summary += f"; {count} {words}"
    return summary


class _Shown:
    """What became of objects, as lines; on a terminal, below them how far it is."""

    def __init__(self, *, dry_run: bool) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._dry_run = dry_run

    def outcome(self, message: ImportMessageDocument) -> None:
        """Print one line."""
        self.clear()
        outcome = message["outcome"]
        mark = "would be" if self._dry_run and outcome == "imported" else _MARKS.get(outcome, outcome)
        # Ids of images begin with an algorithm.
        id_ = message.get("id", "").rpartition(":")[2][:12]
        name = screen.visible(message.get("name") or id_)
        line = f"{mark:<8}  {screen.visible(message['kind'])} {name}"
        if message.get("reason"):
            line += f": {screen.visible(message['reason'])}"
        advice = [f"{'':<8}  -> {screen.visible(message['advice'])}"] if message.get("advice") else []
        _print(line, *advice)
        sys.stdout.flush()  # into a pipe, too: an import takes minutes

    def progress(self, message: ImportMessageDocument) -> None:
        """Say how far it is."""
        if self._is_terminal and message.get("total"):
            doing = f"{screen.visible(message['doing'])} {message.get('done', 0)}/{message['total']}"
            screen.control(f"\r\x1b[2K{ellipsis(doing, terminal_width() - 1)}")

    def clear(self) -> None:
        """Take the progress away."""
        if self._is_terminal:
            screen.control("\r\x1b[2K")


COMMANDS = {
    "system import-docker": (
        Command(
            "system import-docker",
            "[OPTIONS]",
            "Take over images, networks, volumes and containers of a dockerd that does not run",
            (
                string("data-root", "The other engine's", default="/var/lib/docker"),
                switch("dry-run", "Say what would be imported, and change nothing"),
                switch("start", "Start the containers that docker would have started with itself"),
            ),
            0,
            0,
            examples="sudo systemctl stop docker.socket docker.service\n"
            "darse system import-docker --dry-run\ndarse system import-docker --start",
        ),
        import_docker,
    ),
}
