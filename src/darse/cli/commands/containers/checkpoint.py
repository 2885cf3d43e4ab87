"""`checkpoint create`, `checkpoint ls` and `checkpoint rm`."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.client.requests import checkpoints

_DIRECTORY = string("checkpoint-dir", "Use a custom checkpoint storage directory")


def create(invocation: Invocation) -> int:
    """Checkpoint a running container and print the checkpoint's name."""
    container, name = invocation.arguments
    options = invocation.options
    invocation.client.do(
        checkpoints.create(container, name, directory=options.checkpoint_dir, leave_running=options.leave_running)
    )
    sys.stdout.write(f"{name}\n")
    return 0


def ls(invocation: Invocation) -> int:
    """Print the names of a container's checkpoints."""
    directory = invocation.options.checkpoint_dir
    found = invocation.client.do(checkpoints.list_checkpoints(invocation.arguments[0], directory=directory))
    sys.stdout.write("CHECKPOINT NAME\n")
    for checkpoint in found:
        sys.stdout.write(f"{checkpoint['Name']}\n")
    return 0


def rm(invocation: Invocation) -> int:
    """Remove a checkpoint."""
    container, name = invocation.arguments
    directory = invocation.options.checkpoint_dir
    invocation.client.do(checkpoints.remove(container, name, directory=directory))
    return 0


COMMANDS = {
    "checkpoint create": (
        Command(
            "checkpoint create",
            "[OPTIONS] CONTAINER CHECKPOINT",
            "Create a checkpoint from a running container",
            (_DIRECTORY, switch("leave-running", "Leave the container running after checkpoint")),
            minimum=2,
            maximum=2,
        ),
        create,
    ),
    "checkpoint ls": (
        Command(
            "checkpoint ls",
            "[OPTIONS] CONTAINER",
            "List checkpoints for a container",
            (_DIRECTORY,),
            minimum=1,
            maximum=1,
        ),
        ls,
    ),
    "checkpoint rm": (
        Command(
            "checkpoint rm",
            "[OPTIONS] CONTAINER CHECKPOINT",
            "Remove a checkpoint",
            (_DIRECTORY,),
            minimum=2,
            maximum=2,
        ),
        rm,
    ),
}
