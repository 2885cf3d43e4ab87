"""The engine as a whole: version, info, events, disk usage."""

from __future__ import annotations

from typing import Any

import msgspec

from darse.client.http import quote, require_name
from darse.client.request import ApiRequest, DocumentsRequest, Filters
from darse.wire.observation import UsageSample
from darse.wire.system import DiskUsage, Info, Version


class EventActor(msgspec.Struct):
    """The object of an event."""

    ID: str
    Attributes: dict[str, str]


class EngineEvent(msgspec.Struct):
    """An event (`EventMessage` of the API)."""

    Type: str
    Action: str
    Actor: EventActor
    timeNano: int
    scope: str = "local"


class OperationStep(msgspec.Struct):
    """A step of an operation; times in nanoseconds."""

    kind: str
    summary: str
    command: list[str]
    begin_ns: int
    duration_ns: int
    failed: str = ""


class ExplainedOperation(msgspec.Struct):
    """An operation of the engine, with what it did to the host."""

    name: str
    subject: str
    started_at_ns: int
    duration_ns: int
    steps: list[OperationStep]
    outcome: str


class BuildEntry(msgspec.Struct):
    """A build, without its steps."""

    ID: str
    Names: list[str]
    Image: str
    State: str
    StartedAt: str
    DurationNs: int
    Steps: int
    CachedSteps: int
    Error: str = ""


def version() -> ApiRequest[Version]:
    """The versions of the engine and of what it stands on."""
    return ApiRequest("GET", "/version", Version)


def info() -> ApiRequest[Info]:
    """The engine and its host."""
    return ApiRequest("GET", "/info", Info)


def disk_usage() -> ApiRequest[DiskUsage]:
    """What images, containers and volumes take on the disk."""
    return ApiRequest("GET", "/system/df", DiskUsage)


def usage() -> ApiRequest[UsageSample]:
    """What the host and all running containers use (darse's own)."""
    return ApiRequest("GET", "/darse/usage", UsageSample)


def explain(name: str, *, last: str = "") -> ApiRequest[ExplainedOperation]:
    """The steps of the last operation on a container, or of the last one called `last` (darse's own)."""
    return ApiRequest(
        "GET", f"/darse/explain/{quote(require_name(name, 'container'))}", ExplainedOperation, {"last": last or None}
    )


def builds() -> ApiRequest[list[BuildEntry]]:
    """The builds that run and that were, the newest first (darse's own)."""
    return ApiRequest("GET", "/darse/builds", list[BuildEntry])


def build(name: str) -> ApiRequest[dict[str, Any]]:
    """What became of each step of a build (darse's own)."""
    return ApiRequest("GET", f"/darse/builds/{quote(require_name(name, 'build'))}", dict[str, Any])


def build_logs(name: str) -> ApiRequest[list[dict[str, Any]]]:
    """What the steps of a build printed (darse's own)."""
    return ApiRequest("GET", f"/darse/builds/{quote(require_name(name, 'build'))}/logs", list[dict[str, Any]])


def events(*, since: str = "", until: str = "", filters: Filters | None = None) -> DocumentsRequest[EngineEvent]:
    """What happens from now on, or from `since` to `until`."""
    query = {"since": since or None, "until": until or None, "filters": filters}
    return DocumentsRequest("GET", "/events", EngineEvent, query)
