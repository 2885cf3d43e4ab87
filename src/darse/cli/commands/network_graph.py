"""`network graph`: which container is on which network, with addresses and published ports; as text or as SVG."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, string
from darse.cli.command_line.help_pages import fitted
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.client.requests import containers, networks
from darse.drawings.networks import Drawn, arrange, as_svg

_FORMATS = ("text", "svg")


def graph(invocation: Invocation) -> int:
    """Print which container is on which network."""
    shape = invocation.options.format
    if shape not in _FORMATS:
        raise CliError(f"invalid format {shape!r}: {' or '.join(_FORMATS)}")
    drawn = arrange(invocation.client.do(networks.list_networks()), invocation.client.do(containers.list_containers()))
    sys.stdout.write("".join(f"{line}\n" for line in fitted(as_text(drawn))) if shape == "text" else as_svg(drawn))
    return 0


def as_text(networks: list[Drawn]) -> list[str]:
    """A tree for each network."""
    lines = []
    for network in networks:
        lines.append(network.title)
        width = max((len(one.name) for one in network.containers), default=0)
        for place, one in enumerate(network.containers, 1):
            branch = "└── " if place == len(network.containers) else "├── "
            words = [one.name.ljust(width), ", ".join(one.addresses), ", ".join(one.ports)]
            lines.append(branch + "  ".join(filter(None, words)).rstrip())
    return lines


GRAPH = (
    Command(
        "network graph",
        "[OPTIONS]",
        "Show which container is on which network, with addresses and published ports",
        (string("format", 'What to print ("text", "svg")', default="text"),),
    ),
    graph,
)
