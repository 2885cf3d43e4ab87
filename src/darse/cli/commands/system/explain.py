"""`explain`: the story of what was done to a container, step by step, with the shell command that does the same.

Of a build it is the graph of its steps: what was in the cache, what was not, and why.
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

from darse.cli.command_line.flags import Command, string, terminal_width
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import ApiError, CliError
from darse.cli.output import shell, table
from darse.client.requests import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.system import NameLookupDocument, NameQueryDocument, OperationDocument

_BAR = 10
_WIDE_ENOUGH_FOR_BAR = 110
# What is left for words before they go below the figures.
_NARROWEST = 30
# What of a list is left for names before other columns leave it.
_NAMES = 20


def explain(invocation: Invocation) -> int:
    """Print the last operation on a container, or the last pull of an image; without one what is on record."""
    options = invocation.options
    if not invocation.arguments:
        return _list(invocation)
    container = options.from_
    if container:
        return _lookup(invocation, container)
    if len(invocation.arguments) > 1:
        raise CliError("a name is looked up from a container: darse explain dns NAME --from CONTAINER", 125)
    if options.last == "build":
        return _build(invocation)
    try:
        operation = invocation.client.do(system.explain(invocation.arguments[0], last=options.last))
    except ApiError as error:
        # A build, or an image that was built here: it has no pull.
        if options.last or error.http_status != 404 or not _is_build(invocation):
            raise
        return _build(invocation)
    if options.format == "json":
        from darse.cli.output.inspect import indented

        sys.stdout.write(indented(operation) + "\n")
    elif options.format:
        sys.stdout.write(_templated(options.format, operation) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in story(operation, invocation.arguments[0])))
    return 0


def _is_build(invocation: Invocation) -> bool:
    from darse.cli.building import build_graph

    return build_graph.is_known(invocation.client, invocation.arguments[0])


def _build(invocation: Invocation) -> int:
    """Print the graph of a build."""
    from darse.cli.building import build_graph

    return build_graph.show(invocation.client, invocation.arguments[0], invocation.options.format)


def _lookup(invocation: Invocation, container: str) -> int:
    """Print how a name is looked up from a container."""
    kind, *names = invocation.arguments
    if kind != "dns" or len(names) != 1:
        raise CliError("--from goes with a name that is looked up: darse explain dns NAME --from CONTAINER", 125)
    found = invocation.client.do(system.explain_lookup(container, names[0]))
    if invocation.options.format == "json":
        from darse.cli.output.inspect import indented

        sys.stdout.write(indented(found) + "\n")
    elif invocation.options.format:
        sys.stdout.write(_templated(invocation.options.format, found) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lookup_story(found)))
    return 0


def lookup_story(found: NameLookupDocument) -> Iterator[str]:
    """The lines: where the container looks, then each query with the rule by which it is answered, and the answer."""
    columns = terminal_width() if sys.stdout.isatty() else 0
    settings = f"servers {' '.join(found['servers']) or 'none'}; ndots {found['ndots']}"
    if found["search"]:
        settings += f"; search {' '.join(found['search'])}"
    yield from _wrapped(f"{found['name']} from {found['container']} (resolv.conf: {settings})", columns)
    yield ""
    if found["hosts"]:
        yield f"/etc/hosts has it: {' '.join(found['hosts'])}"
    elif found["note"]:
        yield from _wrapped(found["note"], columns)
    else:
        rows = ["NAME\tTYPE\tWHY\tANSWER"]
        for one in found["queries"]:
            answer = " ".join(one["answers"]) or _CODES.get(one["code"], f"code {one['code']}")
            rows.append("\t".join([one["name"], one["type"], _why(one), answer]))
        yield from table.align("\n".join(rows) + "\n").splitlines()


_CODES = {0: "known, without such an address", 2: "SERVFAIL", 3: "NXDOMAIN: there is no such name", 5: "REFUSED"}


def _why(query: NameQueryDocument) -> str:
    match query["rule"]:
        case "name":
            return f"a name on network {query['network']}"
        case "link":
            return f"a link to {query['target']} on network {query['network']}"
        case "forwarded":
            return f"asked of {', '.join(query['servers'])} from {query['origin']}"
        case "internal":
            return "not asked outside: all networks are internal"
        case "ndots":
            return "not asked outside: ndots is set, and it has no dot"
        case _:
            return "not asked outside: there are no servers"


def _list(invocation: Invocation) -> int:
    """The operations that are on record, the newest first."""
    found = invocation.client.do(system.recorded_operations()) or []
    if invocation.options.last:
        found = [one for one in found if one["name"] == invocation.options.last]
    if invocation.options.format == "json":
        from darse.cli.output.inspect import indented

        sys.stdout.write(indented(found) + "\n")
        return 0
    if invocation.options.format:
        raise CliError("the format of a list of operations is json, or none")
    rows = ["CONTAINER ID\tNAMES\tOPERATION\tWHEN\tTOOK\tSTEPS\tOUTCOME"]
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["started_at_ns"] / 1e9))
        took = f"{_milliseconds(one['duration_ns'])} ms"
        outcome = str(one["outcome"]).partition(":")[0]
        rows.append("\t".join([one["id"][:12], one["container"], one["name"], when, took, str(one["steps"]), outcome]))
    text = "\n".join(rows) + "\n"
    if sys.stdout.isatty():
        text = table.fit(text, terminal_width(), spare=("STEPS", "CONTAINER ID", "TOOK"), elastic={"NAMES": _NAMES})
    else:
        text = table.align(text)
    sys.stdout.write(text)
    return 0


def _templated(source: str, operation: Any) -> str:
    from darse.cli.templates import Template, TemplateError

    try:
        return Template(source).of_json(operation)
    except TemplateError as error:
        raise CliError(f"template parsing error: {error}", 64) from error


def story(operation: OperationDocument, container: str) -> Iterator[str]:
    """The lines: when each step began and how long it took, in milliseconds, and its share of the whole."""
    total, steps = operation["duration_ns"], operation["steps"]
    begun = operation["started_at_ns"]
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begun / 1e9))
    subject = operation["subject"].removeprefix("sha256:")
    columns = terminal_width() if sys.stdout.isatty() else 0
    yield from _wrapped(f"{operation['name']} {container}{f' ({subject[:12]})' if subject else ''}, {when}", columns)
    yield from _wrapped(f"{operation['outcome']} in {_milliseconds(total)} ms, {len(steps)} steps", columns)
    if not steps:
        return
    yield ""
    names = shell.short_names(steps, subject)
    if names:
        for value, name in names.items():
            yield from shell.folded(f"  $ {name}={value}", columns)
        yield ""
    kinds = max(len(step["kind"]) for step in steps)
    bar_width = _BAR if not columns or columns >= _WIDE_ENOUGH_FOR_BAR else 0
    indent = " " * (8 + 7 + 5 + bar_width + kinds + (10 if bar_width else 8))
    if columns and columns - len(indent) < _NARROWEST:
        indent = "    "
    room = columns - len(indent) if columns else 0
    gap = f"{'':<{bar_width}}  " if bar_width else ""
    yield f"{'AT':>8}  {'TOOK':>7}  {'SHARE':>5}  {gap}{'KIND':<{kinds}}  WHAT"
    measured = 0
    for step in steps:
        duration = step["duration_ns"]
        measured += duration
        share = duration / total if total else 0
        bar = f"{'#' * round(min(share, 1) * bar_width):<{bar_width}}  " if bar_width else ""
        head = (
            f"{_milliseconds(step['begin_ns'] - begun):>8}  {_milliseconds(duration):>7}  {share:>5.0%}  "
            f"{bar}{step['kind']:<{kinds}}"
        )
        summary = shell.shortened(step["summary"], names)
        first, *more = _wrapped(summary, room)
        if len(head) + 2 == len(indent):
            yield f"{head}  {first}"
        else:
            yield head.rstrip()
            more.insert(0, first)
        yield from (f"{indent}{line}" for line in more)
        yield from shell.typed(step["command"], indent, columns, names)
        if step.get("failed"):
            yield from (f"{indent}{line}" for line in _wrapped(f"failed: {step['failed']}", room))
    yield ""
    # Steps may overlap, in threads; then there is no rest to tell of.
    rest = max(total - measured, 0)
    yield f"{_milliseconds(rest):>8} ms of it ({rest / total if total else 0:.0%}) in the engine itself"


def _wrapped(text: str, columns: int) -> list[str]:
    return (textwrap.wrap(text, columns, break_on_hyphens=False) if columns else []) or [text]


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.2f}"


COMMANDS = {
    "explain": (
        Command(
            "explain",
            "[OPTIONS] [CONTAINER|IMAGE|BUILD|dns NAME]",
            "Show what was done to a container, by a pull or a build, step by step",
            (
                string("format", "'json', or a Go template; of a build 'json' or 'svg'", "f"),
                string("from", "With 'dns': the container from which the name is looked up", value="container"),
                string(
                    "last",
                    'Which operation: "create", "start", "exec", "stop", ..., or "pull" or "build" of an image '
                    "(default: the newest that is no ending)",
                ),
            ),
            0,
            2,
        ),
        explain,
    )
}
