"""The flags before the name of a compose command, and the project that they name."""

from __future__ import annotations

import sys

from darse.cli import lean_imports
from darse.cli.command_line.flags import Command, Flag, Options, listing, number, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from darse.compose.loading.sources import RemoteFile
    from darse.compose.project import ProjectFiles

GROUP = Command(
    "compose",
    "[OPTIONS] COMMAND",
    "Define and run multi-container applications",
    (
        switch("all-resources", "Include all resources, even those not used by services"),
        string("ansi", 'Control when to print ANSI control characters ("never"|"always"|"auto")'),
        switch("compatibility", "Join the parts of names with _ , as version 1 of compose"),
        switch("dry-run", "Execute command in dry run mode"),
        listing("env-file", "Specify an alternate environment file", value="stringArray"),
        listing("file", "Compose configuration files", "f", "stringArray"),
        number("parallel", "Control max parallelism, -1 for unlimited"),
        listing("profile", "Specify a profile to enable", value="stringArray"),
        string("progress", "Set type of progress output (auto, tty, plain, json, quiet)"),
        string(
            "project-directory",
            "Specify an alternate working directory (default: the path of the, first specified, Compose file)",
        ),
        string("project-name", "Project name", "p"),
        # Of old versions, as scripts still have them.
        Flag("no-ansi", "bool", "Do not print ANSI control characters (--ansi never)", hidden=True),
        Flag("verbose", "bool", "Show more output (of no effect)", hidden=True),
        Flag("version", "bool", "Show the version of compose", "v", hidden=True),
        Flag("workdir", "string", "Specify an alternate working directory (--project-directory)", hidden=True),
    ),
    maximum=None,
    interspersed=False,
)


_PROGRESS = ("auto", "tty", "plain", "json", "quiet")
DRY_RUN: Flag = switch("dry-run", "Execute command in dry run mode")


def deferred(module: str, name: str, *, uses_asyncio: bool = True) -> Callable[[Invocation], int | None]:
    """A command's function, whose module is imported when it is called: asyncio alone takes as long as all else."""

    def function(invocation: Invocation) -> int | None:
        lean_imports.prepare()
        if uses_asyncio:
            lean_imports.load_asyncio(invocation.settings.endpoint().host)
        path = f"darse.cli.commands.compose.{module}"
        __import__(path)
        found: int | None = getattr(sys.modules[path], name)(invocation)
        return found

    return function


def requested_progress(group: Options | None) -> str:
    """The form of progress that is asked for. Raises CliError."""
    import os

    form = (group.progress if group is not None else "") or os.environ.get("COMPOSE_PROGRESS", "") or "auto"
    if form not in _PROGRESS:
        raise CliError(f'unsupported --progress value "{form}"')
    return str(form)


def project_files(invocation: Invocation) -> ProjectFiles:
    """The project that a command line means. Raises ComposeError."""
    import os

    lean_imports.prepare()
    from darse.compose.project import ProjectFiles, ProjectOptions

    given = invocation.group_options
    requested_progress(given)
    options = (
        ProjectOptions()
        if given is None
        else ProjectOptions(
            files=given.file,
            name=given.project_name,
            profiles=given.profile,
            env_files=given.env_file,
            directory=given.project_directory or given.workdir,
            all_resources=given.all_resources,
            compatibility=given.compatibility,
        )
    )

    def fetch(reference: str) -> RemoteFile:
        from darse.cli import remote_projects

        return remote_projects.fetched(invocation.settings, reference)

    return ProjectFiles(options, os.environ, warn, fetch)


def warn(text: str) -> None:
    """Print a warning about a compose file."""
    sys.stderr.write(f"WARNING: {text}\n")
