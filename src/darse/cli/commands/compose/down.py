"""`darse compose down` and `rm`: what a project has on the engine is removed, or its stopped containers only."""

from __future__ import annotations

import sys

from darse.cli.command_line.invocation import Invocation, confirm
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.projects import load_or_name
from darse.cli.errors import CliError
from darse.compose.operations import lifecycle
from darse.compose.operations.down import down as take_down
from darse.compose.operations.session import ProjectSession


def down(invocation: Invocation) -> int:
    """Stop and remove what `up` made; volumes stay without -v."""
    options = invocation.options
    if options.rmi not in ("", "all", "local"):
        raise CliError(f'invalid value for --rmi: "{options.rmi}"')
    name, project = load_or_name(invocation)

    async def operation(session: ProjectSession) -> None:
        await take_down(
            session,
            invocation.arguments,
            remove_orphans=options.remove_orphans,
            volumes=options.volumes,
            images=options.rmi,
            seconds=options.timeout,
        )

    return run(invocation, name, project, operation)


def remove(invocation: Invocation) -> int:
    """Remove containers that do not run."""
    options = invocation.options
    name, project = load_or_name(invocation)

    async def operation(session: ProjectSession) -> None:
        if options.stop:
            await lifecycle.stop(session, invocation.arguments)
        found = lifecycle.of_services(await session.containers(), invocation.arguments, session)
        stopped = [one for one in found if not one.is_running and one.state != "paused"]
        if not stopped:
            sys.stderr.write("No stopped containers\n")
            return
        names = ", ".join(one.name for one in stopped)
        if options.force:
            sys.stdout.write(f"Going to remove {names}\n")
        if not options.force and not session.dry_run and not confirm(f"Going to remove {names}"):
            return
        await lifecycle.remove(session, stopped, volumes=options.volumes)

    return run(invocation, name, project, operation)
