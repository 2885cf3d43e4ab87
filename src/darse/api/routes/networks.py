"""`/networks`: networks, and containers on them (Docker Engine API, "Network")."""

from __future__ import annotations

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.body import read_json
from darse.api.responses import empty, json_response
from darse.api.routing import Call, Routes
from darse.core.errors import InvalidParameter
from darse.core.filters import Filters
from darse.networks.service import LIST_FILTERS, PRUNE_FILTERS
from darse.wire.networks import EndpointSettings, NetworkConnect, NetworkCreate, NetworkDisconnect

ROUTES = Routes()


@ROUTES.add("GET", "/networks")
async def list_networks(call: Call) -> web.StreamResponse:
    """List networks."""
    filters = Filters.parse(call.request.query.get("filters"), LIST_FILTERS)
    containers = versions.has(call.version, "networks containers")
    found = call.engine.networks.list_networks(filters, containers=containers)
    return json_response(versions.network_list(call.version, found))


@ROUTES.add("POST", "/networks/create")
async def create(call: Call) -> web.StreamResponse:
    """Create a network."""
    body = await read_json(call.request, NetworkCreate)
    return json_response(await call.engine.networks.create(body), 201)


@ROUTES.add("POST", "/networks/prune")
async def prune(call: Call) -> web.StreamResponse:
    """Remove unused networks."""
    filters = Filters.parse(call.request.query.get("filters"), PRUNE_FILTERS)
    return json_response(await call.engine.networks.prune(filters))


@ROUTES.add("GET", "/networks/{id}")
async def inspect(call: Call) -> web.StreamResponse:
    """Inspect a network."""
    query.flag(call.request, "verbose")
    return json_response(versions.network_inspect(call.version, call.engine.networks.inspect(call.match["id"])))


@ROUTES.add("DELETE", "/networks/{id}")
async def remove(call: Call) -> web.StreamResponse:
    """Remove a network."""
    await call.engine.networks.remove_network(call.match["id"])
    return empty()


@ROUTES.add("POST", "/networks/{id}/connect")
async def connect(call: Call) -> web.StreamResponse:
    """Connect a container."""
    body = await read_json(call.request, NetworkConnect)
    if not body.Container:
        raise InvalidParameter("invalid container name or ID: value is empty")
    settings = body.EndpointConfig or EndpointSettings()
    versions.endpoint_request(call.version, settings)
    await call.engine.containers.connect(call.match["id"], body.Container, settings)
    return empty(200)


@ROUTES.add("POST", "/networks/{id}/disconnect")
async def disconnect(call: Call) -> web.StreamResponse:
    """Disconnect a container."""
    body = await read_json(call.request, NetworkDisconnect)
    if not body.Container:
        raise InvalidParameter("invalid container name or ID: value is empty")
    await call.engine.containers.disconnect(call.match["id"], body.Container, force=body.Force)
    return empty(200)
