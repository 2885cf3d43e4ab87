"""`top`: the processes of a container."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, terminal_width
from darse.cli.command_line.invocation import Invocation
from darse.cli.output import table
from darse.client.requests import containers


def top(invocation: Invocation) -> int:
    """Print the engine's table."""
    name, *arguments = invocation.arguments
    found = invocation.client.do(containers.top(name, ps_args=" ".join(arguments)))
    text = "".join("\t".join(line) + "\n" for line in (found["Titles"], *(found["Processes"] or ())))
    # docker's columns are 20 wide, which is more than a terminal; what fits stays as scripts know it.
    shown = table.align(text, minimum=20)
    if sys.stdout.isatty() and max(map(table.width, shown.splitlines())) > (columns := terminal_width()):
        # What is still too long is cut, as by ps(1) on a terminal.
        shown = "".join(
            f"{table.ellipsis(line, columns)}\n" for line in table.align(text, minimum=0, padding=1).splitlines()
        )
    sys.stdout.write(shown)
    return 0


COMMANDS = {
    "container top": (
        Command(
            "container top",
            "CONTAINER [ps OPTIONS]",
            "Display the running processes of a container",
            (),
            minimum=1,
            maximum=None,
            interspersed=False,
        ),
        top,
    )
}
