"""`/volumes`."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.request import ApiRequest, Filters
from darse.wire.volumes import Volume, VolumeCreate, VolumeList, VolumesPruned


def _path(volume: str) -> str:
    return f"/volumes/{quote(require_name(volume, 'volume'))}"


def create(config: VolumeCreate) -> ApiRequest[Volume]:
    """Create a volume, or return the one that has this name."""
    return ApiRequest("POST", "/volumes/create", Volume, {}, config)


def list_volumes(*, filters: Filters | None = None) -> ApiRequest[VolumeList]:
    """List the volumes."""
    return ApiRequest("GET", "/volumes", VolumeList, {"filters": filters})


def inspect(volume: str) -> ApiRequest[Volume]:
    """All about a volume."""
    return ApiRequest("GET", _path(volume), Volume)


def remove(volume: str, *, force: bool = False) -> ApiRequest[None]:
    """Remove a volume that no container uses."""
    return ApiRequest("DELETE", _path(volume), type(None), {"force": force})


def prune(*, filters: Filters | None = None) -> ApiRequest[VolumesPruned]:
    """Remove the volumes that no container uses: those without a name, unless `filters` says all."""
    return ApiRequest("POST", "/volumes/prune", VolumesPruned, {"filters": filters})
