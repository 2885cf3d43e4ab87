"""`/build`, its caches and connections, and darse's own `/darse/builds`."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import (
    ApiRequest,
    AttachRequest,
    BytesRequest,
    DocumentsRequest,
    LazyModule,
    document,
    documents,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from darse.client import messages
    from darse.client.documents.builds import BuildDocument, BuildEntryDocument, BuildLogDocument
    from darse.client.documents.system import CachesPrunedDocument
    from darse.client.messages import BuildEntry
    from darse.client.requests import Filters
    from darse.wire import system as wire
    from darse.wire.system import CachesPruned
else:
    messages, wire = LazyModule("darse.client.messages"), LazyModule("darse.wire.system")


def _path(build: str, operation: str = "") -> str:
    return f"/darse/builds/{quote(require_name(build, 'build'))}{operation}"


def build(
    query: Mapping[str, Any], content: Iterable[bytes], headers: Mapping[str, str]
) -> DocumentsRequest[dict[str, Any], dict[str, Any]]:
    """Build an image of what is sent; `query` has the API's parameters, `headers` the type of the content."""
    return DocumentsRequest("POST", "/build", document, query, headers=headers, content=content)


def agent_connection(token: str) -> AttachRequest:
    """A connection to an agent of the user's, for which a build has asked with a token (darse's own)."""
    return AttachRequest("POST", "/build/agents", {"connection": token})


def context_connection(token: str) -> AttachRequest:
    """A connection on which the files of a context go, for which a build has asked with a token (darse's own)."""
    return AttachRequest("POST", "/build/contexts", {"connection": token})


def exported_cache(token: str) -> BytesRequest:
    """A cache that a build has exported, as the archive of an image layout, once (darse's own)."""
    return BytesRequest("GET", f"/build/caches/{quote(token)}")


def prune_cache(
    *,
    all: bool = False,
    reserved_space: int | None = None,
    max_used_space: int | None = None,
    filters: Filters | None = None,
) -> ApiRequest[CachesPruned, CachesPrunedDocument]:
    """Remove what of the build cache is not used; the two sizes are bytes."""
    query = {
        "all": all,
        "filters": filters,
        "reserved-space": reserved_space,
        "max-used-space": max_used_space,
    }
    return ApiRequest("POST", "/build/prune", lambda: wire.CachesPruned, query)


def list_builds() -> ApiRequest[list[BuildEntry], list[BuildEntryDocument] | None]:
    """The builds that run and that were, the newest first (darse's own)."""
    return ApiRequest("GET", "/darse/builds", lambda: list[messages.BuildEntry])


def inspect(name: str) -> ApiRequest[dict[str, Any], BuildDocument]:
    """What became of each step of a build (darse's own)."""
    return ApiRequest("GET", _path(name), document)


def logs(name: str) -> ApiRequest[list[dict[str, Any]], list[BuildLogDocument]]:
    """What the steps of a build printed (darse's own)."""
    return ApiRequest("GET", _path(name, "/logs"), documents)
