"""Build the images of services, by the command's own build: beside each other, as far as they do not need each other.

`build` of a service becomes the flags of `darse build`; the labels and names of the images are docker compose's.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from darse.cli.building import build_progress
from darse.cli.building.build_flags import FLAGS
from darse.cli.building.joint_display import JointDisplay
from darse.cli.command_line.flags import Command, Options, parse
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.compose.desired import labels
from darse.compose.desired.names import image_name
from darse.compose.errors import ComposeError
from darse.compose.model.build import Build, ServiceUlimit
from darse.compose.model.project import Project
from darse.compose.operations.progress import DONE
from darse.compose.operations.session import ProjectSession, together

_SERVICE = "service:"
_DISPLAYS = {"quiet": "quiet", "plain": "plain", "tty": "tty", "json": "rawjson", "rawjson": "rawjson"}


@dataclass(frozen=True)
class BuildSettings:
    """What a command line says about all builds."""

    arguments: list[str] = field(default_factory=list)
    ssh: list[str] = field(default_factory=list)
    memory: str = ""
    no_cache: bool = False
    pull: bool = False
    push: bool = False
    check: bool = False
    provenance: str = ""
    sbom: str = ""
    progress: str = "auto"
    #: Only the platform that the containers have, not all of `build.platforms`.
    one_platform: bool = True

    @classmethod
    def of(cls, invocation: Invocation) -> BuildSettings:
        """What commands other than `build` say."""
        group = invocation.group_options
        form = (group.progress if group is not None else "") or os.environ.get("COMPOSE_PROGRESS", "")
        is_quiet = getattr(invocation.options, "quiet_build", False)
        return cls(progress="quiet" if is_quiet else _DISPLAYS.get(form, "auto"))


async def build_services(
    invocation: Invocation, session: ProjectSession, services: Sequence[str], settings: BuildSettings
) -> None:
    """Build services, and before them those whose images they are built from. Raises CliError and ComposeError."""
    project = session.project
    assert project is not None
    graph = build_graph(project, services)
    if session.dry_run:
        for name in graph:
            session.report(name, "Building")
            session.report(name, "Built", DONE)
        return
    session.settle()
    done = {name: asyncio.Event() for name in graph}
    failed: set[str] = set()
    with (
        tempfile.TemporaryDirectory(prefix="darse-compose-") as directory,
        JointDisplay(build_progress.display_of(settings.progress)) as display,
    ):

        async def one(name: str) -> None:
            try:
                for other in graph[name]:
                    await done[other].wait()
                if failed.isdisjoint(graph[name]):
                    words = build_words(project, name, settings, os.path.join(directory, name))
                    async with session.slot():
                        await _in_thread(lambda: _build(invocation, words, display.part(name)))
                else:
                    failed.add(name)
            except BaseException:
                failed.add(name)
                raise
            finally:
                done[name].set()

        await together(one(name) for name in graph)
    for name in graph:
        session.report(name, "Built", DONE)


def build_graph(project: Project, services: Sequence[str]) -> dict[str, set[str]]:
    """The services that are built, each with those that are built before: contexts, and what it depends on.

    Raises ComposeError for contexts that need each other.
    """
    known = project.all_services()
    found: dict[str, set[str]] = {}
    pending = list(services)
    while pending:
        name = pending.pop(0)
        build = known[name].build
        if name in found or build is None:
            continue
        found[name] = {text.removeprefix(_SERVICE) for text in build.additional_contexts.values() if _is_service(text)}
        pending += found[name]
    for name in found:
        found[name] |= {other for other in known[name].depends_on if other in found}
    ready: set[str] = set()
    while len(ready) < len(found):
        next_ = {name for name, others in found.items() if name not in ready and others <= ready}
        if not next_:
            name = min(found.keys() - ready)
            raise ComposeError(
                f"services.{name}: its image is built from itself, through others",
                ("services", name, "build", "additional_contexts"),
            )
        ready |= next_
    return found


def _is_service(text: str) -> bool:
    return text.startswith(_SERVICE)


def build_words(project: Project, name: str, settings: BuildSettings, directory: str) -> list[str]:
    """The words after `darse build` for a service; files that it needs are made in `directory`. Raises ComposeError."""
    service = project.all_services()[name]
    build = service.build
    assert build is not None
    image = image_name(replace_services(project), name)
    marks = {labels.PROJECT: project.name, labels.SERVICE: name, labels.VERSION: labels.CONVENTIONS}
    words = _flags("tag", [image, *build.tags])
    words += _flags("label", [f"{key}={value}" for key, value in (build.labels | marks).items()])
    words += _flags("build-arg", [*_arguments(project, build), *settings.arguments])
    words += _flags("build-context", _contexts(project, build))
    words += _flags("secret", _secrets(project, name, build, directory))
    words += _flags("ssh", [*(f"{key}={value}" if value else key for key, value in build.ssh.items()), *settings.ssh])
    words += _flags("add-host", [f"{host}:{one}" for host, found in build.extra_hosts.items() for one in found])
    words += _flags("ulimit", [_ulimit(key, limit) for key, limit in build.ulimits.items()])
    words += _flags("cache-from", [_cache(text) for text in build.cache_from])
    words += _flags("cache-to", [_cache(text) for text in build.cache_to])
    words += _flags("allow", [*build.entitlements, *(["security.insecure"] if build.privileged else [])])
    words += _flags("platform", _platforms(project, service.platform, build, settings))
    words += _flags("provenance", [settings.provenance or build.provenance])
    words += _flags("sbom", [settings.sbom or build.sbom])
    words += _flags("network", [build.network])
    words += _flags("target", [build.target])
    words += _flags("isolation", [build.isolation])
    words += _flags("shm-size", [str(int(build.shm_size)) if build.shm_size else ""])
    words += _flags("memory", [settings.memory])
    words += _flags("file", [_dockerfile(build, directory)])
    for flag, is_set in (
        ("no-cache", build.no_cache or settings.no_cache),
        ("pull", build.pull or settings.pull),
        ("push", settings.push and bool(service.image)),
        ("check", settings.check),
    ):
        words += [f"--{flag}"] if is_set else []
    return [*words, build.context]


def replace_services(project: Project) -> Project:
    """A project whose services are also those that no profile enables: an image may be built from theirs."""
    import msgspec

    return msgspec.structs.replace(project, services=project.all_services())


def _flags(name: str, values: Iterable[str]) -> list[str]:
    return [f"--{name}={value}" for value in values if value]


def _arguments(project: Project, build: Build) -> Iterator[str]:
    """Arguments without a value take the project's variable of their name, or none."""
    for key, value in build.args.items():
        found = project.environment.get(key) if value is None else value
        if found is not None:
            yield f"{key}={found}"


def _contexts(project: Project, build: Build) -> Iterator[str]:
    whole = replace_services(project)
    for key, value in build.additional_contexts.items():
        is_service = _is_service(value)
        shown = f"docker-image://{image_name(whole, value.removeprefix(_SERVICE))}" if is_service else value
        yield f"{key}={shown}"


def _secrets(project: Project, name: str, build: Build, directory: str) -> Iterator[str]:
    """Secrets as files: those of variables are written for the time of the build."""
    for reference in build.secrets:
        secret = project.secrets[reference.source]
        identifier = reference.target or reference.source
        if secret.file:
            yield f"id={identifier},src={secret.file}"
        elif secret.environment:
            value = project.environment.get(secret.environment)
            if value is None:
                raise ComposeError(
                    f'services.{name}: environment variable "{secret.environment}" required by build secret '
                    f'"{reference.source}" is not set',
                    ("secrets", reference.source, "environment"),
                )
            yield f"id={identifier},src={_written(directory, f'secret-{identifier}', value)}"
        else:
            raise ComposeError(
                f"services.{name}: build secret {reference.source} is external: an engine without a cluster has none",
                ("secrets", reference.source),
            )


def _written(directory: str, name: str, text: str) -> str:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, name.replace("/", "_"))
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _ulimit(name: str, limit: ServiceUlimit) -> str:
    return f"{name}={limit.single}" if limit.single else f"{name}={limit.soft}:{limit.hard}"


def _cache(text: str) -> str:
    """A bare image is a cache in a registry."""
    return text if "=" in text else f"type=registry,ref={text}"


def _platforms(project: Project, platform: str, build: Build, settings: BuildSettings) -> list[str]:
    own = platform or project.environment.get("DOCKER_DEFAULT_PLATFORM", "")
    if settings.one_platform:
        # Containers have one platform: the service's, or the engine's own where the image is for that, too.
        return [own] if own else build.platforms[:1] if len(build.platforms) == 1 else []
    return build.platforms or ([own] if own else [])


def _dockerfile(build: Build, directory: str) -> str:
    if build.dockerfile_inline:
        return _written(directory, "Dockerfile", build.dockerfile_inline)
    if not build.dockerfile or os.path.isabs(build.dockerfile) or not os.path.isdir(build.context):
        return build.dockerfile
    # From the context, where `darse build -f` would look in the working directory first.
    return os.path.join(build.context, build.dockerfile)


def _build(invocation: Invocation, words: Sequence[str], display: build_progress.BuildDisplay) -> None:
    from darse.cli.commands.build.build import build_image

    options, arguments = parse_build(words)
    with Invocation("image build", options, arguments, invocation.settings) as inside:
        build_image(inside, display)


def parse_build(words: Sequence[str]) -> tuple[Options, list[str]]:
    """The words of a build as its flags and arguments. Raises CliError."""
    return parse(Command("image build", "[OPTIONS] PATH | URL | -", "", FLAGS, 1, 1), words)


async def _in_thread(work: Callable[[], None]) -> None:
    """Do something in a thread that the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not done.done():
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def run() -> None:
        try:
            work()
        except BaseException as error:  # raised where it is awaited
            loop.call_soon_threadsafe(settle, error)
        else:
            loop.call_soon_threadsafe(settle, None)

    threading.Thread(target=run, daemon=True).start()
    await done


def with_arguments(settings: BuildSettings, options: Options) -> BuildSettings:
    """Settings with the flags of `compose build`. Raises CliError."""
    for text in options.build_arg:
        if "=" not in text and text not in os.environ:
            raise CliError(f"--build-arg {text} has no value, and the environment has none of its name")
    return replace(
        settings,
        arguments=[text if "=" in text else f"{text}={os.environ[text]}" for text in options.build_arg],
        ssh=[options.ssh] if options.ssh else [],
        memory=options.memory,
        no_cache=options.no_cache,
        pull=options.pull,
        push=options.push,
        check=options.check,
        provenance=options.provenance,
        sbom=options.sbom,
        progress="quiet" if options.quiet else _DISPLAYS.get(options.progress, "") or settings.progress,
        one_platform=False,
    )
