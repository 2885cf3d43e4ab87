"""`explain`: the story of what was done to a container, step by step, with the shell command that does the same."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from darse.cli.client import quote
from darse.cli.errors import CliError
from darse.cli.flags import Command, string
from darse.cli.invocation import Invocation

_BAR = 10


def explain(invocation: Invocation) -> int:
    """Print the last operation on a container."""
    options = invocation.options
    path = f"/darse/explain/{quote(invocation.arguments[0])}"
    operation = invocation.client.call("GET", path, {"last": options.last or None})
    if options.format == "json":
        from darse.cli.inspecting import indented

        sys.stdout.write(indented(operation) + "\n")
    elif options.format:
        sys.stdout.write(_templated(options.format, operation) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in story(operation, invocation.arguments[0])))
    return 0


def _templated(source: str, operation: Any) -> str:
    from darse.cli.templates import Template, TemplateError

    try:
        return Template(source).of_json(operation, missing_key_is_error=True)
    except TemplateError as error:
        raise CliError(f"template parsing error: {error}", 64) from error


def story(operation: dict[str, Any], container: str) -> Iterator[str]:
    """The lines: when each step began and how long it took, in milliseconds, and its share of the whole."""
    total, steps = operation["duration_ns"], operation["steps"]
    begun = operation["started_at_ns"]
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begun / 1e9))
    yield f"{operation['name']} {container} ({operation['subject'][:12]}), {when}"
    yield f"{operation['outcome']} in {_milliseconds(total)} ms, {len(steps)} steps"
    if not steps:
        return
    yield ""
    kinds = max(len(step["kind"]) for step in steps)
    yield f"{'AT':>8}  {'TOOK':>7}  {'SHARE':>5}  {'':<{_BAR}}  {'KIND':<{kinds}}  WHAT"
    measured = 0
    for step in steps:
        duration = step["duration_ns"]
        measured += duration
        share = duration / total if total else 0
        bar = "#" * round(min(share, 1) * _BAR)
        yield (
            f"{_milliseconds(step['begin_ns'] - begun):>8}  {_milliseconds(duration):>7}  {share:>5.0%}  "
            f"{bar:<{_BAR}}  {step['kind']:<{kinds}}  {step['summary']}"
        )
        indent = " " * (8 + 7 + 5 + _BAR + kinds + 10)
        for line in _shell(step["command"]):
            yield f"{indent}{line}"
        if step.get("failed"):
            yield f"{indent}failed: {step['failed']}"
    yield ""
    # Steps may overlap, in threads; then there is no rest to tell of.
    rest = max(total - measured, 0)
    yield f"{_milliseconds(rest):>8} ms of it ({rest / total if total else 0:.0%}) in the engine itself"


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.2f}"


def _shell(command: list[str]) -> Iterator[str]:
    """A command as one types it. What has lines of its own is shown as a here-document."""
    if not command:
        return
    import shlex

    if ";" in command:
        split = command.index(";")
        yield from _shell(command[:split])
        yield from _shell(command[split + 1 :])
        return
    *words, last = command
    if words and "\n" in last:
        yield f"$ {shlex.join(words)} <<'END'"
        yield from (f"  {line}" for line in last.splitlines())
        yield "  END"
    else:
        yield f"$ {shlex.join(command)}"


COMMANDS = {
    "explain": (
        Command(
            "explain",
            "[OPTIONS] CONTAINER",
            "Show what was done to a container, step by step",
            (
                string("format", "'json', or a Go template", "f"),
                string("last", 'Which operation: "create", "start", "exec", "stop", ... (default: the newest)'),
            ),
            1,
            1,
        ),
        explain,
    )
}
