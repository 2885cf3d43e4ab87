"""`/images`, `/commit` and `/auth`."""

from __future__ import annotations

from typing import Any

import msgspec

from darse.client.http import quote, require_name
from darse.client.request import ApiRequest, BytesRequest, DocumentsRequest, Filters
from darse.wire.images import DeleteItem, HistoryEntry, ImageInspect, ImagesPruned, ImageSummary
from darse.wire.registries import AuthConfig, AuthResponse, DistributionInspect


class ProgressDetail(msgspec.Struct, omit_defaults=True):
    """How far one step is, in bytes; `total` is 0 where nobody knows."""

    current: int = 0
    total: int = 0


class Progress(msgspec.Struct, omit_defaults=True):
    """A message of a pull, push, load, import or build (moby's pkg/jsonmessage)."""

    id: str = ""
    status: str = ""
    stream: str = ""
    progressDetail: ProgressDetail | None = None
    error: str = ""
    aux: dict[str, Any] | None = None


def _path(image: str, operation: str) -> str:
    return f"/images/{quote(require_name(image, 'image'), safe='/:@')}{operation}"


def _auth(credentials: str) -> dict[str, str]:
    return {"X-Registry-Auth": credentials} if credentials else {}


def list_images(
    *, all: bool = False, digests: bool = False, filters: Filters | None = None
) -> ApiRequest[list[ImageSummary]]:
    """List the images."""
    query = {"all": all, "digests": digests, "filters": filters}
    return ApiRequest("GET", "/images/json", list[ImageSummary], query)


def inspect(image: str) -> ApiRequest[ImageInspect]:
    """All about an image."""
    return ApiRequest("GET", _path(image, "/json"), ImageInspect)


def history(image: str) -> ApiRequest[list[HistoryEntry]]:
    """The steps that made an image, the last one first."""
    return ApiRequest("GET", _path(image, "/history"), list[HistoryEntry])


def pull(image: str, *, tag: str = "", platform: str = "", credentials: str = "") -> DocumentsRequest[Progress]:
    """Get an image from its registry; `credentials` is an encoded X-Registry-Auth."""
    query = {"fromImage": require_name(image, "image"), "tag": tag or None, "platform": platform or None}
    return DocumentsRequest("POST", "/images/create", Progress, query, None, _auth(credentials))


def push(image: str, *, tag: str = "", platform: str = "", credentials: str = "") -> DocumentsRequest[Progress]:
    """Bring an image to its registry; `credentials` is an encoded X-Registry-Auth."""
    query = {"tag": tag or None, "platform": platform or None}
    # The API refuses a push that has no such header.
    headers = _auth(credentials or "e30=")
    return DocumentsRequest("POST", _path(image, "/push"), Progress, query, None, headers)


def tag(image: str, repository: str, tag: str = "latest") -> ApiRequest[None]:
    """Give an image one more name."""
    return ApiRequest("POST", _path(image, "/tag"), type(None), {"repo": repository, "tag": tag})


def remove(image: str, *, force: bool = False, no_prune: bool = False) -> ApiRequest[list[DeleteItem]]:
    """Remove a name of an image, and with its last name the image."""
    return ApiRequest("DELETE", _path(image, ""), list[DeleteItem], {"force": force, "noprune": no_prune})


def prune(*, filters: Filters | None = None) -> ApiRequest[ImagesPruned]:
    """Remove the images that have no name and no container."""
    return ApiRequest("POST", "/images/prune", ImagesPruned, {"filters": filters})


def save(*names: str) -> BytesRequest:
    """Images as an archive."""
    return BytesRequest("GET", "/images/get", bytes, {"names": list(names)})


def distribution(image: str, *, credentials: str = "") -> ApiRequest[DistributionInspect]:
    """What a registry has under a name."""
    path = f"/distribution/{quote(require_name(image, 'image'), safe='/:@')}/json"
    return ApiRequest("GET", path, DistributionInspect, {}, None, _auth(credentials))


def log_in(config: AuthConfig) -> ApiRequest[AuthResponse]:
    """Check credentials with a registry."""
    return ApiRequest("POST", "/auth", AuthResponse, {}, config)
