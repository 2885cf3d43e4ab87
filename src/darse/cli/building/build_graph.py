"""A build as a graph: each step with what it was made from, whether it was in the cache, and why not.

As text, a step a line, numbered; and as SVG, a step a box below those that it needs.
"""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import terminal_width
from darse.cli.commands.build.history import beside, heading, seconds
from darse.cli.errors import CliError
from darse.client.http import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from darse.client.blocking import Client

    Steps = Sequence[Mapping[str, Any]]

_WIDTH, _HEIGHT, _GAP, _ROW = 260, 58, 24, 104
# Characters that fit into a box.
_CHARACTERS = 40
_COLORS = {
    "executed": "#ffd9a8",
    "shared": "#ffe9c8",
    "running": "#ffd9a8",
    "cached": "#cfe8cf",
    "not needed": "#e3efe3",
    "failed": "#f4b8b8",
    "cancelled": "#f4d8d8",
}


def is_known(client: Client, build: str) -> bool:
    """Whether there is such a build."""
    return any(
        one["ID"].startswith(build)
        or build in one["Names"]
        or f"{build}:latest" in one["Names"]
        or _is_image(one, build)
        for one in client.call("GET", "/darse/builds") or ()
    )


def _is_image(build: Mapping[str, Any], name: str) -> bool:
    identifier = build["Image"].removeprefix("sha256:")
    return bool(identifier) and identifier.startswith(name.removeprefix("sha256:"))


def show(client: Client, build: str, form: str) -> int:
    """Print the graph of a build: as text, or as `json` or `svg`. Raises CliError."""
    found = client.call("GET", f"/darse/builds/{quote(build)}")
    if form == "json":
        from darse.cli.output.inspect import indented

        sys.stdout.write(indented(found) + "\n")
    elif form == "svg":
        sys.stdout.write(svg(found))
    elif form:
        raise CliError("the format of a build is json, svg, or none")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in text(found)))
    return 0


def text(build: Mapping[str, Any]) -> Iterator[str]:
    """The lines."""
    steps: Steps = build["Steps"]
    columns = terminal_width() if sys.stdout.isatty() else 0
    numbers = {step["Vertex"]: number for number, step in enumerate(steps, 1)}
    yield from heading(build, columns)
    yield ""
    width = len(str(len(steps)))
    states = max((len(step["State"]) for step in steps), default=0)
    for number, step in enumerate(steps, 1):
        took = seconds(step["DurationNs"]) if step["DurationNs"] else ""
        above = [str(numbers[one]) for one in step["Inputs"] if one in numbers]
        needs = f"  ← {', '.join(above)}" if above else ""
        head = f"{number:>{width}}  {step['State']:<{states}}  {took:>8}  "
        details = [f"  {one}" for one in step["Details"]]
        yield from beside(head, [f"{step['Name']}{needs}", step["Cause"], *details, step["Error"]], columns)


def svg(build: Mapping[str, Any]) -> str:
    """The graph as an SVG image: those that need nothing at the top, what was built at the bottom."""
    from html import escape

    steps = [step for step in build["Steps"] if not step["Internal"]]
    places = _places(steps)
    columns = max((column for column, _ in places.values()), default=0) + 1
    rows = max((row for _, row in places.values()), default=0) + 1
    width, height = columns * (_WIDTH + _GAP) + _GAP, rows * _ROW + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
        f'<text x="{_GAP}" y="24" font-size="15">{escape(next(heading(build, 0)))}</text>',
    ]
    for step in steps:
        x, y = _corner(places[step["Vertex"]])
        for one in step["Inputs"]:
            if one in places:
                from_x, from_y = _corner(places[one])
                parts.append(
                    f'<path d="M{from_x + _WIDTH // 2} {from_y + _HEIGHT}C{from_x + _WIDTH // 2} {y - 20} '
                    f'{x + _WIDTH // 2} {from_y + _HEIGHT + 20} {x + _WIDTH // 2} {y}" fill="none" stroke="#666" '
                    'marker-end="url(#end)"/>'
                )
    parts += [_box(step, *_corner(places[step["Vertex"]])) for step in steps]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _places(steps: Steps) -> dict[str, tuple[int, int]]:
    """Column and row of each step: a row further than the last of what it needs."""
    rows: dict[str, int] = {}
    used: dict[int, int] = {}
    places = {}
    for step in steps:
        row = max((rows[one] + 1 for one in step["Inputs"] if one in rows), default=0)
        rows[step["Vertex"]] = row
        places[step["Vertex"]] = (used.get(row, 0), row)
        used[row] = used.get(row, 0) + 1
    return places


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    column, row = place
    return _GAP + column * (_WIDTH + _GAP), 40 + row * _ROW


def _box(step: Mapping[str, Any], x: int, y: int) -> str:
    from html import escape

    state = step["State"] + (f", {seconds(step['DurationNs'])}" if step["DurationNs"] else "")
    lines = [step["Name"], state, step["Cause"]]
    shown = [one if len(one) <= _CHARACTERS else f"{one[: _CHARACTERS - 1]}…" for one in lines]
    tooltip = escape("\n".join(filter(None, [step["Name"], step["Cause"], *step["Details"], step["Error"]])))
    texts = "".join(
        f'<text x="{x + 8}" y="{y + 18 + 16 * number}" font-size="12">{escape(line)}</text>'
        for number, line in enumerate(shown)
    )
    color = _COLORS.get(step["State"], "#eeeeee")
    return (
        f'<g><title>{tooltip}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
        f'fill="{color}" stroke="#888"/>{texts}</g>'
    )
