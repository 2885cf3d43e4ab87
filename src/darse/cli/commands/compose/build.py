"""`darse compose build`: the images of a project's services, built beside each other."""

from __future__ import annotations

import json
import sys

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.building import BuildSettings, build_graph, build_services, build_words, with_arguments
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.projects import load
from darse.cli.errors import CliError
from darse.compose.errors import ComposeError
from darse.compose.operations.session import ProjectSession


def build(invocation: Invocation) -> int:
    """Build the images of services, or print how they would be built."""
    options = invocation.options
    if options.progress not in ("", "auto", "tty", "plain", "json", "rawjson", "quiet"):
        raise CliError(f'unsupported --progress value "{options.progress}"')
    project = load(invocation, invocation.arguments, without_dependencies=not options.with_dependencies)
    built = [name for name, service in project.services.items() if service.build is not None]
    settings = with_arguments(BuildSettings.of(invocation), options)
    if not built:
        sys.stderr.write("No services to build\n")
        return 0
    if options.print:
        try:
            words = {name: build_words(project, name, settings, ".") for name in build_graph(project, built)}
        except ComposeError as error:
            raise CliError(str(error)) from error
        sys.stdout.write(json.dumps({name: ["darse", "build", *found] for name, found in words.items()}, indent=2))
        sys.stdout.write("\n")
        return 0

    async def operation(session: ProjectSession) -> None:
        await build_services(invocation, session, built, settings)

    return run(invocation, project.name, project, operation)
