"""Drawings, as SVG, of two columns of boxes and the lines between them: networks or volumes, and their containers."""

from __future__ import annotations

from typing import NamedTuple

# In pixels.
_LINE, _WIDTH, _LEFT, _RIGHT, _MARGIN, _LETTER = 18, 260, 20, 420, 20, 7.2


class Box(NamedTuple):
    """A box, with what it is below its name."""

    name: str
    below: str


class Line(NamedTuple):
    """A line from a box at the left to one at the right, by their names."""

    left: str
    right: str
    label: str


def draw(left: list[Box], right: list[Box], lines: list[Line]) -> str:
    """The whole document; names are unique in their column."""
    from xml.sax.saxutils import escape

    at_left = {box.name: _MARGIN + place * 3 * _LINE for place, box in enumerate(left)}
    at_right = {box.name: _MARGIN + place * 3 * _LINE for place, box in enumerate(right)}
    widest = max((len(box.below) for box in right), default=0)
    width = int(_RIGHT + max(_WIDTH, widest * _LETTER) + _MARGIN)
    height = 2 * _MARGIN + 3 * _LINE * max(len(left), len(right), 1)
    body = []
    for line in lines:
        y, end = at_left[line.left] + _LINE, at_right[line.right] + _LINE
        middle = (_LEFT + _WIDTH + _RIGHT) // 2, (y + end) // 2 - 3
        body.append(f'<line x1="{_LEFT + _WIDTH}" y1="{y}" x2="{_RIGHT}" y2="{end}" stroke="gray"/>')
        label = escape(line.label)
        body.append(f'<text x="{middle[0]}" y="{middle[1]}" text-anchor="middle" font-size="10">{label}</text>')
    for box in left:
        body += _box(_LEFT, at_left[box.name], escape(box.name), escape(box.below), "#dbe9f6")
    for box in right:
        body += _box(_RIGHT, at_right[box.name], escape(box.name), escape(box.below), "#e4f2df")
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
