"""A build as a graph: each step with what it was made from, whether it was in the cache, and why not.

As text, a step a line, numbered; and as SVG, a step a box below those that it needs.
"""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import terminal_width
from darse.cli.commands.build.history import beside, heading
from darse.cli.errors import CliError
from darse.client.requests import builds
from darse.drawings.builds import seconds, svg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from darse.client.blocking import Client
    from darse.client.documents.builds import BuildDocument, BuildEntryDocument

    Steps = Sequence[Mapping[str, Any]]


def is_known(client: Client, build: str) -> bool:
    """Whether there is such a build."""
    return any(
        one["ID"].startswith(build)
        or build in one["Names"]
        or f"{build}:latest" in one["Names"]
        or _is_image(one, build)
        for one in client.do(builds.list_builds()) or ()
    )


def _is_image(build: BuildEntryDocument, name: str) -> bool:
    identifier = build["Image"].removeprefix("sha256:")
    return bool(identifier) and identifier.startswith(name.removeprefix("sha256:"))


def show(client: Client, build: str, form: str) -> int:
    """Print the graph of a build: as text, or as `json` or `svg`. Raises CliError."""
    found = client.do(builds.inspect(build))
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


def text(build: BuildDocument) -> Iterator[str]:
    """The lines."""
    steps = build["Steps"]
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
