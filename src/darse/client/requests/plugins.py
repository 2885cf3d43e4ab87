"""`/plugins`: the managed ones, which are images of their own."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import ApiRequest, DocumentsRequest, LazyModule, nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from darse.client import messages
    from darse.client.documents.images import ProgressDocument
    from darse.client.documents.plugins import PluginDocument, PluginPrivilegeDocument
    from darse.client.messages import Progress
    from darse.client.requests import Filters
    from darse.wire import plugins as wire
    from darse.wire.plugins import Plugin, PluginPrivilege

    Privileges = Sequence[PluginPrivilegeDocument] | Sequence[PluginPrivilege]
else:
    messages, wire = LazyModule("darse.client.messages"), LazyModule("darse.wire.plugins")

_ARCHIVE = {"Content-Type": "application/x-tar"}


def _path(plugin: str, operation: str = "") -> str:
    return f"/plugins/{quote(require_name(plugin, 'plugin'), safe='/:@')}{operation}"


def _auth(credentials: str) -> dict[str, str]:
    return {"X-Registry-Auth": credentials} if credentials else {}


def list_plugins(*, filters: Filters | None = None) -> ApiRequest[list[Plugin], list[PluginDocument]]:
    """List the plugins."""
    return ApiRequest("GET", "/plugins", lambda: list[wire.Plugin], {"filters": filters})


def inspect(plugin: str) -> ApiRequest[Plugin, PluginDocument]:
    """All about a plugin."""
    return ApiRequest("GET", _path(plugin, "/json"), lambda: wire.Plugin)


def privileges(
    remote: str, *, credentials: str = ""
) -> ApiRequest[list[PluginPrivilege], list[PluginPrivilegeDocument] | None]:
    """What the plugin of an image asks to be granted."""
    query, headers = {"remote": remote}, _auth(credentials)
    return ApiRequest("GET", "/plugins/privileges", lambda: list[wire.PluginPrivilege], query, headers=headers)


def pull(
    remote: str, granted: Privileges, *, name: str = "", credentials: str = ""
) -> DocumentsRequest[Progress, ProgressDocument]:
    """Install the plugin of an image, under a name where one is given, with what it is granted."""
    query = {"remote": remote, "name": name or None}
    return DocumentsRequest("POST", "/plugins/pull", lambda: messages.Progress, query, [*granted], _auth(credentials))


def upgrade(
    plugin: str, remote: str, granted: Privileges, *, credentials: str = ""
) -> DocumentsRequest[Progress, ProgressDocument]:
    """Replace the image of a plugin that is disabled."""
    headers, path = _auth(credentials), _path(plugin, "/upgrade")
    return DocumentsRequest("POST", path, lambda: messages.Progress, {"remote": remote}, [*granted], headers)


def push(plugin: str, *, credentials: str = "") -> DocumentsRequest[Progress, ProgressDocument]:
    """Bring a plugin to its registry."""
    return DocumentsRequest("POST", _path(plugin, "/push"), lambda: messages.Progress, headers=_auth(credentials))


def create(name: str, archive: bytes | Iterable[bytes]) -> ApiRequest[None, None]:
    """Make a plugin of an archive with `config.json` and `rootfs`."""
    return ApiRequest("POST", "/plugins/create", nothing, {"name": name}, headers=_ARCHIVE, content=archive)


def configure(plugin: str, settings: Sequence[str]) -> ApiRequest[None, None]:
    """Change settings of a plugin that is disabled: `NAME=VALUE`."""
    return ApiRequest("POST", _path(plugin, "/set"), nothing, body=[*settings])


def enable(plugin: str, *, timeout: int = 0) -> ApiRequest[None, None]:
    """Start a plugin, and wait so many seconds for it."""
    return ApiRequest("POST", _path(plugin, "/enable"), nothing, {"timeout": timeout})


def disable(plugin: str, *, force: bool = False) -> ApiRequest[None, None]:
    """Stop a plugin; `force`: also where something uses it."""
    return ApiRequest("POST", _path(plugin, "/disable"), nothing, {"force": force})


def remove(plugin: str, *, force: bool = False) -> ApiRequest[None, None]:
    """Remove a plugin; `force`: also one that is enabled."""
    return ApiRequest("DELETE", _path(plugin), nothing, {"force": force})
