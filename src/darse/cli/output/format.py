"""Lists as docker prints them: `--format` as a table, as JSON or as a template, and the default tables.

A row is an object whose methods are the placeholders; the headings say what each is called in a table. Most formats
have nothing but `{{.Name}}` between text, the default ones among them: these need no template language, and load none.
"""

from __future__ import annotations

import sys
import time

from darse.cli.errors import CliError
from darse.cli.output import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, ClassVar

    from darse.cli.templates import Template

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


class Row:
    """A row of a list: what the API says of one object. Its public methods are what templates can show of it.

    A method returns a str, a list of them or of rows, or None for what docker shows as `<nil>`.
    """

    # The name of docker's type, which errors show.
    GO_NAME: ClassVar[str] = "*formatter.Context"
    # What comes first in JSON; the rest follows by name.
    JSON_ORDER: ClassVar[tuple[str, ...]] = ()

    def __init__(self, document: Mapping[str, Any], *, truncate: bool = True) -> None:
        self.document = document
        self.truncate = truncate

    def id_text(self, identifier: str) -> str:
        """An id, short where ids are to be."""
        return short_id(identifier) if self.truncate else identifier

    def for_json(self) -> Row:
        """What JSON is made of: itself, but where docker prints other values there."""
        return self


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


def placeholders(text: str) -> list[str] | None:
    """The text before each `{{.Name}}` and the name in turn, and the text at the end; None when there is more."""
    first, *rest = text.split("{{")
    pieces = [first]
    for piece in rest:
        name, braces, after = piece.partition("}}")
        if not braces or name[:1] != "." or not name[1:].isidentifier():
            return None
        pieces += [name[1:], after]
    return pieces


class Format:
    """A `--format`, ready for use. Raises CliError when it is no template."""

    def __init__(self, source: str) -> None:
        self.is_table = source.startswith("table")
        text = source[len("table") :] if self.is_table else "{{json .}}" if source == "json" else source
        self.text = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
        self._pieces = placeholders(self.text)
        self._parsed: Template | None = None
        self._methods: dict[type[Row], list[Callable[[Any], Any]]] = {}
        if self._pieces is None:
            self._template()

    def _template(self) -> Template:
        from darse.cli.templates import Template, TemplateError

        if self._parsed is None:
            try:
                self._parsed = Template(self.text)
            except TemplateError as error:
                raise CliError(f"template parsing error: {error}") from error
        return self._parsed

    def row(self, row: Row) -> str:
        """A line. Raises CliError."""
        if self._pieces is not None:
            cells = [method(row) for method in self._methods_of(type(row))]
            if len(cells) == len(self._pieces) // 2 and all(isinstance(cell, str) for cell in cells):
                return self._filled(self._pieces, cells)
        from darse.cli.templates import TemplateError

        try:
            return self._template().execute(row)
        except TemplateError as error:
            raise CliError(f"template parsing error: {error}") from error

    @staticmethod
    def _filled(pieces: list[str], cells: list[str]) -> str:
        """The pieces with cells in place of names."""
        filled = pieces.copy()
        filled[1::2] = cells
        return "".join(filled)

    def _methods_of(self, class_: type[Row]) -> list[Callable[[Any], Any]]:
        """The methods that the placeholders name; fewer than these when one is not that simple."""
        if class_ not in self._methods:
            names = self._pieces[1::2] if self._pieces else []
            found = [getattr(class_, name) for name in names if name[0].isupper() and hasattr(class_, name)]
            self._methods[class_] = [one for one in found if callable(one) and one.__code__.co_argcount == 1]
        return self._methods[class_]

    def heading(self, headings: Mapping[str, str]) -> str:
        """The first line of a table."""
        if self._pieces is not None and all(name in headings for name in self._pieces[1::2]):
            return self._filled(self._pieces, [headings[name] for name in self._pieces[1::2]])
        from darse.cli.templates import TemplateError

        try:
            return self._template().heading(headings)
        except TemplateError:
            return ""  # as docker has it: a heading that cannot be made is left out

    def render(
        self, rows: Iterable[Row], headings: Mapping[str, str], *, columns: int = 0, spare: Sequence[str] = ()
    ) -> str:
        """The list; a table is shortened to fit into `columns` when that is not 0, see `table.fit`."""
        lines = [self.row(row) + "\n" for row in rows]
        if hasattr(sys.stdout, "control"):
            from darse.cli.terminal import screen

            # Now rather than when it is written: an escape is wider than what it stands for.
            lines = [screen.visible(line[:-1], one_line=bool(columns)) + "\n" for line in lines]
        if not self.is_table:
            return "".join(lines)
        text = f"{self.heading(headings)}\n{''.join(lines)}"
        return table.fit(text, columns, spare=spare) if columns else table.align(text)


def write(
    source: str,
    rows: Iterable[Row],
    headings: Mapping[str, str],
    *,
    may_fit: bool = False,
    spare: Sequence[str] = (),
) -> None:
    """Print a list; on a terminal a default table (`may_fit`) is made to fit, see `table.fit`. Raises CliError."""
    columns = 0
    if may_fit and sys.stdout.isatty():
        from darse.cli.command_line.flags import terminal_width

        columns = terminal_width()
    sys.stdout.write(Format(source).render(rows, headings, columns=columns, spare=spare))
