"""`builder history`, also `build history`: the builds that were, what their steps took, and what they said."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, string, switch, terminal_width
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.output import table
from darse.cli.output.format import ago
from darse.client.requests import builds
from darse.drawings.builds import seconds, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from darse.client.documents.builds import BuildDocument, BuildEntryDocument, BuildLogDocument

    T = TypeVar("T")

_SHORT = 12
_NARROWEST_NAME = 12


def history(invocation: Invocation) -> int:
    """List the builds, or show one."""
    options = invocation.options
    if not invocation.arguments:
        if options.logs:
            raise CliError("--logs are those of one build: darse build history --logs BUILD", 125)
        found = invocation.client.do(builds.list_builds()) or []
        _print(found, options.format, _listed)
        return 0
    (name,) = invocation.arguments
    if options.logs:
        _print(invocation.client.do(builds.logs(name)), options.format, _logged)
        return 0
    _print(invocation.client.do(builds.inspect(name)), options.format, _timed)
    return 0


def _print(found: T, format_: str, lines: Callable[[T], Iterator[str]]) -> None:
    if format_ == "json":
        from darse.cli.output.inspect import indented

        sys.stdout.write(indented(found) + "\n")
    elif format_:
        raise CliError("the format of builds is json, or none")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines(found)))


def _listed(found: list[BuildEntryDocument]) -> Iterator[str]:
    from darse.cli.output.cache_rows import seconds_of

    rows = ["BUILD ID\tNAME\tSTATE\tCREATED\tTOOK\tSTEPS\tCACHED"]
    for one in found:
        name = ", ".join(one["Names"]) or one["Image"].removeprefix("sha256:")[:_SHORT] or "<none>"
        took = seconds(one["DurationNs"]) if one["DurationNs"] else ""
        created = ago(seconds_of(one["StartedAt"]))
        figures = [str(one["Steps"]), str(one["CachedSteps"])]
        rows.append("\t".join([one["ID"][:_SHORT], name, one["State"], created, took, *figures]))
    text = "\n".join(rows) + "\n"
    if sys.stdout.isatty():
        spare = ("CACHED", "STEPS", "TOOK", "CREATED")
        yield from table.fit(text, terminal_width(), spare=spare, elastic={"NAME": _NARROWEST_NAME}).splitlines()
    else:
        yield from table.align(text).splitlines()


def _timed(build: BuildDocument) -> Iterator[str]:
    """The table of a build's steps: when each began, what it took, and its share of the whole."""
    columns = terminal_width() if sys.stdout.isatty() else 0
    yield from heading(build, columns)
    yield ""
    total = build["DurationNs"]
    yield f"{'AT':>8}  {'TOOK':>8}  {'SHARE':>5}  {'STATE':<11}  STEP"
    for step in build["Steps"]:
        ran = step["BeginNs"] or step["DurationNs"]
        begin = seconds(step["BeginNs"]) if ran else ""
        took = seconds(step["DurationNs"]) if ran else ""
        share = f"{step['DurationNs'] / total:.0%}" if ran and total else ""
        head = f"{begin:>8}  {took:>8}  {share:>5}  {step['State']:<11}  "
        yield from beside(head, [step["Name"], step["Error"]], columns)


def heading(build: BuildDocument, columns: int) -> Iterator[str]:
    """What was built, and how it ended; columns: of the terminal, 0 without one."""
    yield from beside("", [title(build), build["Error"]], columns)


def beside(head: str, texts: Iterable[str], columns: int) -> Iterator[str]:
    """Texts beside the head of their first line, each wrapped where there is a terminal; none where it is empty."""
    import textwrap

    for text in filter(None, texts):
        room = columns - len(head)
        indent = "  " if text.startswith("  ") else ""
        lines = textwrap.wrap(text, room, subsequent_indent=f"{indent}  ") if columns else text.splitlines()
        for line in lines:
            yield f"{head}{line}".rstrip()
            head = " " * len(head)


def _logged(logs: list[BuildLogDocument]) -> Iterator[str]:
    for number, log in enumerate(logs):
        if number:
            yield ""
        yield log["Name"]
        if log["Clipped"]:
            yield f"[{log['Clipped']} bytes before are not kept]"
        yield from log["Text"].splitlines()


COMMANDS = {
    "builder history": (
        Command(
            "builder history",
            "[OPTIONS] [BUILD]",
            "List builds, or show what the steps of one took and said",
            (
                string("format", "'json', or the table without it", "f"),
                switch("logs", "Show what the steps of the build said"),
            ),
            0,
            1,
            examples=(
                "darse build history\n# the steps of the last build of an image, with their times\n"
                "darse build history app\ndarse build history --logs app"
            ),
        ),
        history,
    )
}
