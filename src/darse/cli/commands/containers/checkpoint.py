"""`checkpoint create`, `checkpoint ls` and `checkpoint rm`."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.client.http import quote

_DIRECTORY = string("checkpoint-dir", "Use a custom checkpoint storage directory")


def create(invocation: Invocation) -> int:
    """Checkpoint a running container and print the checkpoint's name."""
    container, name = invocation.arguments
    options = invocation.options
    body = {"CheckpointID": name, "CheckpointDir": options.checkpoint_dir, "Exit": not options.leave_running}
    invocation.client.call("POST", f"/containers/{quote(container)}/checkpoints", body=body)
    sys.stdout.write(f"{name}\n")
    return 0


def ls(invocation: Invocation) -> int:
    """Print the names of a container's checkpoints."""
    path = f"/containers/{quote(invocation.arguments[0])}/checkpoints"
    found = invocation.client.call("GET", path, query=_place(invocation))
    sys.stdout.write("CHECKPOINT NAME\n")
    for checkpoint in found:
        sys.stdout.write(f"{checkpoint['Name']}\n")
    return 0


def rm(invocation: Invocation) -> int:
    """Remove a checkpoint."""
    container, name = invocation.arguments
    path = f"/containers/{quote(container)}/checkpoints/{quote(name)}"
    invocation.client.call("DELETE", path, query=_place(invocation))
    return 0


def _place(invocation: Invocation) -> dict[str, str]:
    directory = invocation.options.checkpoint_dir
    return {"dir": directory} if directory else {}


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
