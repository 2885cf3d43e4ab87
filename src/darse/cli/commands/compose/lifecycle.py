"""`darse compose start`, `stop`, `restart`, `kill`, `pause`, `unpause` and `wait`."""

from __future__ import annotations

import asyncio
import sys

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.engine import Operation, run
from darse.cli.commands.compose.projects import load_or_name
from darse.client.requests import containers as container_requests
from darse.compose.errors import ComposeError
from darse.compose.operations import lifecycle
from darse.compose.operations.conditions import RUNNING_OR_HEALTHY, StateWatch, wait_for
from darse.compose.operations.down import down
from darse.compose.operations.session import ProjectSession, together


def _run(invocation: Invocation, operation: Operation) -> int:
    name, project = load_or_name(invocation)
    return run(invocation, name, project, operation)


def start(invocation: Invocation) -> int:
    """Start containers that are there."""

    async def operation(session: ProjectSession) -> None:
        found = await lifecycle.start(session, invocation.arguments)
        if not invocation.options.wait or session.dry_run:
            return
        watch = StateWatch(session)
        async with watch.watching():
            async with asyncio.timeout(invocation.options.wait_timeout or None):
                await together(wait_for(session, watch, one.name, one.id, RUNNING_OR_HEALTHY) for one in found)

    return _run(invocation, operation)


def stop(invocation: Invocation) -> int:
    """Stop containers."""
    return _run(
        invocation,
        lambda session: lifecycle.stop(session, invocation.arguments, seconds=invocation.options.timeout),
    )


def restart(invocation: Invocation) -> int:
    """Restart containers."""
    options = invocation.options
    return _run(
        invocation,
        lambda session: lifecycle.restart(
            session, invocation.arguments, seconds=options.timeout, no_deps=options.no_deps
        ),
    )


def kill(invocation: Invocation) -> int:
    """Send a signal."""
    options = invocation.options

    async def operation(session: ProjectSession) -> None:
        found = await lifecycle.kill(
            session, invocation.arguments, signal=options.signal, remove_orphans=options.remove_orphans
        )
        if not found:
            sys.stderr.write("no container to kill\n")

    return _run(invocation, operation)


def pause(invocation: Invocation) -> int:
    """Freeze services."""
    return _run(invocation, lambda session: lifecycle.pause(session, invocation.arguments))


def unpause(invocation: Invocation) -> int:
    """Let services go on."""
    return _run(invocation, lambda session: lifecycle.pause(session, invocation.arguments, resume=True))


def wait(invocation: Invocation) -> int:
    """Wait until the containers of services have ended; the status is the first's that is not 0."""

    async def operation(session: ProjectSession) -> int:
        found = lifecycle.of_services(await session.containers(one_off=False), invocation.arguments, session)
        if not found:
            raise ComposeError(f'no containers for project "{session.name}"')
        waits = [asyncio.ensure_future(_wait(session, one.id, one.name)) for one in found]
        if invocation.options.down_project:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            statuses = [one.result() for one in waits if one.done()]
            await down(session)
            await asyncio.gather(*waits, return_exceptions=True)
        else:
            statuses = await together(waits)
        return next((status for status in statuses if status), 0)

    return _run(invocation, operation)


async def _wait(session: ProjectSession, container: str, name: str) -> int:
    ended = await session.client.do(container_requests.wait(container))
    sys.stdout.write(f'container "{name}" exited with status code {ended.StatusCode}\n')
    return ended.StatusCode
