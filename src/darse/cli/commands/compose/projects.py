"""The project that a command line is about, loaded from its files; nothing slow is imported before it is needed."""

from __future__ import annotations

import os

from darse.cli.command_line.invocation import Invocation
from darse.cli.commands.compose.flags import project_files
from darse.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from darse.compose.model.project import Project

_NO_FILE = "no configuration file provided: not found"


def load(invocation: Invocation, services: Sequence[str], *, without_dependencies: bool = False) -> Project:
    """The project with the services that are meant, and what they depend on. Raises CliError."""
    from darse.compose.errors import ComposeError
    from darse.compose.loading.consistency import check_container_names
    from darse.compose.loading.loader import LoadSettings
    from darse.compose.loading.selection import without_others

    try:
        project = project_files(invocation).project(list(services), LoadSettings())
        check_container_names(project)
    except ComposeError as error:
        raise CliError(str(error)) from error
    return without_others(project, services) if without_dependencies and services else project


def load_or_name(invocation: Invocation) -> tuple[str, Project | None]:
    """The project's name, and its model where a file has it: commands on what is there need none. Raises CliError."""
    from darse.compose.errors import ComposeError
    from darse.compose.loading.loader import LoadSettings

    group = invocation.group_options
    given = (group.project_name if group is not None else "") or os.environ.get("COMPOSE_PROJECT_NAME", "")
    try:
        project = project_files(invocation).project([], LoadSettings())
    except ComposeError as error:
        if given and error.message == _NO_FILE:
            return given, None
        raise CliError(str(error)) from error
    return project.name, project
