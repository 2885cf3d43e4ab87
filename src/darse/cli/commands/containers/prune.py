"""`container prune`: the containers that do not run are removed."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, listing, switch
from darse.cli.command_line.invocation import Invocation, confirm
from darse.cli.commands.pruning import filters_of
from darse.client.requests import containers
from darse.units import human_size

_WARNING = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"


def prune(invocation: Invocation) -> int:
    """Remove stopped containers."""
    options = invocation.options
    if not options.force and not confirm(_WARNING):
        return 0
    result = invocation.client.do(containers.prune(filters=filters_of(invocation) or None))
    deleted = result.get("ContainersDeleted") or []
    if deleted:
        sys.stdout.write("Deleted Containers:\n" + "".join(f"{one}\n" for one in deleted) + "\n")
    sys.stdout.write(f"Total reclaimed space: {human_size(result['SpaceReclaimed'])}\n")
    return 0


COMMANDS = {
    "container prune": (
        Command(
            "container prune",
            "[OPTIONS]",
            "Remove all stopped containers",
            (
                listing("filter", 'Provide filter values (e.g. "until=<timestamp>")', value="filter"),
                switch("force", "Do not prompt for confirmation", "f"),
            ),
        ),
        prune,
    )
}
