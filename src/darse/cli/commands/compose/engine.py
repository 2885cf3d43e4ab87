"""From a command line to a session on an engine: the project, the client, the progress, and how failures end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.flags import warn
from darse.cli.commands.compose.progress import chosen_progress, is_dry_run
from darse.cli.errors import CliError
from darse.client.asynchronous import AsyncClient
from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.operations.session import ProjectSession

Operation = Callable[[ProjectSession], Awaitable["int | None"]]


def run(invocation: Invocation, name: str, project: Project | None, operation: Operation) -> int:
    """Run an operation to its end; its result is the exit status. Raises CliError."""
    progress = chosen_progress(invocation)
    dry_run = is_dry_run(invocation)
    settings = invocation.settings

    def credentials(image: str) -> str:
        from darse.cli.settings.credentials import encode, key_of, usable
        from darse.image_spec.references import split

        return encode(usable(settings, key_of(split(image).domain)))

    def docker_config() -> bytes:
        import json

        from darse.cli.settings.credentials import all_of, entry

        found = {server: entry(one) for server, one in all_of(settings).items()}
        return json.dumps({"auths": found}).encode() if found else b""

    def report(text: str) -> None:
        progress.close()
        warn(text)

    async def main() -> int:
        async with AsyncClient(settings.endpoint()) as client:
            session = ProjectSession(
                client,
                name,
                project,
                progress.show,
                report,
                dry_run=dry_run,
                credentials=credentials,
                settle=progress.close,
                build=lambda session, services: _built(invocation, session, services),
                parallel=parallel(invocation),
                docker_config=docker_config,
            )
            try:
                return await operation(session) or 0
            finally:
                progress.close()

    try:
        return asyncio.run(main())
    except ComposeError as error:
        raise CliError(str(error)) from error


async def _built(invocation: Invocation, session: ProjectSession, services: Sequence[str]) -> None:
    from darse.cli.commands.compose.building import BuildSettings, build_services

    await build_services(invocation, session, services, BuildSettings.of(invocation))


def parallel(invocation: Invocation) -> int:
    """How much is done beside each other at most; -1 for any number. Raises CliError."""
    given = invocation.group_options.parallel if invocation.group_options is not None else None
    text = str(given) if given is not None else os.environ.get("COMPOSE_PARALLEL_LIMIT", "") or "-1"
    try:
        found = int(text)
    except ValueError:
        raise CliError(f"COMPOSE_PARALLEL_LIMIT must be an integer (found: {text!r})") from None
    return found if found > 0 else -1
