"""`ps`: the list of containers."""

from __future__ import annotations

import sys

from darse.cli.command_line.flags import Command, listing, number, parse_filters, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.cli.output.container_rows import HEADINGS, ContainerRow, default_format
from darse.cli.output.format import FORMAT_HELP, placeholders, write
from darse.client.requests import containers


def list_containers(invocation: Invocation) -> int:
    """Print the containers."""
    options = invocation.options
    source = options.format
    if not source:
        source = invocation.settings.member("psFormat", str)
    elif options.quiet:
        sys.stderr.write("WARNING: Ignoring custom format, because both --format and --quiet are set.\n")
    size = options.size
    if source and "size" not in options.given and not options.quiet:
        size = _uses_size(source)
    last = 1 if options.latest and options.last == -1 else options.last
    found = invocation.client.do(
        containers.list_containers(
            all=options.all,
            limit=last if last > 0 else None,
            size=size,
            filters=parse_filters(options.filter),
        )
    )
    rows = (ContainerRow(one, truncate=not options.no_trunc) for one in found)
    is_default = source in ("", "table") and not options.no_trunc
    write(default_format(source, quiet=options.quiet, size=size), rows, HEADINGS, may_fit=is_default)
    return 0


def _uses_size(source: str) -> bool:
    """Whether a template asks for sizes, which take the engine long to find out. Raises CliError."""
    pieces = placeholders(source)
    if pieces is not None and all(name in HEADINGS for name in pieces[1::2]):
        return "Size" in pieces[1::2]
    from darse.cli.templates import Template, TemplateError

    probe = ContainerRow({})
    try:
        template = Template(source)
    except TemplateError as error:
        raise CliError(f"failed to parse template: {error}") from error
    try:
        template.execute(probe)
    except TemplateError as error:
        raise CliError(f"failed to execute template: {error}") from error
    return probe.size_was_asked


COMMANDS = {
    "container ls": (
        Command(
            "container ls",
            "[OPTIONS]",
            "List containers",
            (
                switch("all", "Show all containers (default shows just running)", "a"),
                listing("filter", "Filter output based on conditions provided", "f", "filter"),
                string("format", FORMAT_HELP),
                number("last", "Show n last created containers (includes all states)", "n", default=-1),
                switch("latest", "Show the latest created container (includes all states)", "l"),
                switch("no-trunc", "Don't truncate output"),
                switch("quiet", "Only display container IDs", "q"),
                switch("size", "Display total file sizes", "s"),
            ),
        ),
        list_containers,
    )
}
