"""Lines of containers' logs with the container before them, coloured on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from darse.cli.terminal.streams import write_all
from darse.compose.operations.logs import LogLine

# Bright ones come when the others are used up; red is for errors.
_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


def short_name(project: str, container: str) -> str:
    """A container's name without that of its project."""
    return container.removeprefix(f"{project}-").removeprefix(f"{project}_")


class LinePrinter:
    """Prints lines; the column of names is as wide as the longest that is known."""

    def __init__(
        self,
        project: str,
        names: Iterable[str],
        *,
        prefix: bool = True,
        timestamps: bool = False,
        colours: bool = False,
        one_stream: bool = False,
    ) -> None:
        """With `one_stream` what containers print on their standard errors goes to standard output, too."""
        self._project = project
        self._prefix = prefix
        self._timestamps = timestamps
        self._with_colours = colours
        self._one_stream = one_stream
        self._colours: dict[str, str] = {}
        self._width = max((len(short_name(project, name)) for name in names), default=0)

    def show(self, line: LogLine) -> None:
        """Print a line on the stream that it came from, or on standard output."""
        text = line.text
        if self._timestamps:
            text = line.stamp.encode() + b" " + text
        write_all(1 if line.stream == 1 or self._one_stream else 2, self._head(line) + text + b"\n")

    def _head(self, line: LogLine) -> bytes:
        if not self._prefix:
            return b""
        name = short_name(self._project, line.container)
        self._width = max(self._width, len(name))
        text = f"{name:<{self._width + 1}} | "
        if self._with_colours:
            colour = self._colours.setdefault(line.container, _COLOURS[len(self._colours) % len(_COLOURS)])
            text = f"\x1b[{colour}m{text}\x1b[0m"
        return text.encode()
