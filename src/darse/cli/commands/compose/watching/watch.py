"""`darse compose watch`: bring a project up, and changed files to its containers, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys

from darse.cli.command_line.flags import Options
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.projects import load
from darse.cli.commands.compose.up import brought_up
from darse.cli.commands.compose.watching.file_changes import FileChanges, ignorer, tree
from darse.client.errors import ClientError
from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.operations.development import DevelopmentWatch, WatchTrigger, check_triggers
from darse.compose.operations.session import ProjectSession

_UP_FLAGS = ("force_recreate", "no_recreate", "no_build", "remove_orphans")


def watch(invocation: Invocation) -> int:
    """Bring services up, and watch their files."""
    options = invocation.options
    project = load(invocation, invocation.arguments)

    async def operation(session: ProjectSession) -> None:
        found = triggers(project, invocation.arguments)
        if not options.no_up:
            await brought_up(session, up_options(build=True), invocation.arguments, start=True)
        if session.dry_run:
            return
        watching = asyncio.create_task(follow(session, found))
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, watching.cancel)
        await asyncio.gather(watching, return_exceptions=True)
        if not watching.cancelled() and (error := watching.exception()) is not None:
            raise error

    return run(invocation, project.name, project, operation)


def up_options(*, build: bool, no_recreate: bool = False) -> Options:
    """The options of an `up` that nobody typed."""
    options = Options(())
    for name in _UP_FLAGS:
        setattr(options, name, False)
    for name, value in {"build": build, "pull": "", "no_recreate": no_recreate}.items():
        setattr(options, name, value)
    return options


def triggers(project: Project, services: list[str]) -> list[WatchTrigger]:
    """What is watched, and what of it is not meant. Raises ComposeError."""
    found = []
    for name, one in check_triggers(project, services or list(project.services)):
        build = project.services[name].build
        context = build.context if build is not None else ""
        found.append(WatchTrigger(name, one, ignorer(one.path, one.ignore, one.include, context)))
    return found


async def follow(session: ProjectSession, found: list[WatchTrigger]) -> None:
    """Watch until this is cancelled; a change that cannot be brought to containers is reported."""

    async def rebuild(services: list[str]) -> None:
        # The image is built, and only these containers are made anew.
        await session.build(services)
        await brought_up(session, up_options(build=False), services, start=True, keep_others=True)
        session.settle()

    def say(text: str) -> None:
        session.settle()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    development = DevelopmentWatch(session, found, rebuild, say)

    def is_left_out(directory: str) -> bool:
        return all(one.ignores(directory) or not _concerns(one, directory) for one in found)

    with FileChanges([one.watch.path for one in found], is_left_out) as changes:
        newer = [
            path
            for one in found
            if one.watch.initial_sync
            for path, is_directory in tree(one.watch.path, is_left_out)
            if not is_directory
        ]
        await development.changed(newer, only_first=True)
        say("Watch enabled")
        async for paths in changes.batches():
            try:
                await development.changed(sorted(paths))
            except (ClientError, ComposeError) as error:
                session.warn(str(error))


def _concerns(trigger: WatchTrigger, directory: str) -> bool:
    return (directory + "/").startswith(trigger.watch.path.rstrip("/") + "/")
