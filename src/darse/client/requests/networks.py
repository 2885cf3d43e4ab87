"""`/networks`."""

from __future__ import annotations

from darse.client.http import quote
from darse.client.request import Filters, Request, require
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
    return f"/networks/{quote(require(network, 'network'))}{operation}"


def create(config: NetworkCreate) -> Request[NetworkCreated]:
    """Create a network."""
    return Request("POST", "/networks/create", NetworkCreated, {}, config)


def list_networks(*, filters: Filters | None = None) -> Request[list[Network]]:
    """List the networks."""
    return Request("GET", "/networks", list[Network], {"filters": filters})


def inspect(network: str, *, verbose: bool = False) -> Request[Network]:
    """All about a network."""
    return Request("GET", _path(network, ""), Network, {"verbose": verbose})


def remove(network: str) -> Request[None]:
    """Remove a network that no container uses."""
    return Request("DELETE", _path(network, ""), type(None))


def connect(network: str, container: str, endpoint: EndpointSettings | None = None) -> Request[None]:
    """Connect a container to a network."""
    return Request("POST", _path(network, "/connect"), type(None), {}, NetworkConnect(container, endpoint))


def disconnect(network: str, container: str, *, force: bool = False) -> Request[None]:
    """Disconnect a container from a network."""
    return Request("POST", _path(network, "/disconnect"), type(None), {}, NetworkDisconnect(container, force))


def prune(*, filters: Filters | None = None) -> Request[NetworksPruned]:
    """Remove the networks that no container uses."""
    return Request("POST", "/networks/prune", NetworksPruned, {"filters": filters})
