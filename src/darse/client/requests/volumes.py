"""`/volumes`."""

from __future__ import annotations

from darse.client.http import quote
from darse.client.request import Filters, Request, require
from darse.wire.volumes import Volume, VolumeCreate, VolumeList, VolumesPruned


def _path(volume: str) -> str:
    return f"/volumes/{quote(require(volume, 'volume'))}"


def create(config: VolumeCreate) -> Request[Volume]:
    """Create a volume, or return the one that has this name."""
    return Request("POST", "/volumes/create", Volume, {}, config)


def list_volumes(*, filters: Filters | None = None) -> Request[VolumeList]:
    """List the volumes."""
    return Request("GET", "/volumes", VolumeList, {"filters": filters})


def inspect(volume: str) -> Request[Volume]:
    """All about a volume."""
    return Request("GET", _path(volume), Volume)


def remove(volume: str, *, force: bool = False) -> Request[None]:
    """Remove a volume that no container uses."""
    return Request("DELETE", _path(volume), type(None), {"force": force})


def prune(*, filters: Filters | None = None) -> Request[VolumesPruned]:
    """Remove the volumes that no container uses: those without a name, unless `filters` says all."""
    return Request("POST", "/volumes/prune", VolumesPruned, {"filters": filters})
