"""`completion`: the script that makes a shell complete `darse` commands."""

from __future__ import annotations

import sys

from darse.cli.command_line.completion import SCRIPTS, complete, split_line
from darse.cli.command_line.flags import Command, Flag
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError


def completion(invocation: Invocation) -> int:
    """Print the script; or, for the script, the words that may follow a command line."""
    (argument,) = invocation.arguments
    if invocation.options.words:
        sys.stdout.write("".join(f"{word}\n" for word in complete(split_line(argument), invocation.settings)))
        return 0
    if argument not in SCRIPTS:
        raise CliError(f'unknown shell "{argument}": must be one of "bash", "fish", "zsh"')
    sys.stdout.write(SCRIPTS[argument])
    return 0


COMMANDS = {
    "completion": (
        Command(
            "completion",
            "bash|zsh|fish",
            "Print a completion script for bash, zsh or fish",
            (Flag("words", "bool", "Print the words that may follow a command line", hidden=True),),
            1,
            1,
            examples="source <(darse completion bash)",
        ),
        completion,
    )
}
