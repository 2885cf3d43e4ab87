"""Provider services: a program of the user's provides something, and tells what its dependents need to know.

The protocol is docker compose's (docs/extension.md there): the program is run as `PROGRAM compose --project-name NAME
up --OPTION=VALUE SERVICE`, and prints a JSON document a line: `info`, `error`, `debug`, and `setenv`, whose variable
the services that depend on it get, with the service's name before.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping, Sequence

import msgspec

from darse.compose.errors import ComposeError
from darse.compose.model.project import Project
from darse.compose.model.service import Service
from darse.compose.operations.progress import DONE, FAILED
from darse.compose.operations.session import ProjectSession, together

_WORDS = {"up": ("Creating", "Created"), "down": ("Removing", "Removed")}
_PLUGINS = ("~/.docker/cli-plugins", "/usr/local/lib/docker/cli-plugins", "/usr/lib/docker/cli-plugins")


def provided(project: Project) -> list[str]:
    """The services that programs provide."""
    return [name for name, service in project.services.items() if service.provider is not None]


async def run_providers(session: ProjectSession, word: str) -> None:
    """Run the programs of all provider services, for `up` or `down`; their variables go into the session's project.

    Raises ComposeError for a program that is not there, or fails.
    """
    project = session.project
    assert project is not None
    names = provided(project)
    variables = await together(_run(session, name, word) for name in names)
    services = dict(project.services)
    for name, found in zip(names, variables, strict=True):
        prefix = re.sub(r"[^A-Z0-9_]", "_", name.upper())
        added = {f"{prefix}_{key}": value for key, value in found.items()}
        for other, service in services.items():
            if name in service.depends_on and added:
                services[other] = msgspec.structs.replace(service, environment={**added, **service.environment})
    session.project = msgspec.structs.replace(project, services=services)


async def _run(session: ProjectSession, name: str, word: str) -> dict[str, str]:
    project = session.project
    assert project is not None
    service = project.services[name]
    working, done = _WORDS[word]
    session.report(name, working)
    command = _command(project, name, service, word)
    if session.dry_run:
        session.report(name, done, DONE)
        return {}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **project.environment},
        cwd=project.directory or None,
    )
    found: dict[str, str] = {}
    failure = ""
    assert process.stdout is not None
    async for line in process.stdout:
        kind, text = _message(line)
        if kind == "error":
            failure = text
        elif kind == "setenv":
            key, _, value = text.partition("=")
            found[key] = value
        elif kind == "info":
            session.report(name, working, detail=text)
    status = await process.wait()
    if status or failure:
        session.report(name, f"Error {failure or status}", FAILED)
        reason = failure or f"it ended with status {status}"
        raise ComposeError(f"services.{name}: provider {command[0]} failed: {reason}", ("services", name, "provider"))
    session.report(name, done, DONE)
    return found


def _message(line: bytes) -> tuple[str, str]:
    try:
        document = json.loads(line)
    except ValueError:
        return "debug", ""
    if not isinstance(document, Mapping):
        return "debug", ""
    return str(document.get("type", "")), str(document.get("message", ""))


def _command(project: Project, name: str, service: Service, word: str) -> Sequence[str]:
    """The command line. Raises ComposeError for a program that is neither a plugin of docker's nor in PATH."""
    provider = service.provider
    assert provider is not None
    options = [f"--{key}={value}" for key, values in provider.options.items() for value in values]
    return [_program(name, provider.type), "compose", f"--project-name={project.name}", word, *options, name]


def _program(name: str, kind: str) -> str:
    if os.path.isabs(kind):
        candidates = [kind]
    else:
        plugins = [os.path.join(os.path.expanduser(one), f"docker-{kind}") for one in _PLUGINS]
        path = os.environ.get("PATH", "").split(os.pathsep)
        candidates = [*plugins, *(os.path.join(one, kind) for one in path if one)]
    for one in candidates:
        if os.access(one, os.X_OK) and os.path.isfile(one):
            return one
    raise ComposeError(
        f"services.{name}: there is no provider {kind!r}: neither a plugin docker-{kind} nor a program in PATH",
        ("services", name, "provider", "type"),
    )
