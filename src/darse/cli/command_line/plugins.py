"""docker's CLI plugins (compose, buildx, scout ...): programs `docker-NAME` that bring a command of their own.

The protocol is that of docker's client: `docker-NAME docker-cli-plugin-metadata` prints a JSON object, and
`docker-NAME NAME ARGUMENTS...` is the command. Plugins find the engine as docker's client does, by the environment.
"""

from __future__ import annotations

import os
import sys

from darse.cli.errors import CliError
from darse.cli.settings.config import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_PREFIX = "docker-"
_METADATA = "docker-cli-plugin-metadata"
_TIMEOUT_SECONDS = 10
_SYSTEM = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
# Tells a plugin what to call the command that it is part of.
_CALLED_AS = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"


def directories(settings: Settings) -> list[str]:
    """Where plugins are looked for; the first that has one has it."""
    extra = []
    if os.path.exists(settings.directory):
        extra = [str(one) for one in settings.member("cliPluginsExtraDirs", list)]
    return [*extra, os.path.join(settings.directory, "cli-plugins"), *_SYSTEM]


def find(settings: Settings, name: str) -> str | None:
    """The program of a plugin; None when there is none of that name."""
    if not _is_name(name):
        return None
    paths = (os.path.join(directory, _PREFIX + name) for directory in directories(settings))
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def names(settings: Settings) -> list[str]:
    """The plugins that are there."""
    found = set()
    for directory in directories(settings):
        try:
            entries = os.listdir(directory)
        except OSError:
            continue
        found |= {entry[len(_PREFIX) :] for entry in entries if entry.startswith(_PREFIX)}
    return sorted(name for name in found if find(settings, name))


def summaries(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each plugin's name and what it says of itself, without those that are none."""
    for name in names(settings):
        try:
            yield name, str(metadata(settings, name).get("ShortDescription", ""))
        except CliError:
            continue


def metadata(settings: Settings, name: str) -> dict[str, Any]:
    """What a plugin says of itself. Raises CliError for a program that is no plugin."""
    import json
    import subprocess

    path = find(settings, name) or ""
    try:
        printed = subprocess.check_output([path, _METADATA], stderr=subprocess.DEVNULL, timeout=_TIMEOUT_SECONDS)
        document = json.loads(printed)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise CliError(f"{path} is no CLI plugin: {error}") from error
    version = str(document.get("SchemaVersion", "")) if isinstance(document, dict) else ""
    if not version.startswith("0.") or not document.get("Vendor"):
        raise CliError(f"{path} is no CLI plugin: its metadata have no Vendor, or a SchemaVersion that is not 0.x")
    return dict(document)


def run(settings: Settings, path: str, name: str, arguments: list[str]) -> int:
    """Become a plugin's command. Raises CliError when the program is no plugin."""
    metadata(settings, name)
    environment = {**os.environ, **_environment(settings)}
    environment.pop("DOCKER_CONTEXT", None)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(path, [path, name, *arguments], environment)  # noqa: S606 - no shell is meant
    except OSError as error:
        raise CliError(f"cannot run {path}: {error.strerror}") from error


def _environment(settings: Settings) -> dict[str, str]:
    """Our engine, in docker's variables. An engine on the default socket is started first."""
    from darse.client.connection import connect

    endpoint = settings.endpoint()
    if endpoint.is_default:
        try:
            connect(endpoint).close()
        except CliError as error:
            # `compose version` needs none; who does says so.
            sys.stderr.write(f"WARNING: {error}\n")
    found = {"DOCKER_HOST": endpoint.host, "DOCKER_CONFIG": settings.directory, _CALLED_AS: sys.argv[0]}
    if endpoint.tls:
        found["DOCKER_TLS_VERIFY" if endpoint.verify else "DOCKER_TLS"] = "1"
        found["DOCKER_CERT_PATH"] = os.path.dirname(endpoint.ca)
    return found


def _is_name(name: str) -> bool:
    return name.isascii() and name.isalnum() and name[:1].isalpha() and name == name.lower()
