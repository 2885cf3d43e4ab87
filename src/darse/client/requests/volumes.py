"""`/volumes`, and what darse does with them beyond the API."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import ApiRequest, BytesRequest, LazyModule, nothing
from darse.client.stdlib import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from darse.client.documents.volumes import (
        VolumeCreateDocument,
        VolumeDocument,
        VolumeListDocument,
        VolumesPrunedDocument,
        VolumeUsageDocument,
    )
    from darse.client.requests import Filters
    from darse.wire import volumes as wire
    from darse.wire.volumes import Volume, VolumeCreate, VolumeList, VolumesPruned, VolumeUsage
else:
    wire = LazyModule("darse.wire.volumes")

_ARCHIVE = {"Content-Type": "application/x-tar"}


def _path(volume: str) -> str:
    return f"/volumes/{quote(require_name(volume, 'volume'))}"


def _own_path(volume: str, operation: str) -> str:
    return f"/darse{_path(volume)}/{operation}"


def create(config: VolumeCreate | VolumeCreateDocument) -> ApiRequest[Volume, VolumeDocument]:
    """Create a volume, or return the one that has this name."""
    return ApiRequest("POST", "/volumes/create", lambda: wire.Volume, {}, config)


def list_volumes(*, filters: Filters | None = None) -> ApiRequest[VolumeList, VolumeListDocument]:
    """List the volumes."""
    return ApiRequest("GET", "/volumes", lambda: wire.VolumeList, {"filters": filters})


def inspect(volume: str) -> ApiRequest[Volume, VolumeDocument]:
    """All about a volume."""
    return ApiRequest("GET", _path(volume), lambda: wire.Volume)


def remove(volume: str, *, force: bool = False) -> ApiRequest[None, None]:
    """Remove a volume that no container uses."""
    return ApiRequest("DELETE", _path(volume), nothing, {"force": force})


def prune(*, filters: Filters | None = None) -> ApiRequest[VolumesPruned, VolumesPrunedDocument]:
    """Remove the volumes that no container uses: those without a name, unless `filters` says all."""
    return ApiRequest("POST", "/volumes/prune", lambda: wire.VolumesPruned, {"filters": filters})


def archive(volume: str) -> BytesRequest:
    """What a volume holds as a tar archive (darse's own)."""
    return BytesRequest("GET", _own_path(volume, "archive"))


def put_archive(
    volume: str, content: bytes | Iterable[bytes], *, labels: Mapping[str, str], replace: bool = False
) -> ApiRequest[Volume, VolumeDocument]:
    """Make a volume of a tar archive (darse's own); `replace`: also where there is one of this name."""
    query = {"replace": replace, "labels": dumps(dict(labels))}
    path = _own_path(volume, "archive")
    return ApiRequest("PUT", path, lambda: wire.Volume, query, headers=_ARCHIVE, content=content)


def clone(volume: str, name: str, *, labels: Mapping[str, str] | None = None) -> ApiRequest[Volume, VolumeDocument]:
    """Make another volume with what one holds (darse's own)."""
    body = {"Name": name, "Labels": labels}
    return ApiRequest("POST", _own_path(volume, "clone"), lambda: wire.Volume, {}, body)


def snapshot(volume: str, name: str = "") -> ApiRequest[Volume, VolumeDocument]:
    """Keep what a volume holds now; without a name the snapshot gets one (darse's own)."""
    return ApiRequest("POST", _own_path(volume, "snapshots"), lambda: wire.Volume, {}, {"Name": name})


def restore(volume: str, snapshot: str) -> ApiRequest[Volume, VolumeDocument]:
    """Have a volume hold what a snapshot of it has (darse's own)."""
    return ApiRequest("POST", _own_path(volume, "restore"), lambda: wire.Volume, {}, {"Name": snapshot})


def usage(volume: str, *, path: str = "", depth: int = 1) -> ApiRequest[VolumeUsage, VolumeUsageDocument]:
    """What below a path of a volume takes the room, so many levels deep (darse's own)."""
    query = {"path": path, "depth": depth}
    return ApiRequest("GET", _own_path(volume, "usage"), lambda: wire.VolumeUsage, query)
