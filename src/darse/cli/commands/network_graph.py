"""`network graph`: which container is on which network, with addresses and published ports; as text or as SVG."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from darse.cli.command_line.flags import Command, string
from darse.cli.command_line.help_pages import fitted
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.output.format import natural

_FORMATS = ("text", "svg")
# Of the drawing, in pixels.
_LINE, _WIDTH, _LEFT, _RIGHT, _MARGIN, _LETTER = 18, 260, 20, 420, 20, 7.2


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
    from xml.sax.saxutils import escape

    names = sorted({one.name for network in networks for one in network.containers}, key=natural)
    left = {network.name: _MARGIN + place * 3 * _LINE for place, network in enumerate(networks)}
    right = {name: _MARGIN + place * 3 * _LINE for place, name in enumerate(names)}
    ports = {one.name: one.ports for network in networks for one in network.containers}
    widest = max((len(text) for texts in ports.values() for text in (", ".join(texts),)), default=0)
    width = int(_RIGHT + max(_WIDTH, widest * _LETTER) + _MARGIN)
    height = 2 * _MARGIN + 3 * _LINE * max(len(left), len(right), 1)
    body = []
    for network in networks:
        y = left[network.name] + _LINE
        for one in network.containers:
            end = right[one.name] + _LINE
            middle = (_LEFT + _WIDTH + _RIGHT) // 2, (y + end) // 2 - 3
            body.append(f'<line x1="{_LEFT + _WIDTH}" y1="{y}" x2="{_RIGHT}" y2="{end}" stroke="gray"/>')
            label = escape(", ".join(one.addresses))
            body.append(f'<text x="{middle[0]}" y="{middle[1]}" text-anchor="middle" font-size="10">{label}</text>')
    for network in networks:
        what = "  ".join((network.driver, *network.subnets, *(("internal",) if network.internal else ())))
        body += _box(_LEFT, left[network.name], escape(network.name), escape(what), "#dbe9f6")
    for name in names:
        body += _box(_RIGHT, right[name], escape(name), escape(", ".join(ports[name])), "#e4f2df")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="monospace" font-size="12">'
    )
    return "\n".join((head, *body, "</svg>")) + "\n"


def _box(x: int, y: int, title: str, below: str, colour: str) -> list[str]:
    return [
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{2 * _LINE}" rx="4" fill="{colour}" stroke="gray"/>',
        f'<text x="{x + 8}" y="{y + _LINE - 4}" font-weight="bold">{title}</text>',
        f'<text x="{x + 8}" y="{y + 2 * _LINE - 8}" font-size="10">{below}</text>',
    ]


GRAPH = (
    Command(
        "network graph",
        "[OPTIONS]",
        "Show which container is on which network, with addresses and published ports",
        (string("format", 'What to print ("text", "svg")', default="text"),),
    ),
    graph,
)
