"""`/images`, `/commit`, `/distribution` and `/auth`."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import ApiRequest, BytesRequest, DocumentsRequest, LazyModule, documents, nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from darse.client import messages
    from darse.client.documents.images import (
        AttestationStatementDocument,
        DeleteItemDocument,
        HistoryEntryDocument,
        ImageInspectDocument,
        ImagesPrunedDocument,
        ImageSummaryDocument,
        ProgressDocument,
        SearchResultDocument,
    )
    from darse.client.documents.system import AuthConfigDocument, AuthResponseDocument, DistributionInspectDocument
    from darse.client.messages import Progress
    from darse.client.requests import Filters
    from darse.wire import images as wire
    from darse.wire import registries
    from darse.wire.images import (
        AttestationStatement,
        DeleteItem,
        HistoryEntry,
        ImageInspect,
        ImagesPruned,
        ImageSummary,
    )
    from darse.wire.registries import AuthConfig, AuthResponse, DistributionInspect

    # An operating system and a processor, as the API's parameters have them in JSON.
    PlatformParameter = Mapping[str, str]
else:
    messages = LazyModule("darse.client.messages")
    registries, wire = LazyModule("darse.wire.registries"), LazyModule("darse.wire.images")

_ARCHIVE = {"Content-Type": "application/x-tar"}
# Attestations are newer than the version in which everything else is asked for.
_ATTESTATIONS_SINCE = "1.55"


def _path(image: str, operation: str = "") -> str:
    return f"/images/{quote(require_name(image, 'image'), safe='/:@')}{operation}"


def _auth(credentials: str) -> dict[str, str]:
    return {"X-Registry-Auth": credentials} if credentials else {}


def list_images(
    *, all: bool = False, digests: bool = False, manifests: bool = False, filters: Filters | None = None
) -> ApiRequest[list[ImageSummary], list[ImageSummaryDocument]]:
    """List the images; `manifests` shows those of each platform, too."""
    query = {"all": all, "digests": digests, "manifests": manifests, "filters": filters}
    return ApiRequest("GET", "/images/json", lambda: list[wire.ImageSummary], query)


def inspect(
    image: str, *, platform: PlatformParameter | None = None, manifests: bool = False
) -> ApiRequest[ImageInspect, ImageInspectDocument]:
    """All about an image, or about the one of a platform."""
    query = {"platform": platform, "manifests": manifests}
    return ApiRequest("GET", _path(image, "/json"), lambda: wire.ImageInspect, query)


def attestations(image: str) -> ApiRequest[list[AttestationStatement], list[AttestationStatementDocument]]:
    """What is attested of an image, with the statements."""
    return ApiRequest(
        "GET",
        _path(image, "/attestations"),
        lambda: list[wire.AttestationStatement],
        {"statement": True},
        version=_ATTESTATIONS_SINCE,
    )


def history(
    image: str, *, platform: PlatformParameter | None = None
) -> ApiRequest[list[HistoryEntry], list[HistoryEntryDocument]]:
    """The steps that made an image, the last one first."""
    return ApiRequest("GET", _path(image, "/history"), lambda: list[wire.HistoryEntry], {"platform": platform})


def search(
    term: str, *, limit: int | None = None, filters: Filters | None = None, credentials: str = ""
) -> ApiRequest[list[dict[str, Any]], list[SearchResultDocument] | None]:
    """Search the registry that a term begins with, or Docker Hub."""
    query = {"term": term, "limit": limit, "filters": filters}
    return ApiRequest("GET", "/images/search", documents, query, headers=_auth(credentials))


def pull(
    image: str, *, tag: str = "", platform: str = "", credentials: str = ""
) -> DocumentsRequest[Progress, ProgressDocument]:
    """Get an image from its registry; `credentials` is an encoded X-Registry-Auth."""
    query = {"fromImage": require_name(image, "image"), "tag": tag or None, "platform": platform or None}
    return DocumentsRequest("POST", "/images/create", lambda: messages.Progress, query, None, _auth(credentials))


def import_image(
    source: str | Iterable[bytes],
    *,
    name: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    platform: str = "",
) -> DocumentsRequest[Progress, ProgressDocument]:
    """Make an image of the archive of a file system: of the archive's bytes, or of its address."""
    query = {
        "fromSrc": source if isinstance(source, str) else "-",
        "repo": name or None,
        "message": message or None,
        "changes": [*changes],
        "platform": platform or None,
    }
    content = None if isinstance(source, str) else source
    return DocumentsRequest("POST", "/images/create", lambda: messages.Progress, query, content=content)


def load(
    archive: Iterable[bytes], *, quiet: bool = False, platform: PlatformParameter | None = None
) -> DocumentsRequest[Progress, ProgressDocument]:
    """Load images from an archive, or those of one platform."""
    query = {"quiet": quiet, "platform": platform}
    return DocumentsRequest("POST", "/images/load", lambda: messages.Progress, query, headers=_ARCHIVE, content=archive)


def push(
    image: str, *, tag: str = "", platform: str | PlatformParameter = "", credentials: str = ""
) -> DocumentsRequest[Progress, ProgressDocument]:
    """Bring an image to its registry; `credentials` is an encoded X-Registry-Auth."""
    query = {"tag": tag or None, "platform": platform or None}
    # The API refuses a push that has no such header.
    headers = _auth(credentials or "e30=")
    return DocumentsRequest("POST", _path(image, "/push"), lambda: messages.Progress, query, None, headers)


def tag(image: str, repository: str, tag: str = "latest") -> ApiRequest[None, None]:
    """Give an image one more name."""
    return ApiRequest("POST", _path(image, "/tag"), nothing, {"repo": repository, "tag": tag or None})


def commit(
    container: str,
    *,
    repository: str = "",
    tag: str = "",
    comment: str = "",
    author: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
) -> ApiRequest[dict[str, str], dict[str, str]]:
    """Make an image of what a container has changed; the answer has its `Id`."""
    query = {
        "container": require_name(container, "container"),
        "repo": repository or None,
        "tag": tag or None,
        "comment": comment or None,
        "author": author or None,
        "changes": [*changes],
        "pause": "1" if pause else "0",
    }
    return ApiRequest("POST", "/commit", lambda: dict[str, str], query)


def remove(
    image: str, *, force: bool = False, no_prune: bool = False, platforms: Sequence[PlatformParameter] = ()
) -> ApiRequest[list[DeleteItem], list[DeleteItemDocument]]:
    """Remove a name of an image, and with its last name the image; or only what it has of some platforms."""
    query = {"force": force, "noprune": no_prune, "platforms": [*platforms]}
    return ApiRequest("DELETE", _path(image), lambda: list[wire.DeleteItem], query)


def prune(*, filters: Filters | None = None) -> ApiRequest[ImagesPruned, ImagesPrunedDocument]:
    """Remove the images that have no name and no container."""
    return ApiRequest("POST", "/images/prune", lambda: wire.ImagesPruned, {"filters": filters})


def save(*names: str, platform: PlatformParameter | None = None) -> BytesRequest:
    """Images as an archive."""
    return BytesRequest("GET", "/images/get", {"names": list(names), "platform": platform})


def distribution(image: str, *, credentials: str = "") -> ApiRequest[DistributionInspect, DistributionInspectDocument]:
    """What a registry has under a name."""
    path = f"/distribution/{quote(require_name(image, 'image'), safe='/:@')}/json"
    return ApiRequest("GET", path, lambda: registries.DistributionInspect, {}, None, _auth(credentials))


def log_in(config: AuthConfig | AuthConfigDocument) -> ApiRequest[AuthResponse, AuthResponseDocument]:
    """Check credentials with a registry."""
    return ApiRequest("POST", "/auth", lambda: registries.AuthResponse, {}, config)
