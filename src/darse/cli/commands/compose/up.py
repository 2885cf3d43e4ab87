"""`darse compose up`, `create` and `scale`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

from darse.cli.command_line.flags import Options
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.lines import LinePrinter, short_name
from darse.cli.commands.compose.menu import WatchSwitch, has_menu, shortcuts
from darse.cli.commands.compose.progress import uses_colours
from darse.cli.commands.compose.projects import load
from darse.cli.commands.compose.unchanged import remember
from darse.cli.errors import CliError
from darse.compose.model.project import Project
from darse.compose.operations.conditions import RUNNING_OR_HEALTHY
from darse.compose.operations.images import ALWAYS, MISSING, ensure_images
from darse.compose.operations.images import NEVER as NEVER_BUILD
from darse.compose.operations.lifecycle import kill, stop
from darse.compose.operations.logs import LogLine, ProjectLogFollower
from darse.compose.operations.providers import run_providers
from darse.compose.operations.session import ProjectSession
from darse.compose.operations.up import UpExecution, wait_until_up
from darse.compose.plan.up import DIVERGED, FORCE, NEVER, UpOptions, plan_up

_INTERRUPTED = 130


def up(invocation: Invocation) -> int:
    """Create and start containers; without -d follow them until they end, or the user stops them."""
    options = invocation.options
    _check(options)
    detached = options.detach or options.wait or options.no_start or options.dry_run
    project = load(invocation, invocation.arguments, without_dependencies=options.no_deps)
    _scale(project, options.scale)
    if options.exit_code_from and options.exit_code_from not in project.services:
        raise CliError(f"no such service: {options.exit_code_from}")

    async def operation(session: ProjectSession) -> int:
        execution = await brought_up(session, options, invocation.arguments, start=not options.no_start)
        if options.wait:
            await wait_until_up(session, execution, RUNNING_OR_HEALTHY, options.wait_timeout or None)
        if detached or session.dry_run:
            remember(invocation, project, execution)
            return 0
        return await _attached(session, execution, invocation, services=_followed(project, invocation))

    return run(invocation, project.name, project, operation)


def _check(options: Options) -> None:
    if options.build and options.no_build:
        raise CliError("--build and --no-build are incompatible")
    if options.force_recreate and options.no_recreate:
        raise CliError("--force-recreate and --no-recreate are incompatible")
    if options.pull not in ("", "policy", "always", "missing", "never", "build"):
        raise CliError(f"invalid --pull option {options.pull!r}")
    if not hasattr(options, "wait"):
        return
    ends = options.abort_on_container_exit or options.abort_on_container_failure or options.exit_code_from
    if (options.detach or options.wait) and ends:
        raise CliError(
            "--wait and --detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure and "
            "--exit-code-from"
        )
    if options.watch and (options.detach or options.wait or options.no_start):
        raise CliError("--watch cannot be combined with --detach, --wait and --no-start")
    if options.always_recreate_deps and options.no_recreate:
        raise CliError("--always-recreate-deps and --no-recreate are incompatible")
    if options.attach and options.attach_dependencies:
        raise CliError("cannot combine --attach and --attach-dependencies")


def _scale(project: Project, texts: Sequence[str]) -> None:
    for text in texts:
        name, equals, count = text.partition("=")
        if not equals or not count.isdecimal():
            raise CliError(f"invalid --scale option {text!r}. Should be SERVICE=NUM")
        if name not in project.services:
            raise CliError(f"no such service: {name}")
        project.services[name].scale = int(count)


async def brought_up(
    session: ProjectSession, options: Options, services: Sequence[str], *, start: bool, keep_others: bool = False
) -> UpExecution:
    """Have the images of services, then the containers, and start these.

    `keep_others`: the containers of services that are not named stay as they are. Raises ComposeError and ClientError.
    """
    await run_providers(session, "up")
    project = session.project
    assert project is not None
    policy = "" if options.pull == "policy" else options.pull
    images, actual = await asyncio.gather(
        ensure_images(
            session,
            project.services,
            policy=policy,
            quiet=getattr(options, "quiet_pull", False),
            build=ALWAYS if options.build else NEVER_BUILD if options.no_build else MISSING,
        ),
        session.state(),
    )
    recreate = FORCE if options.force_recreate else NEVER if options.no_recreate else DIVERGED
    always = getattr(options, "always_recreate_deps", False)
    plan = plan_up(
        project,
        actual,
        UpOptions(
            services=tuple(services),
            recreate=recreate,
            recreate_dependencies=FORCE if always else NEVER if options.no_recreate or keep_others else DIVERGED,
            remove_orphans=getattr(options, "remove_orphans", False),
            start=start,
            images={name: facts.id for name, facts in images.items()},
        ),
    )
    execution = UpExecution(
        session,
        plan,
        actual,
        images,
        seconds=getattr(options, "timeout", None),
        keep_anonymous=not getattr(options, "renew_anon_volumes", False),
    )
    await execution.prepare()
    if start:
        await execution.start()
    return execution


def _followed(project: Project, invocation: Invocation) -> frozenset[str]:
    """The services whose output is shown."""
    options = invocation.options
    names = set(options.attach) or (
        set(invocation.arguments) if invocation.arguments and not options.attach_dependencies else set(project.services)
    )
    return frozenset(
        name
        for name in names - set(options.no_attach)
        if name in options.attach or project.services[name].attach is not False
    )


class _Attachment:
    """What happens while `up` follows its containers: they end, or the user stops them."""

    def __init__(self, session: ProjectSession, options: Options, menu: contextlib.ExitStack) -> None:
        """`menu` is closed when the end begins."""
        self._session = session
        self._options = options
        self._menu = menu
        self.status = 0
        self.stopping: asyncio.Task[None] | None = None
        self._is_killing = False

    def ended(self, name: str, service: str, status: int) -> None:
        """A container has ended."""
        options = self._options
        self._session.settle()
        sys.stdout.write(f"{short_name(self._session.name, name)} exited with code {status}\n")
        sys.stdout.flush()
        aborts = options.abort_on_container_exit or options.exit_code_from
        aborts = aborts or (options.abort_on_container_failure and status != 0)
        if options.exit_code_from == service or (not options.exit_code_from and aborts and self.stopping is None):
            self.status = status
        if aborts and self.stopping is None:
            sys.stderr.write("Aborting on container exit...\n")
            self._stop()

    def interrupted(self) -> None:
        """The user wants an end: first in peace, then at once."""
        if self.stopping is None:
            self.status = _INTERRUPTED
            sys.stderr.write("Gracefully Stopping... press Ctrl+C again to force\n")
            self._stop()
        elif not self._is_killing:
            self._is_killing = True
            self.stopping = asyncio.create_task(self._kill(self.stopping))

    def _stop(self) -> None:
        self._menu.close()
        names = list(self._session.project.services) if self._session.project is not None else []
        self.stopping = asyncio.create_task(stop(self._session, names, seconds=self._options.timeout))

    async def _kill(self, stopping: asyncio.Task[None]) -> None:
        names = list(self._session.project.services) if self._session.project is not None else []
        await kill(self._session, names, signal="SIGKILL")
        await asyncio.gather(stopping, return_exceptions=True)


async def _attached(
    session: ProjectSession, execution: UpExecution, invocation: Invocation, *, services: frozenset[str]
) -> int:
    options = invocation.options
    mine = {identifier for found in execution.containers.values() for _, identifier in found.values()}
    containers = [one for one in await session.containers(one_off=False) if one.id in mine]
    shown = [one for one in containers if one.service in services]
    printer = LinePrinter(
        session.name,
        [one.name for one in shown],
        prefix=not options.no_log_prefix,
        timestamps=options.timestamps,
        colours=not options.no_color and uses_colours(invocation, 1),
    )
    names = ", ".join(short_name(session.name, one.name) for one in shown)
    session.settle()
    sys.stdout.write(f"Attaching to {names}\n")
    sys.stdout.flush()
    menu = contextlib.ExitStack()
    attachment = _Attachment(session, options, menu)

    def show(line: LogLine) -> None:
        if line.service in services:
            session.settle()
            printer.show(line)

    follower = ProjectLogFollower(
        session,
        show,
        services=frozenset(session.project.services if session.project is not None else ()),
        on_exit=attachment.ended,
    )
    loop = asyncio.get_running_loop()
    for number_ in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number_, attachment.interrupted)
    watching = WatchSwitch(session, invocation.arguments)
    if options.watch:
        watching.start()
    following = asyncio.ensure_future(follower.follow(containers))
    with menu:
        if has_menu(invocation, session):
            menu.enter_context(shortcuts(invocation, session, watching, lambda: _let_go(follower, following)))
        try:
            await following
        except asyncio.CancelledError:
            pass  # the user has let go: everything runs on
        finally:
            await watching.stop()
    if attachment.stopping is not None:
        await attachment.stopping
    return attachment.status


def _let_go(follower: ProjectLogFollower, following: asyncio.Future[None]) -> None:
    follower.stop()
    following.cancel()


def create(invocation: Invocation) -> int:
    """Create the containers of services, and start none."""
    options = invocation.options
    _check(options)
    project = load(invocation, invocation.arguments)
    _scale(project, options.scale)

    async def operation(session: ProjectSession) -> None:
        await brought_up(session, options, invocation.arguments, start=False)

    return run(invocation, project.name, project, operation)


def scale(invocation: Invocation) -> int:
    """Give services so many containers."""
    for text in invocation.arguments:
        if "=" not in text:
            raise CliError(f"invalid scale specifier: {text}")
    names = [text.partition("=")[0] for text in invocation.arguments]
    project = load(invocation, names, without_dependencies=invocation.options.no_deps)
    _scale(project, invocation.arguments)
    options = invocation.options
    vars(options)["pull"] = ""
    for name in ("build", "no_build", "force_recreate", "no_recreate"):
        setattr(options, name, False)

    async def operation(session: ProjectSession) -> None:
        await brought_up(session, options, names, start=True)

    return run(invocation, project.name, project, operation)
