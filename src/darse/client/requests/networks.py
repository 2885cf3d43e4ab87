"""`/networks`."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.request import ApiRequest, Filters
from darse.wire.networks import (
    EndpointSettings,
    Network,
    NetworkConnect,
    NetworkCreate,
    NetworkCreated,
    NetworkDisconnect,
    NetworksPruned,
)


def _path(network: str, operation: str) -> str:
    return f"/networks/{quote(require_name(network, 'network'))}{operation}"


def create(config: NetworkCreate) -> ApiRequest[NetworkCreated]:
    """Create a network."""
    return ApiRequest("POST", "/networks/create", NetworkCreated, {}, config)


def list_networks(*, filters: Filters | None = None) -> ApiRequest[list[Network]]:
    """List the networks."""
    return ApiRequest("GET", "/networks", list[Network], {"filters": filters})


def inspect(network: str, *, verbose: bool = False) -> ApiRequest[Network]:
    """All about a network."""
    return ApiRequest("GET", _path(network, ""), Network, {"verbose": verbose})


def remove(network: str) -> ApiRequest[None]:
    """Remove a network that no container uses."""
    return ApiRequest("DELETE", _path(network, ""), type(None))


def connect(network: str, container: str, endpoint: EndpointSettings | None = None) -> ApiRequest[None]:
    """Connect a container to a network."""
    return ApiRequest("POST", _path(network, "/connect"), type(None), {}, NetworkConnect(container, endpoint))


def disconnect(network: str, container: str, *, force: bool = False) -> ApiRequest[None]:
    """Disconnect a container from a network."""
    return ApiRequest("POST", _path(network, "/disconnect"), type(None), {}, NetworkDisconnect(container, force))


def prune(*, filters: Filters | None = None) -> ApiRequest[NetworksPruned]:
    """Remove the networks that no container uses."""
    return ApiRequest("POST", "/networks/prune", NetworksPruned, {"filters": filters})
