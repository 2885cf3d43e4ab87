"""The engine as a whole: version, info, events, disk usage."""

from __future__ import annotations

import msgspec

from darse.client.request import ApiRequest, DocumentsRequest, Filters
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


def version() -> ApiRequest[Version]:
    """The versions of the engine and of what it stands on."""
    return ApiRequest("GET", "/version", Version)


def info() -> ApiRequest[Info]:
    """The engine and its host."""
    return ApiRequest("GET", "/info", Info)


def disk_usage() -> ApiRequest[DiskUsage]:
    """What images, containers and volumes take on the disk."""
    return ApiRequest("GET", "/system/df", DiskUsage)


def events(*, since: str = "", until: str = "", filters: Filters | None = None) -> DocumentsRequest[EngineEvent]:
    """What happens from now on, or from `since` to `until`."""
    query = {"since": since or None, "until": until or None, "filters": filters}
    return DocumentsRequest("GET", "/events", EngineEvent, query)
