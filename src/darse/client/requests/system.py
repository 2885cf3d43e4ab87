"""The engine as a whole: version, info, events, disk usage, checks."""

from __future__ import annotations

from darse.client.http import quote, require_name
from darse.client.requests import ApiRequest, DocumentsRequest, LazyModule, document, documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from darse.client import messages
    from darse.client.documents.system import (
        CheckMessageDocument,
        DiskUsageDocument,
        EventDocument,
        FindingDocument,
        ImportMessageDocument,
        InfoDocument,
        NameLookupDocument,
        OperationDocument,
        RecordedOperationDocument,
        VersionDocument,
    )
    from darse.client.messages import EngineEvent, ExplainedOperation
    from darse.client.requests import Filters
    from darse.wire import images, observation
    from darse.wire import system as wire
    from darse.wire.images import CheckMessage
    from darse.wire.observation import UsageSample
    from darse.wire.system import DiskUsage, Finding, ImportMessage, Info, Version
else:
    messages, observation = LazyModule("darse.client.messages"), LazyModule("darse.wire.observation")
    images, wire = LazyModule("darse.wire.images"), LazyModule("darse.wire.system")


def version() -> ApiRequest[Version, VersionDocument]:
    """The versions of the engine and of what it stands on."""
    return ApiRequest("GET", "/version", lambda: wire.Version)


def info() -> ApiRequest[Info, InfoDocument]:
    """The engine and its host."""
    return ApiRequest("GET", "/info", lambda: wire.Info)


def disk_usage(types: Sequence[str] = ()) -> ApiRequest[DiskUsage, DiskUsageDocument]:
    """What images, containers, volumes and the build cache take on the disk, or only what some of these do."""
    return ApiRequest("GET", "/system/df", lambda: wire.DiskUsage, {"type": [*types]})


def usage() -> ApiRequest[UsageSample]:
    """What the host and all running containers use (darse's own)."""
    return ApiRequest("GET", "/darse/usage", lambda: observation.UsageSample)


def explain(name: str, *, last: str = "") -> ApiRequest[ExplainedOperation, OperationDocument]:
    """The steps of the last operation on a container, or of the last one called `last` (darse's own)."""
    path = f"/darse/explain/{quote(require_name(name, 'container'))}"
    return ApiRequest("GET", path, lambda: messages.ExplainedOperation, {"last": last or None})


def recorded_operations() -> ApiRequest[list[dict[str, Any]], list[RecordedOperationDocument] | None]:
    """The operations that `explain` knows, the newest first (darse's own)."""
    return ApiRequest("GET", "/darse/explain", documents)


def explain_lookup(container: str, name: str) -> ApiRequest[dict[str, Any], NameLookupDocument]:
    """How a name is looked up from a container (darse's own)."""
    path = f"/darse/dns/{quote(require_name(container, 'container'))}"
    return ApiRequest("GET", path, document, {"name": name})


def diagnose() -> ApiRequest[list[Finding], list[FindingDocument]]:
    """What of the host keeps the engine from doing all it could (darse's own)."""
    return ApiRequest("GET", "/darse/doctor", lambda: list[wire.Finding])


def check(*, repair: bool = False) -> DocumentsRequest[CheckMessage, CheckMessageDocument]:
    """Whether records, images and layers are whole; `repair` mends what can be (darse's own)."""
    return DocumentsRequest("POST" if repair else "GET", "/darse/check", lambda: images.CheckMessage)


def remove_orphans() -> DocumentsRequest[CheckMessage, CheckMessageDocument]:
    """Remove for good what was moved aside because no record names it (darse's own)."""
    return DocumentsRequest("DELETE", "/darse/orphans", lambda: images.CheckMessage)


def import_docker(data_root: str, *, dry_run: bool = False) -> DocumentsRequest[ImportMessage, ImportMessageDocument]:
    """Import what a dockerd has in its data root (darse's own)."""
    body = {"DataRoot": data_root, "DryRun": dry_run}
    return DocumentsRequest("POST", "/darse/import-docker", lambda: wire.ImportMessage, {}, body)


def events(
    *, since: str | None = None, until: str | None = None, filters: Filters | None = None
) -> DocumentsRequest[EngineEvent, EventDocument]:
    """What happens from now on, or from `since` to `until`."""
    query = {"since": since or None, "until": until or None, "filters": filters}
    return DocumentsRequest("GET", "/events", lambda: messages.EngineEvent, query)
