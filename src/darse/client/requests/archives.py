"""The files of containers: `/containers/{id}/archive`, `/export` and `/changes`."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import ApiRequest, BytesRequest, LazyModule, nothing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from darse.client.documents.observation import FilesystemChangeDocument
    from darse.wire import archives as wire
    from darse.wire import observation
    from darse.wire.archives import DirectoryListing
    from darse.wire.observation import FilesystemChange
else:
    observation, wire = LazyModule("darse.wire.observation"), LazyModule("darse.wire.archives")


def _path(container: str, operation: str) -> str:
    return f"/containers/{quote(require_name(container, 'container'))}{operation}"


def archive(container: str, path: str) -> BytesRequest:
    """A path of a container as a tar archive."""
    return BytesRequest("GET", _path(container, "/archive"), {"path": path})


def stat_path(container: str, path: str) -> ApiRequest[None, None]:
    """What is at a path of a container: the answer has it in the header that `archive` has, too."""
    return ApiRequest("HEAD", _path(container, "/archive"), nothing, {"path": path})


def put_archive(
    container: str,
    path: str,
    content: bytes | Iterable[bytes],
    *,
    keep_kinds: bool = False,
    keep_owners: bool = False,
) -> ApiRequest[None, None]:
    """Unpack a tar archive into a directory of a container.

    `keep_kinds`: no file takes a directory's place. `keep_owners`: files belong to whom the archive says.
    """
    query = {"path": path, "noOverwriteDirNonDir": keep_kinds, "copyUIDGID": keep_owners}
    return ApiRequest("PUT", _path(container, "/archive"), nothing, query, content=content)


def files(container: str, path: str) -> ApiRequest[DirectoryListing]:
    """What is at a path of a container, and in it (darse's own)."""
    return ApiRequest("GET", f"/darse{_path(container, '/files')}", lambda: wire.DirectoryListing, {"path": path})


def export(container: str) -> BytesRequest:
    """The root file system of a container as a tar archive."""
    return BytesRequest("GET", _path(container, "/export"))


def changes(container: str) -> ApiRequest[list[FilesystemChange] | None, list[FilesystemChangeDocument] | None]:
    """What a container has changed in the files of its image."""

    def result() -> type[list[FilesystemChange] | None]:
        return list[observation.FilesystemChange] | None  # type: ignore[return-value]

    return ApiRequest("GET", _path(container, "/changes"), result)
