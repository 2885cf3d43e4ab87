"""`diff`: what a container has changed in its files."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command
from darse.cli.command_line.invocation import Invocation
from darse.client.requests import archives

_LETTERS = "CAD"


def diff(invocation: Invocation) -> int:
    """Print a line per change: C, A or D, and the path."""
    found = invocation.client.do(archives.changes(invocation.arguments[0]))
    sys.stdout.write("".join(f"{_LETTERS[change['Kind']]} {change['Path']}\n" for change in found or ()))
    return 0


COMMANDS = {
    "container diff": (
        Command(
            "container diff",
            "CONTAINER",
            "Inspect changes to files or directories on a container's filesystem",
            (),
            minimum=1,
            maximum=1,
        ),
        diff,
    )
}
