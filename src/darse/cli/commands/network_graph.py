"""`network graph`: which container is on which network, with addresses and published ports; as text or as SVG."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from darse.cli.command_line.flags import Command, string
from darse.cli.command_line.help_pages import fitted
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.output.format import natural
from darse.cli.output.pairs_drawing import Box, Line, draw

_FORMATS = ("text", "svg")


class Attached(NamedTuple):
    """A container on a network."""

    name: str
    addresses: tuple[str, ...]
    ports: tuple[str, ...]


class Drawn(NamedTuple):
    """A network with what is on it."""

    name: str
    driver: str
    subnets: tuple[str, ...]
    internal: bool
    containers: tuple[Attached, ...]

    @property
    def title(self) -> str:
        """Its name and what it is."""
        words = [f"{self.name} ({self.driver})", *self.subnets, *(("internal",) if self.internal else ())]
        return "  ".join(words)


def graph(invocation: Invocation) -> int:
    """Print which container is on which network."""
    shape = invocation.options.format
    if shape not in _FORMATS:
        raise CliError(f"invalid format {shape!r}: {' or '.join(_FORMATS)}")
    networks = invocation.client.call("GET", "/networks")
    containers = invocation.client.call("GET", "/containers/json")
    drawn = arrange(networks, containers)
    sys.stdout.write("".join(f"{line}\n" for line in fitted(as_text(drawn))) if shape == "text" else as_svg(drawn))
    return 0


def arrange(networks: list[dict[str, Any]], containers: list[dict[str, Any]]) -> list[Drawn]:
    """What there is to show, from the lists of networks and of running containers."""
    found = []
    for network in sorted(networks, key=lambda one: natural(one["Name"])):
        attached = []
        for container in containers:
            endpoint = (container.get("NetworkSettings") or {}).get("Networks", {}).get(network["Name"])
            if endpoint is not None:
                attached.append(_attached(container, endpoint))
        ranges = (network.get("IPAM") or {}).get("Config") or ()
        found.append(
            Drawn(
                network["Name"],
                network["Driver"],
                tuple(one["Subnet"] for one in ranges),
                bool(network.get("Internal")),
                tuple(sorted(attached, key=lambda one: natural(one.name))),
            )
        )
    return found


def _attached(container: dict[str, Any], endpoint: dict[str, Any]) -> Attached:
    addresses = tuple(filter(None, (endpoint.get("IPAddress"), endpoint.get("GlobalIPv6Address"))))
    ports = []
    for port in container.get("Ports") or ():
        if port.get("PublicPort"):
            host = port.get("IP", "")
            at = f"[{host}]" if ":" in host else host
            ports.append(f"{at}:{port['PublicPort']}->{port['PrivatePort']}/{port['Type']}")
    return Attached(container["Names"][0].removeprefix("/"), addresses, tuple(sorted(ports, key=natural)))


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


def as_svg(networks: list[Drawn]) -> str:
    """Networks at the left, containers at the right, and a line for each endpoint."""
    ports = {one.name: one.ports for network in networks for one in network.containers}
    return draw(
        [
            Box(one.name, "  ".join((one.driver, *one.subnets, *(("internal",) if one.internal else ()))))
            for one in networks
        ],
        [Box(name, ", ".join(ports[name])) for name in sorted(ports, key=natural)],
        [Line(network.name, one.name, ", ".join(one.addresses)) for network in networks for one in network.containers],
    )


GRAPH = (
    Command(
        "network graph",
        "[OPTIONS]",
        "Show which container is on which network, with addresses and published ports",
        (string("format", 'What to print ("text", "svg")', default="text"),),
    ),
    graph,
)
