"""`--use-api-socket`: a container that speaks to the engine as its user does, at which registries ever."""

from __future__ import annotations

from darse.cli.errors import CliError
from darse.cli.settings.config import Settings
from darse.client.requests import archives

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from darse.client.blocking import Client
    from darse.client.documents.containers import CreateRequestDocument

_SOCKET = "/var/run/docker.sock"
_DIRECTORY = "/run/secrets/docker"


def add(body: CreateRequestDocument, settings: Settings) -> dict[str, Any]:
    """Put the engine's socket into a create request; return the credentials to `put` afterwards. Raises CliError."""
    from darse.cli.settings import credentials

    scheme, _, path = settings.endpoint().host.partition("://")
    if scheme != "unix":
        raise CliError("--use-api-socket needs an engine on a unix socket of this machine", 125)
    host = body["HostConfig"]
    host["Mounts"] = [*(host["Mounts"] or []), {"Type": "bind", "Source": path, "Target": _SOCKET, "BindOptions": {}}]
    found = credentials.all_of(settings)
    if found:
        body["Env"] = [*(body["Env"] or []), f"DOCKER_CONFIG={_DIRECTORY}"]
    return found


def put(client: Client, container_id: str, found: dict[str, Any]) -> None:
    """Write the credentials into a container that was created, readable by its root only. Raises CliError."""
    import json

    from darse.archive.headers import END, member
    from darse.cli.settings import credentials

    document = {"auths": {server: credentials.entry(one) for server, one in found.items()}}
    content = json.dumps(document, indent="\t").encode()
    archive = member(f"{_DIRECTORY}/config.json".lstrip("/").encode(), content, mode=0o600) + END
    client.open(archives.put_archive(container_id, "/", [archive])).body()
