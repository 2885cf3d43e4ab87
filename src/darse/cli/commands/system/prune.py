"""`system prune`: all that is not used."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, listing, switch
from darse.cli.command_line.invocation import Invocation, confirm
from darse.cli.commands import pruning
from darse.cli.commands.pruning import filters_of
from darse.cli.errors import CliError
from darse.natural_order import natural
from darse.units import human_size


def prune(invocation: Invocation) -> int:
    """Remove stopped containers, unused networks, images, build cache, and with `--volumes` anonymous volumes."""
    options = invocation.options
    filters = filters_of(invocation)
    if options.volumes and "until" in filters:
        raise CliError('ERROR: The "until" filter is not supported with "--volumes"')
    if not options.force and not confirm(_question(options.all, options.volumes, filters)):
        return 0
    volumes = [pruning.VOLUMES] if options.volumes else []
    kinds = [pruning.CONTAINERS, pruning.NETWORKS, *volumes, pruning.IMAGES, pruning.CACHES]
    total = 0
    for kind in kinds:
        given = dict(filters)
        if kind is pruning.IMAGES:
            given["dangling"] = ["false" if options.all else "true"]
        freed, text = pruning.prune(invocation.client, kind, given)
        total += freed
        if text:
            sys.stdout.write(text + "\n")
    sys.stdout.write(f"Total reclaimed space: {human_size(total)}\n")
    return 0


def _question(wants_all: bool, volumes: bool, filters: dict[str, list[str]]) -> str:
    lines = ["WARNING! This will remove:", "  - all stopped containers"]
    lines.append("  - all networks not used by at least one container")
    if volumes:
        lines.append("  - all anonymous volumes not used by at least one container")
    if wants_all:
        lines.append("  - all images without at least one container associated to them")
    else:
        lines.append("  - all dangling images")
    lines.append("  - unused build cache")
    lines.append("")
    shown = [f"{name}={value}" for name in ("label", "label!", "until") for value in filters.get(name, ())]
    if shown:
        lines.append("  Items to be pruned will be filtered with:")
        lines += [f"  - {one}" for one in sorted(shown, key=natural)]
        lines.append("")
    return "\n".join([*lines, "Are you sure you want to continue?"])


COMMANDS = {
    "system prune": (
        Command(
            "system prune",
            "[OPTIONS]",
            "Remove unused data",
            (
                switch("all", "Remove all unused images not just dangling ones", "a"),
                listing("filter", 'Provide filter values (e.g. "label=<key>=<value>")', value="filter"),
                switch("force", "Do not prompt for confirmation", "f"),
                switch("volumes", "Prune anonymous volumes"),
            ),
        ),
        prune,
    )
}
