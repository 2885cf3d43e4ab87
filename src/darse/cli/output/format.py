"""Lists as docker prints them: `--format` as a table, as JSON or as a template, and the default tables.

A row is an object whose methods are the placeholders; the headings say what each is called in a table.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from darse.cli.errors import CliError
from darse.cli.output import table
from darse.cli.templates import Methods, Template, TemplateError
from darse.cli.templates import values as go
from darse.cli.terminal import screen

# The seconds of 0001-01-01, which a time in Go is without being set.
_ZERO_TIME = -62_135_596_800
FORMAT_HELP = """Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""
INSPECT_FORMAT_HELP = """Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""


class Row(Methods):
    """A row of a list: what the API says of one object."""

    def __init__(self, document: Mapping[str, Any], *, truncate: bool = True) -> None:
        self.document = document
        self.truncate = truncate

    def id_text(self, identifier: str) -> str:
        """An id, short where ids are to be."""
        return short_id(identifier) if self.truncate else identifier


def short_id(identifier: str) -> str:
    """The twelve digits that people use."""
    return identifier.rpartition(":")[2][:12] if identifier.startswith("sha256:") else identifier[:12]


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Labels in one cell."""
    return ",".join(sorted(f"{key}={value}" for key, value in (labels or {}).items()))


def local_time(seconds: float) -> str:
    """A time as Go prints it: `2026-01-02 03:04:05 +0000 UTC`."""
    moment = time.localtime(seconds)
    # Not %Y: of the year 1, an image's without a date, the C library prints one digit.
    return f"{moment.tm_year:04}-{time.strftime('%m-%d %H:%M:%S %z %Z', moment)}"


def ago(seconds: float) -> str:
    """How long ago a time was; nothing for Go's zero time."""
    if seconds == _ZERO_TIME:
        return ""
    from darse.durations import human_duration

    return human_duration(time.time() - seconds) + " ago"


class Format:
    """A `--format`, ready for use. Raises CliError when it is no template."""

    def __init__(self, source: str) -> None:
        self.is_table = source.startswith("table")
        text = source[len("table") :] if self.is_table else "{{json .}}" if source == "json" else source
        self.text = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
        try:
            self._template = Template(self.text)
        except TemplateError as error:
            raise CliError(f"template parsing error: {error}") from error

    def row(self, row: Row) -> str:
        """A line. Raises CliError."""
        try:
            return self._template.of_object(row)
        except TemplateError as error:
            raise CliError(f"template parsing error: {error}") from error

    def heading(self, headings: Mapping[str, str]) -> str:
        """The first line of a table."""
        value = go.of_headings(headings)
        try:
            return self._template.execute(value, for_heading=True)
        except TemplateError:
            return ""  # as docker has it: a heading that cannot be made is left out

    def render(self, rows: Iterable[Row], headings: Mapping[str, str], *, columns: int = 0) -> str:
        """The list; a table is shortened to fit into `columns` when that is not 0."""
        lines = [self.row(row) + "\n" for row in rows]
        if isinstance(sys.stdout, screen.Screen):
            # Now rather than when it is written: an escape is wider than what it stands for.
            lines = [screen.visible(line[:-1], one_line=bool(columns)) + "\n" for line in lines]
        if not self.is_table:
            return "".join(lines)
        text = f"{self.heading(headings)}\n{''.join(lines)}"
        return table.fit(text, columns) if columns else table.align(text)


def write(source: str, rows: Iterable[Row], headings: Mapping[str, str], *, may_fit: bool = False) -> None:
    """Print a list; on a terminal a default table (`may_fit`) is made to fit. Raises CliError."""
    columns = 0
    if may_fit and sys.stdout.isatty():
        from darse.cli.command_line.flags import terminal_width

        columns = terminal_width()
    sys.stdout.write(Format(source).render(rows, headings, columns=columns))


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts `a2` before `a10`."""
    parts: list[str] = []
    for character in name:
        if parts and parts[-1][-1].isdigit() == character.isdigit():
            parts[-1] += character
        else:
            parts.append(character)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
