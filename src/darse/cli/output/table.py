"""Columns as Go's text/tabwriter aligns them, in docker's settings, and fitted to a terminal where there is one.

A cell ends with a tab; what follows the last tab of a line belongs to no column. A column is a run of consecutive
lines that have a cell there, and is as wide as the widest of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What `docker ps` may lose on a narrow terminal: never names, ids and states.
SHRINKABLE = frozenset(
    {"COMMAND", "PORTS", "IMAGE", "COMMENT", "CREATED BY", "MOUNTS", "LABELS", "DIGEST", "DESCRIPTION"}
)
_NARROWEST = 12
_LEAST = 4


def align(text: str, *, minimum: int = 10, padding: int = 3) -> str:
    """The lines of `text` with their tabs replaced by spaces; a column is at least `minimum` wide."""
    lines = text.split("\n")
    rows = [line.split("\t") for line in lines]
    out = ["" for _ in rows]
    _align(rows, out, 0, len(rows), 0, minimum, padding)
    return "\n".join(out)


def _align(
    rows: Sequence[Sequence[str]], out: list[str], first: int, last: int, column: int, minimum: int, padding: int
) -> None:
    """Align column `column` of the rows from `first` to `last`, block by block."""
    row = first
    while row < last:
        if column >= len(rows[row]) - 1:
            out[row] += rows[row][column] if column < len(rows[row]) else ""
            row += 1
            continue
        end = row
        while end < last and column < len(rows[end]) - 1:
            end += 1
        block = max(*(width(rows[one][column]) + padding for one in range(row, end)), minimum)
        for one in range(row, end):
            cell = rows[one][column]
            out[one] += cell + " " * (block - width(cell))
        _align(rows, out, row, end, column + 1, minimum, padding)
        row = end


def width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(one) in ("W", "F") for one in text)
    return len(text) + wide - sum(unicodedata.combining(one) != 0 for one in text)


def ellipsis(text: str, most: int) -> str:
    """At most `most` columns of a text, with `…` where it was cut."""
    if most <= 1 or width(text) <= most:
        return text[:most] if most <= 1 else text
    used, end = 0, 0
    while used + width(text[end]) <= most - 1:
        used += width(text[end])
        end += 1
    return text[:end] + "…"


def fit(text: str, columns: int, *, spare: Sequence[str] = (), elastic: Mapping[str, int] | None = None) -> str:
    """A table with its columns aligned, no wider than `columns`; the first line has the headings.

    First the cells of columns that may be shortened are, then columns move together, then those leave that are shown
    elsewhere or can be done without, `spare` ones first. Where all that is not enough whatever is widest is shortened.
    `elastic` are further columns that may be shortened, to so many columns of the terminal.
    """
    rows = [line.split("\t") for line in text.split("\n")]
    count = len(rows[0])
    if any(len(row) not in (count, 1) for row in rows):
        return align(text)
    for padding, minimum, narrowest in ((3, 10, _NARROWEST), (1, 0, _NARROWEST), (1, 0, _NARROWEST // 2)):
        if (fitted := _fitted(rows, columns, padding, minimum, narrowest, elastic or {})) is not None:
            return fitted
    for heading in dict.fromkeys([*(one for one in spare if one in rows[0]), *_droppable(rows[0])]):
        number = rows[0].index(heading)
        rows = [[cell for one, cell in enumerate(row) if one != number or len(row) == 1] for row in rows]
        if (fitted := _fitted(rows, columns, 1, 0, _NARROWEST // 2, elastic or {})) is not None:
            return fitted
    whatever = dict.fromkeys(rows[0], _LEAST)
    return _fitted(rows, columns, 1, 0, _NARROWEST // 2, whatever, evenly=True) or align(text)


def _droppable(headings: Sequence[str]) -> list[str]:
    """Headings of columns that a narrow terminal can be without, the least useful first."""
    # Of what a container uses, its name says whose that is.
    first = ["CONTAINER ID"] if "MEM %" in headings else []
    # A long name leaves room for its state, and for nothing else.
    last = ["IMAGE", "CONTAINER ID"] if "NAMES" in headings else []
    found = [*first, "COMMAND", "CREATED", "BLOCK I/O", "NET I/O", "PORTS", *last, "PIDS", "MEM USAGE / LIMIT"]
    return [one for one in found if one in headings]


def _fitted(
    rows: list[list[str]],
    columns: int,
    padding: int,
    minimum: int,
    narrowest: int,
    elastic: Mapping[str, int],
    *,
    evenly: bool = False,
) -> str | None:
    count = len(rows[0])
    shrinkable = SHRINKABLE if narrowest == _NARROWEST else SHRINKABLE | {"STATUS", "CREATED"}
    least = {**dict.fromkeys(shrinkable, narrowest), **elastic}
    widths = [max(width(row[one]) for row in rows if one < len(row)) for one in range(count)]

    def total() -> int:
        return sum(max(one + padding, minimum) for one in widths[:-1]) + widths[-1]

    while total() > columns:
        choices = [one for one in range(count) if widths[one] > least.get(rows[0][one], widths[one])]
        if not choices:
            return None
        widest = max(choices, key=lambda one: widths[one])
        step = 1 if evenly else max(1, total() - columns)
        widths[widest] = max(least[rows[0][widest]], widths[widest] - step)
    cut = ["\t".join(_shortened(cell, widths[number]) for number, cell in enumerate(row)) for row in rows]
    return align("\n".join(cut), minimum=minimum, padding=padding)


def _shortened(cell: str, most: int) -> str:
    if width(cell) <= most:
        return cell
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return f'{ellipsis(cell[:-1], most - 1).rstrip("…")}…"' if quoted else ellipsis(cell, most)
