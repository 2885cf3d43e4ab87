"""Commands about volumes; those that look into one are in `volume_data`."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, Flag, listing, parse_filters, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.command_line.key_values import key_values
from darse.cli.commands import pruning, volume_data
from darse.cli.commands.volume_graph import GRAPH
from darse.cli.errors import CliError
from darse.cli.output.format import FORMAT_HELP, write
from darse.cli.output.volume_rows import HEADINGS, VolumeRow
from darse.client.requests import volumes
from darse.natural_order import natural

_TABLE = "table {{.Driver}}\t{{.Name}}"


def create(invocation: Invocation) -> int:
    """Create a volume and print its name."""
    options = invocation.options
    name = invocation.arguments[0] if invocation.arguments else ""
    if name and options.name:
        raise CliError("conflicting options: cannot specify a volume-name through both --name and as a positional arg")
    volume = invocation.client.do(
        volumes.create(
            {
                "Name": name or options.name,
                "Driver": options.driver,
                "DriverOpts": key_values(options.opt),
                "Labels": key_values(options.label),
            }
        )
    )
    sys.stdout.write(f"{volume['Name']}\n")
    return 0


def list_volumes(invocation: Invocation) -> int:
    """Print the volumes."""
    options = invocation.options
    answer = invocation.client.do(volumes.list_volumes(filters=parse_filters(options.filter)))
    source = options.format
    if not source and not options.quiet:
        source = invocation.settings.member("volumesFormat", str)
    if source in ("", "table"):
        source = "{{.Name}}" if options.quiet else _TABLE
    elif source == "raw":
        source = "name: {{.Name}}" if options.quiet else "name: {{.Name}}\ndriver: {{.Driver}}\n"
    found = sorted(answer["Volumes"] or [], key=lambda volume: natural(volume["Name"]))
    write(source, (VolumeRow(volume) for volume in found), HEADINGS, may_fit=source == _TABLE)
    for warning in answer.get("Warnings") or ():
        sys.stderr.write(f"WARNING: {warning}\n")
    return 0


def remove(invocation: Invocation) -> int:
    """Remove volumes."""
    options = invocation.options
    return invocation.for_each(lambda name: invocation.client.do(volumes.remove(name, force=options.force)))


def _all(invocation: Invocation, filters: dict[str, list[str]]) -> None:
    if invocation.options.all:
        if "all" in filters:
            raise CliError("conflicting options: cannot specify both --all and --filter all=1")
        filters["all"] = ["true"]


COMMANDS = {
    "volume create": (
        Command(
            "volume create",
            "[OPTIONS] [VOLUME]",
            "Create a volume",
            (
                string("driver", "Specify volume driver name", "d", default="local"),
                listing("label", "Set metadata for a volume"),
                Flag("name", "string", "Specify volume name", value="string", hidden=True),
                listing("opt", "Set driver specific options", "o", "map"),
            ),
            0,
            1,
        ),
        create,
    ),
    "volume ls": (
        Command(
            "volume ls",
            "[OPTIONS]",
            "List volumes",
            (
                listing("filter", 'Provide filter values (e.g. "dangling=true")', "f", "filter"),
                string("format", FORMAT_HELP),
                switch("quiet", "Only display volume names", "q"),
            ),
        ),
        list_volumes,
    ),
    "volume rm": (
        Command(
            "volume rm",
            "[OPTIONS] VOLUME [VOLUME...]",
            "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
            (switch("force", "Force the removal of one or more volumes", "f"),),
            1,
            None,
        ),
        remove,
    ),
    "volume prune": (
        Command(
            "volume prune",
            "[OPTIONS]",
            "Remove unused local volumes",
            (
                switch("all", "Remove all unused volumes, not just anonymous ones", "a"),
                listing("filter", 'Provide filter values (e.g. "label=<label>")', value="filter"),
                switch("force", "Do not prompt for confirmation", "f"),
            ),
        ),
        pruning.command(pruning.VOLUMES, _all),
    ),
    "volume graph": GRAPH,
    **volume_data.COMMANDS,
}
