"""Places in a Dockerfile. Lines and columns count from 1; a column is a character, not a byte."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import msgspec


class SourcePosition(msgspec.Struct, frozen=True, order=True):
    """A character of a file."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


class SourceToken(msgspec.Struct, frozen=True):
    """A part of an instruction: its text as it is understood, and where it is written."""

    text: str
    start: SourcePosition
    end: SourcePosition
    """After its last character."""


class LogicalLine:
    """A line that may have been continued: one text, whose pieces come from several lines of the file."""

    def __init__(self) -> None:
        self.text = ""
        self._offsets: list[int] = []
        self._pieces: list[SourcePosition] = []
        self._texts: list[str] = []
        self._length = 0

    def append(self, text: str, line: int, column: int) -> None:
        """Add a piece that begins at a place of the file."""
        self._offsets.append(self._length)
        self._pieces.append(SourcePosition(line, column))
        self._texts.append(text)
        self._length += len(text)

    def close(self) -> None:
        """Set `text`, when all pieces are there."""
        self.text = "".join(self._texts)

    def position(self, offset: int) -> SourcePosition:
        """Where the character at an offset of `text` is in the file."""
        index = bisect_right(self._offsets, offset) - 1
        # The end of the text belongs to its last piece with any text.
        while index > 0 and offset == self._offsets[index] and offset == self._length:
            index -= 1
        start = self._pieces[index]
        return SourcePosition(start.line, start.column + offset - self._offsets[index])

    def token(self, text: str, start: int, end: int) -> SourceToken:
        """A token for a part of `text`; its own text may differ: without quotes, for example."""
        last = self.position(max(start, end - 1))
        return SourceToken(text, self.position(start), SourcePosition(last.line, last.column + (end > start)))


def excerpt(source: str, filename: str, ranges: Iterable[tuple[int, int]]) -> str:
    """The lines around ranges of lines, those of the ranges marked, as BuildKit's clients print them."""
    given = list(ranges)
    lines = source.split("\n")
    if not given:
        return ""
    first, last = min(start for start, _ in given), min(max(end for _, end in given), len(lines))
    if not 1 <= first <= len(lines):
        return ""
    start, end = _padded(first, last, len(lines))
    rows = [f"{filename}:{first}", "-" * 20]
    for number in range(start, end + 1):
        mark = ">>>" if any(low <= number <= high for low, high in given) else "   "
        rows.append(f" {number:3d} | {mark} {lines[number - 1]}")
    return "\n".join([*rows, "-" * 20, ""])


def _padded(first: int, last: int, count: int) -> tuple[int, int]:
    """BuildKit's: a line on each side at a time, until there are enough."""
    enough = 4 if first == last else 2
    padding = 0
    while padding < enough:
        if first > 1:
            first -= 1
            padding += 1
        if last != count:
            last += 1
            padding += 1
        padding += 1
    return first, last
