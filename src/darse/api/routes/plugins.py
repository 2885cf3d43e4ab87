"""`/plugins`: managed plugins (Docker Engine API, "Plugin").

Pull, push and upgrade answer with progress messages, as those of images do; the others when all is done.
"""

from __future__ import annotations

from typing import Any

import msgspec

from darse import aiohttp_server as web
from darse.api import query
from darse.api.body import convert, read_body
from darse.api.progress import plugin_pull_messages, plugin_push_messages
from darse.api.registry_auth import read_credentials
from darse.api.responses import empty, json_response, progress
from darse.api.routing import Call, Routes
from darse.api.uploads import Upload
from darse.core.errors import InvalidParameter
from darse.core.filters import Filters
from darse.images import references
from darse.images.references import Reference
from darse.managed_plugins.service import LIST_FILTERS
from darse.wire.plugins import PluginPrivilege

ROUTES = Routes()
_LONGEST_WAIT = 3600


async def _list(request: web.BaseRequest, kind: type) -> list[Any]:
    """A body that is a JSON array; none is an empty one."""
    data = (await read_body(request)).strip()
    try:
        document = msgspec.json.decode(data, type=list[Any] | None) if data else None
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None
    except RecursionError:
        raise InvalidParameter("invalid JSON: nested too deeply") from None
    if kind is str:
        if not all(isinstance(one, str) for one in document or ()):
            raise InvalidParameter("invalid JSON: not a list of strings")
        return document or []
    return [convert(one, kind) for one in document or ()]


def _remote(call: Call) -> Reference:
    text = query.text(call.request, "remote")
    if not text:
        raise InvalidParameter("the plugin's reference is required: remote is empty")
    return references.parse(text)


@ROUTES.add("GET", "/plugins")
async def list_plugins(call: Call) -> web.StreamResponse:
    """List managed plugins."""
    filters = Filters.parse(call.request.query.get("filters"), LIST_FILTERS)
    return json_response(call.engine.managed_plugins.list_plugins(filters))


@ROUTES.add("GET", "/plugins/privileges")
async def privileges(call: Call) -> web.StreamResponse:
    """What a plugin of a registry asks for."""
    found = await call.engine.managed_plugins.privileges(_remote(call), read_credentials(call.request))
    return json_response(found)


@ROUTES.add("POST", "/plugins/pull")
async def pull(call: Call) -> web.StreamResponse:
    """Install a plugin."""
    request, reference = call.request, _remote(call)
    granted = await _list(request, PluginPrivilege)
    name, credentials = query.text(request, "name"), read_credentials(request)
    plugins = call.engine.managed_plugins
    return await progress(
        request,
        plugin_pull_messages(lambda report: plugins.pull(reference, name, granted, credentials, report), reference),
        interruptible=True,
        # Clients enable it under this name.
        headers={"Docker-Plugin-Name": references.parse(name or str(reference)).familiar},
    )


@ROUTES.add("POST", "/plugins/create")
async def create(call: Call) -> web.StreamResponse:
    """Make a plugin of an archive."""
    await call.engine.managed_plugins.create(query.text(call.request, "name"), Upload(call.request).pieces())
    return empty()


@ROUTES.add("GET", "/plugins/{name}/json")
async def inspect(call: Call) -> web.StreamResponse:
    """Inspect a plugin."""
    return json_response(call.engine.managed_plugins.inspect(call.match["name"]))


@ROUTES.add("DELETE", "/plugins/{name}")
async def remove(call: Call) -> web.StreamResponse:
    """Remove a plugin."""
    force = query.flag(call.request, "force")
    return json_response(await call.engine.managed_plugins.remove_plugin(call.match["name"], force=force))


@ROUTES.add("POST", "/plugins/{name}/enable")
async def enable(call: Call) -> web.StreamResponse:
    """Start a plugin."""
    seconds = query.number(call.request, "timeout", 0) or 0
    await call.engine.managed_plugins.enable(call.match["name"], min(max(seconds, 0), _LONGEST_WAIT))
    return empty(200)


@ROUTES.add("POST", "/plugins/{name}/disable")
async def disable(call: Call) -> web.StreamResponse:
    """Stop a plugin."""
    await call.engine.managed_plugins.disable(call.match["name"], force=query.flag(call.request, "force"))
    return empty(200)


@ROUTES.add("POST", "/plugins/{name}/upgrade")
async def upgrade(call: Call) -> web.StreamResponse:
    """Replace a plugin's image."""
    request, reference = call.request, _remote(call)
    granted = await _list(request, PluginPrivilege)
    credentials, plugins = read_credentials(request), call.engine.managed_plugins
    name = call.match["name"]
    messages = plugin_pull_messages(
        lambda report: plugins.upgrade(name, reference, granted, credentials, report), reference
    )
    return await progress(request, messages, interruptible=True)


@ROUTES.add("POST", "/plugins/{name}/set")
async def set_plugin(call: Call) -> web.StreamResponse:
    """Change a plugin's settings."""
    await call.engine.managed_plugins.set(call.match["name"], await _list(call.request, str))
    return empty()


@ROUTES.add("POST", "/plugins/{name}/push")
async def push(call: Call) -> web.StreamResponse:
    """Push a plugin."""
    credentials, name = read_credentials(call.request), call.match["name"]
    plugins = call.engine.managed_plugins
    messages = plugin_push_messages(lambda report: plugins.push(name, credentials, report))
    return await progress(call.request, messages, interruptible=True)
