"""`/networks`, and which containers are connected to them."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import ApiRequest, LazyModule, nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from darse.client.documents.networks import (
        EndpointSettingsDocument,
        NetworkCreatedDocument,
        NetworkCreateDocument,
        NetworkDocument,
        NetworksPrunedDocument,
    )
    from darse.client.requests import Filters
    from darse.wire import networks as wire
    from darse.wire.networks import EndpointSettings, Network, NetworkCreate, NetworkCreated, NetworksPruned
else:
    wire = LazyModule("darse.wire.networks")


def _path(network: str, operation: str = "") -> str:
    return f"/networks/{quote(require_name(network, 'network'))}{operation}"


def create(config: NetworkCreate | NetworkCreateDocument) -> ApiRequest[NetworkCreated, NetworkCreatedDocument]:
    """Create a network."""
    return ApiRequest("POST", "/networks/create", lambda: wire.NetworkCreated, {}, config)


def list_networks(*, filters: Filters | None = None) -> ApiRequest[list[Network], list[NetworkDocument]]:
    """List the networks."""
    return ApiRequest("GET", "/networks", lambda: list[wire.Network], {"filters": filters})


def inspect(network: str, *, verbose: bool = False) -> ApiRequest[Network, NetworkDocument]:
    """All about a network."""
    return ApiRequest("GET", _path(network), lambda: wire.Network, {"verbose": verbose})


def remove(network: str) -> ApiRequest[None, None]:
    """Remove a network that no container uses."""
    return ApiRequest("DELETE", _path(network), nothing)


def connect(
    network: str, container: str, endpoint: EndpointSettings | EndpointSettingsDocument | None = None
) -> ApiRequest[None, None]:
    """Connect a container to a network."""
    path = _path(network, "/connect")
    body = {"Container": require_name(container, "container"), "EndpointConfig": endpoint}
    return ApiRequest("POST", path, nothing, {}, body)


def disconnect(network: str, container: str, *, force: bool = False) -> ApiRequest[None, None]:
    """Disconnect a container from a network."""
    path = _path(network, "/disconnect")
    body = {"Container": require_name(container, "container"), "Force": force}
    return ApiRequest("POST", path, nothing, {}, body)


def prune(*, filters: Filters | None = None) -> ApiRequest[NetworksPruned, NetworksPrunedDocument]:
    """Remove the networks that no container uses."""
    return ApiRequest("POST", "/networks/prune", lambda: wire.NetworksPruned, {"filters": filters})
