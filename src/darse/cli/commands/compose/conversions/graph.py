"""`darse compose graph`: services, what they depend on, their networks, volumes and ports; as text or as SVG."""

from __future__ import annotations

import sys
from typing import NamedTuple

from darse.cli.command_line.flags import Command, string
from darse.cli.command_line.help_pages import fitted
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.projects import load
from darse.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from darse.compose.model.project import Project
    from darse.compose.model.service import Service

_FORMATS = ("text", "svg")
# Of the drawing, in pixels.
_WIDTH, _HEIGHT, _GAP, _ROW, _LETTER = 230, 74, 40, 130, 6.6
_COLOURS = {"service": "#dbe9f6", "network": "#e3efe3", "volume": "#f6e9d2"}


class GraphNode(NamedTuple):
    """A box: its kind, its name, and lines about it; `needs`: the services that it depends on, with the conditions."""

    kind: str
    name: str
    lines: tuple[str, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


def graph(invocation: Invocation) -> int:
    """Print the graph of a project."""
    form = invocation.options.format
    if form not in _FORMATS:
        raise CliError(f"invalid format {form!r}: {' or '.join(_FORMATS)}")
    nodes = arrange(load(invocation, invocation.arguments))
    sys.stdout.write("".join(f"{line}\n" for line in fitted(list(as_text(nodes)))) if form == "text" else as_svg(nodes))
    return 0


def arrange(project: Project) -> list[GraphNode]:
    """The boxes of a project: services, those that others depend on last; then networks and volumes."""
    from darse.compose.desired.names import image_name
    from darse.compose.plan.order import dependencies, ordered

    found = []
    for name in reversed(ordered(dependencies(project, ()))):
        service = project.services[name]
        built = f"built from {service.build.context}" if service.build is not None else ""
        found.append(
            GraphNode(
                "service",
                name,
                tuple(one for one in (image_name(project, name), built, *_ports(service)) if one),
                tuple((other, one.condition.removeprefix("service_")) for other, one in service.depends_on.items()),
                tuple(sorted(service.networks)) or ((service.network_mode,) if service.network_mode else ()),
                tuple(_mounts(service)),
            )
        )
    for key, network in sorted(project.networks.items()):
        words = (network.driver, "external" if network.external else "", "internal" if network.internal else "")
        found.append(GraphNode("network", key, tuple(one for one in (network.name, *words) if one)))
    for key, volume in sorted(project.volumes.items()):
        words = (volume.name, volume.driver, "external" if volume.external else "")
        found.append(GraphNode("volume", key, tuple(one for one in words if one)))
    return found


def _ports(service: Service) -> Iterator[str]:
    for port in service.ports:
        address = f"{port.host_ip}:" if port.host_ip else ""
        yield f"{address}{port.published or '*'} → {port.target}/{port.protocol or 'tcp'}"


def _mounts(service: Service) -> Iterator[str]:
    for one in service.volumes:
        yield f"{one.source or one.type} → {one.target}{' (read-only)' if one.read_only else ''}"


def as_text(nodes: list[GraphNode]) -> Iterator[str]:
    """A box after the other, with what it is connected to."""
    for one in nodes:
        yield f"{one.kind} {one.name}: {', '.join(one.lines)}" if one.lines else f"{one.kind} {one.name}"
        for other, condition in one.needs:
            yield f"    needs {other} ({condition})" if condition else f"    needs {other}"
        for text in one.networks:
            yield f"    on network {text}"
        for text in one.volumes:
            yield f"    volume {text}"


def as_svg(nodes: list[GraphNode]) -> str:
    """Services in rows, each below those that depend on it; below, networks and volumes with lines to users."""
    from html import escape

    places = _places(nodes)
    width = max((x for x, _ in places.values()), default=0) + _WIDTH + _GAP
    height = max((y for _, y in places.values()), default=0) + _HEIGHT + _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
    ]
    for one in nodes:
        for other, condition in one.needs:
            parts.append(_line(places, ("service", one.name), ("service", other), condition, is_needed=True))
        parts += [_line(places, ("service", one.name), ("network", key), "") for key in one.networks]
        for text in one.volumes:
            source, _, target = text.partition(" → ")
            parts.append(_line(places, ("service", one.name), ("volume", source), target))
    for one in nodes:
        x, y = places[one.kind, one.name]
        lines = "".join(
            f'<text x="{x + 8}" y="{y + 34 + 14 * number}" font-size="11">{escape(_cut(line))}</text>'
            for number, line in enumerate(one.lines[:3])
        )
        parts.append(
            f'<g><title>{escape(chr(10).join((one.name, *one.lines)))}</title><rect x="{x}" y="{y}" width="{_WIDTH}" '
            f'height="{_HEIGHT}" rx="5" fill="{_COLOURS[one.kind]}" stroke="#777"/><text x="{x + 8}" y="{y + 18}" '
            f'font-size="14" font-weight="bold">{escape(_cut(f"{one.kind} {one.name}"))}</text>{lines}</g>'
        )
    return "\n".join([*(part for part in parts if part), "</svg>"]) + "\n"


def _cut(text: str) -> str:
    most = int((_WIDTH - 16) / _LETTER)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _places(nodes: list[GraphNode]) -> dict[tuple[str, str], tuple[int, int]]:
    """The corner of each box."""
    rows: dict[str, int] = {}
    services = [one for one in nodes if one.kind == "service"]
    for one in services:
        rows.setdefault(one.name, 0)
        for other, _ in one.needs:
            rows[other] = max(rows.get(other, 0), rows[one.name] + 1)
    last = max(rows.values(), default=-1)
    used: dict[int, int] = {}
    places = {}
    for one in nodes:
        row = rows[one.name] if one.kind == "service" else last + (1 if one.kind == "network" else 2)
        column = used.get(row, 0)
        used[row] = column + 1
        places[one.kind, one.name] = (_GAP + column * (_WIDTH + _GAP), _GAP + row * _ROW)
    return places


def _line(
    places: dict[tuple[str, str], tuple[int, int]],
    first: tuple[str, str],
    second: tuple[str, str],
    label: str,
    *,
    is_needed: bool = False,
) -> str:
    """A line from the lower edge of one box to the upper edge of another; empty where there is no such box."""
    from html import escape

    if first not in places or second not in places:
        return ""
    (x, y), (to_x, to_y) = places[first], places[second]
    x, to_x, y = x + _WIDTH // 2, to_x + _WIDTH // 2, y + _HEIGHT
    style = 'stroke="#555" marker-end="url(#end)"' if is_needed else 'stroke="#999" stroke-dasharray="4 3"'
    text = (
        f'<text x="{(x + to_x) // 2 + 4}" y="{(y + to_y) // 2}" font-size="10" fill="#555">{escape(label)}</text>'
        if label
        else ""
    )
    return f'<path d="M{x} {y}C{x} {to_y - 20} {to_x} {y + 20} {to_x} {to_y}" fill="none" {style}/>{text}'


COMMANDS = {
    "compose graph": (
        Command(
            "compose graph",
            "[OPTIONS] [SERVICE...]",
            "Show services, what they depend on, their networks, volumes and ports",
            (string("format", 'Format of the output ("text" or "svg")', default="text"),),
            maximum=None,
        ),
        graph,
    )
}
