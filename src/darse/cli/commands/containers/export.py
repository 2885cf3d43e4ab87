"""`export`: a container's files as a tar archive."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, string
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.output.files import write_whole
from darse.client.requests import archives


def export(invocation: Invocation) -> int:
    """Write the archive to a file or to standard output."""
    path = invocation.options.output
    if not path and sys.stdout.isatty():
        raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    response = invocation.client.open(archives.export(invocation.arguments[0]))
    if path:
        write_whole(path, response.pieces(), "failed to export container")
        return 0
    for piece in response.pieces():
        sys.stdout.buffer.write(piece)
    return 0


COMMANDS = {
    "container export": (
        Command(
            "container export",
            "[OPTIONS] CONTAINER",
            "Export a container's filesystem as a tar archive",
            (string("output", "Write to a file, instead of STDOUT", "o"),),
            1,
            1,
        ),
        export,
    ),
}
