"""`darse compose logs`: what the services of a project print, each line after the name of its container."""

from __future__ import annotations

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.lines import LinePrinter
from darse.cli.commands.compose.progress import uses_colours
from darse.cli.commands.compose.projects import load_or_name
from darse.cli.commands.containers.logs import moment
from darse.client.requests import system as system_requests
from darse.compose.operations.lifecycle import of_services
from darse.compose.operations.logs import LogSelection, ProjectLogFollower, history
from darse.compose.operations.session import ProjectSession


def logs(invocation: Invocation) -> int:
    """Print what services have printed, in the order of time, and with --follow what comes."""
    options = invocation.options
    name, project = load_or_name(invocation)
    since, until = moment(options.since, "since") or "", moment(options.until, "until") or ""

    async def operation(session: ProjectSession) -> None:
        found = of_services(await session.containers(one_off=False), invocation.arguments, session)
        if options.index is not None:
            found = [one for one in found if one.number == options.index]
        printer = LinePrinter(
            name,
            [one.name for one in found],
            prefix=not options.no_log_prefix,
            timestamps=options.timestamps,
            colours=not options.no_color and uses_colours(invocation, 1),
            one_stream=True,  # as docker compose, unlike `docker logs`: `compose logs | grep` finds errors
        )
        # Where the past ends and what comes begins is a time of the engine's clock.
        now = (await session.client.do(system_requests.info())).SystemTime if options.follow else ""
        for line in await history(session, found, LogSelection(options.tail, since, now or until)):
            printer.show(line)
        if options.follow:
            services = frozenset(one.service for one in found)
            await ProjectLogFollower(session, printer.show, services=services).follow(
                [one for one in found if one.is_running or one.state == "paused"], now
            )

    return run(invocation, name, project, operation)
