"""A build as an SVG image: each step a box below those that it needs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Steps = Sequence[Mapping[str, Any]]

_SHORT = 12
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


def title(build: Mapping[str, Any]) -> str:
    """What was built, and how it ended."""
    names = ", ".join(build["Names"]) or build["Image"].removeprefix("sha256:")[:_SHORT]
    ended = f" in {seconds(build['DurationNs'])}" if build["DurationNs"] else ""
    return f"build {build['ID'][:_SHORT]}{f' of {names}' if names else ''}: {build['State']}{ended}"


def seconds(nanoseconds: int) -> str:
    """A duration as the tables show it."""
    return f"{nanoseconds / 1e9:.2f} s"


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
        f'<text x="{_GAP}" y="24" font-size="15">{escape(title(build))}</text>',
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
