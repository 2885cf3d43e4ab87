"""`images --tree`: each image with the platforms that it is for, of which some may not be here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from darse.cli.command_line.flags import terminal_width
from darse.cli.images import platforms
from darse.cli.output.format import short_id
from darse.cli.output.table import ellipsis, width
from darse.cli.terminal import screen
from darse.units import human_size

_SPACING = "   "
_NARROWEST_NAME = 12
_WARNING = "WARNING: This is an experimental feature. The output may change and shouldn't be depended on."
# SGR parameters (ECMA-48 8.3.117).
_YELLOW, _HEADING, _NAME, _PLAIN, _FAINT = ("93",), ("39", "1"), ("34", "1"), ("39",), ("39", "2")
_CHIP = ("38;5;0", "48;5;14")


class Cell(NamedTuple):
    """A text in a column."""

    text: str
    style: tuple[str, ...] = _PLAIN


class DetailColumn(NamedTuple):
    """A column of details, beside that of the names."""

    title: str
    width: int
    align_right: bool = False


_COLUMNS = (
    DetailColumn("ID", 12),
    DetailColumn("DISK USAGE", 10, True),
    DetailColumn("CONTENT SIZE", 12, True),
    DetailColumn("EXTRA", 5),
)


def print_tree(images: Sequence[Mapping[str, Any]], *, untagged: bool) -> None:
    """Print the images of the API, newest first; those without any name only with `untagged`."""
    shown = [one for one in images if untagged or one.get("RepoTags") or one.get("RepoDigests")]
    shown.sort(key=lambda one: -int(one["Created"]))
    _Tree(shown).write()


class _Tree:
    def __init__(self, images: Sequence[Mapping[str, Any]]) -> None:
        self._images = images
        self._columns, self._name_width = _fitting(images)
        self._is_terminal = sys.stdout.isatty()
        self._has_colours = self._is_terminal and "NO_COLOR" not in os.environ

    def write(self) -> None:
        screen.control("".join(f"{line}\n" for line in self._lines()))

    def _lines(self) -> list[str]:
        titles = [Cell(one.title, _HEADING) for one in self._columns]
        lines = [self._styled(_WARNING, _YELLOW), self._legend(), "", self._row(Cell("IMAGE", _HEADING), titles)]
        has_children = any(_children(image) for image in self._images)
        for image in self._images:
            *others, last = [Cell(name, _NAME) for name in image.get("RepoTags") or ()] or [Cell("<untagged>", _FAINT)]
            lines += [self._styled(ellipsis(name.text, terminal_width()), name.style) for name in others]
            lines.append(self._row(last, self._details(image["Id"], image["Size"], _content(image), _in_use(image))))
            children = _children(image)
            for child in children:
                lines.append(self._child(child, is_last=child is children[-1]))
            if has_children:
                lines.append("")
        return lines

    def _child(self, child: Mapping[str, Any], *, is_last: bool) -> str:
        style = _PLAIN if child["Available"] else _FAINT
        branch = ("└─ " if is_last else "├─ ") + platforms.shown(child["ImageData"]["Platform"])
        size, used = child["Size"], bool(child["ImageData"].get("Containers"))
        return self._row(Cell(branch, style), self._details(child["ID"], size["Total"], size["Content"], used, style))

    def _details(
        self, identifier: str, total: int, content: int, used: bool, style: tuple[str, ...] = _PLAIN
    ) -> list[Cell]:
        chip = Cell(self._chip(), _CHIP) if used else Cell("", ())
        texts = (short_id(identifier), human_size(total, 3), human_size(content, 3))
        return [*(Cell(text, style) for text in texts), chip]

    def _chip(self) -> str:
        return " U " if self._is_terminal else "U"

    def _legend(self) -> str:
        head = "i Info → " if self._is_terminal else " Info -> "
        text = f"{head} {self._chip()} In Use "
        space = " " * max(terminal_width() - width(text), 0)
        if not self._has_colours:
            return space + text
        mark, head = self._styled("i", ("1", "106", "30")), self._styled("Info → ", ("96",))
        return f"{space}{mark} {head} {self._styled(' U ', _CHIP)} In Use "

    def _row(self, name: Cell, details: Sequence[Cell]) -> str:
        parts = [self._padded(name, self._name_width)]
        for column, cell in zip(self._columns, details, strict=False):
            parts.append(self._padded(cell, column.width, align_right=column.align_right))
        return _SPACING.join(parts)

    def _padded(self, cell: Cell, columns: int, *, align_right: bool = False) -> str:
        text = ellipsis(screen.visible(cell.text, one_line=True), columns)
        space = " " * (columns - width(text))
        styled = self._styled(text, cell.style) if text else ""
        return space + styled if align_right else styled + space

    def _styled(self, text: str, style: tuple[str, ...]) -> str:
        shown = screen.visible(text, one_line=True)
        return "".join(f"\x1b[{one}m" for one in style) + f"{shown}\x1b[0m" if self._has_colours else shown


def _fitting(images: Sequence[Mapping[str, Any]]) -> tuple[Sequence[DetailColumn], int]:
    """The columns that fit the terminal, and what is left for names: no more than they need."""
    left = max(terminal_width(), 20)
    columns: list[DetailColumn] = []
    for column in _COLUMNS:
        needed = column.width + len(_SPACING)
        if left - needed < _NARROWEST_NAME:
            break
        columns.append(column)
        left -= needed
    names = [name for image in images for name in image.get("RepoTags") or ("<untagged>",)]
    texts = [screen.visible(name, one_line=True) for name in names]
    texts += ["└─ " + platforms.shown(child["ImageData"]["Platform"]) for image in images for child in _children(image)]
    return columns, min(left, max(map(width, ["IMAGE", *texts])))


def _children(image: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in image.get("Manifests") or () if one["Kind"] == "image"]


def _content(image: Mapping[str, Any]) -> int:
    return sum(int(one["Size"]["Content"]) for one in image.get("Manifests") or ())


def _in_use(image: Mapping[str, Any]) -> bool:
    used = any(child["ImageData"].get("Containers") for child in _children(image))
    return used or int(image.get("Containers", -1)) > 0
