"""`darse compose run` and `exec`: a command in a container of its own, and in one that runs."""

from __future__ import annotations

import os
import shlex
import sys

from darse.cli.command_line.flags import Options
from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.containers import run_command
from darse.cli.commands.compose.engine import run
from darse.cli.commands.compose.listing import chosen
from darse.cli.commands.compose.progress import is_dry_run
from darse.cli.commands.compose.projects import load, load_or_name
from darse.cli.errors import CliError
from darse.client.requests import containers as container_requests
from darse.compose import dotenv
from darse.compose.errors import ComposeError
from darse.compose.model.service import ServicePort, ServiceVolume, ServiceVolumeBind
from darse.compose.operations.images import ImageFacts, ensure_images
from darse.compose.operations.one_off import RunOptions, create_one_off
from darse.compose.operations.providers import run_providers
from darse.compose.operations.session import ProjectSession
from darse.compose.operations.up import UpExecution
from darse.compose.plan.up import NEVER, UpOptions, plan_up


def execute(invocation: Invocation) -> int:
    """Run a process in a container of a service, and end with its status."""
    options = invocation.options
    service, *command = invocation.arguments
    name, project = load_or_name(invocation)
    container = chosen(invocation, name, project, service, options.index)
    has_terminal = not options.no_tty and os.isatty(0) and os.isatty(1)
    words = [] if options.detach else ["-i"]
    words += ["-d"] if options.detach else []
    words += ["-t"] if has_terminal and not options.detach else []
    words += ["--privileged"] if options.privileged else []
    words += [word for text in options.env for word in ("-e", text)]
    words += ["-u", options.user] if options.user else []
    words += ["-w", options.workdir] if options.workdir else []
    return run_command(invocation, "container exec", [*words, container["Id"], *command])


def run_one_off(invocation: Invocation) -> int:
    """Make a container for one command, and be its terminal; what its service depends on is brought up before."""
    options = invocation.options
    service, *command = invocation.arguments
    if options.service_ports and options.publish:
        raise CliError("--service-ports and --publish are incompatible")
    project = load(invocation, [service], without_dependencies=options.no_deps)
    made: list[tuple[str, str]] = []
    try:
        chosen_options = _options(invocation, command)
    except ComposeError as error:
        raise CliError(str(error)) from error

    async def operation(session: ProjectSession) -> None:
        policy = "" if options.pull == "policy" else options.pull
        await run_providers(session, "up")
        if options.build:
            await session.build([service] if project.services[service].build is not None else [])
        images = await ensure_images(session, project.services, policy=policy, quiet=options.quiet_pull)
        await _needed(session, service, images, options)
        if session.dry_run:
            return
        found = await create_one_off(session, service, chosen_options, images[service])
        made.append(found)
        if options.detach:
            await session.client.do(container_requests.start(found[1]))

    status = run(invocation, project.name, project, operation)
    if is_dry_run(invocation) or status:
        return status
    (name, identifier) = made[0]
    if options.detach:
        sys.stdout.write(f"{name}\n")
        return 0
    return _attached(invocation, identifier)


def _attached(invocation: Invocation, identifier: str) -> int:
    words = ["-a", *(["-i"] if invocation.options.interactive else [])]
    return run_command(invocation, "container start", [*words, identifier])


async def _needed(session: ProjectSession, service: str, images: dict[str, ImageFacts], given: Options) -> None:
    """Make the networks and volumes, bring up what a service depends on, and wait until that is as far as it asks."""
    import msgspec

    project = session.project
    assert project is not None
    dependencies = {name: one for name, one in project.services.items() if name != service and not given.no_deps}
    actual = await session.state()
    others = {name: one for name, one in project.services.items() if name not in dependencies}
    session.project = msgspec.structs.replace(project, services=dependencies, disabled=project.disabled | others)
    try:
        identifiers = {name: one.id for name, one in images.items()}
        options = UpOptions(
            recreate=NEVER,
            recreate_dependencies=NEVER,
            remove_orphans=given.remove_orphans,
            images=identifiers,
        )
        plan = plan_up(session.project, actual, options)
        execution = UpExecution(session, plan, actual, images)
        await execution.prepare()
        await execution.start()
        if dependencies:
            await execution.wait_for(project.services[service].depends_on)
    finally:
        session.project = project


def _options(invocation: Invocation, command: list[str]) -> RunOptions:
    options = invocation.options
    environment: dict[str, str | None] = {}
    if options.env_from_file:
        environment |= dotenv.read_files(options.env_from_file, dict(os.environ), lambda _name: None)
    for text in options.env:
        key, equals, value = text.partition("=")
        environment[key] = value if equals else os.environ.get(key)
    return RunOptions(
        command=command or None,
        entrypoint=shlex.split(options.entrypoint) if "entrypoint" in options.given else None,
        environment=environment,
        labels=dict(text.partition("=")[::2] for text in options.label),
        cap_add=options.cap_add,
        cap_drop=options.cap_drop,
        volumes=[_volume(text) for text in options.volume],
        ports=[port for text in options.publish for port in _ports(text)],
        name=options.name,
        user=options.user,
        working_dir=options.workdir,
        tty=not options.no_TTY and not options.no_tty and os.isatty(0) and os.isatty(1),
        interactive=options.interactive and not options.detach,
        service_ports=options.service_ports,
        use_aliases=options.use_aliases,
        remove=options.rm,
    )


def _volume(text: str) -> ServiceVolume:
    source, colon, rest = text.partition(":")
    if not colon:
        return ServiceVolume(type="volume", target=source)
    target, _, mode = rest.partition(":")
    read_only = "ro" in mode.split(",")
    if source.startswith(("/", ".", "~")):
        path = os.path.abspath(os.path.expanduser(source))
        bind = ServiceVolumeBind(create_host_path=True)
        return ServiceVolume(type="bind", source=path, target=target, read_only=read_only, bind=bind)
    return ServiceVolume(type="volume", source=source, target=target, read_only=read_only)


def _ports(text: str) -> list[ServicePort]:
    from darse.port_specs import InvalidPort, parse_publish

    try:
        found = parse_publish(text)
    except InvalidPort as error:
        raise ComposeError(str(error)) from error
    ports = []
    for key, binding in found:
        target, _, protocol = key.partition("/")
        ports.append(
            ServicePort(target=int(target), protocol=protocol, host_ip=binding["HostIp"], published=binding["HostPort"])
        )
    return ports
