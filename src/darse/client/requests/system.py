"""The engine as a whole: version, info, events, disk usage."""

from __future__ import annotations

import msgspec

from darse.client.request import DocumentsRequest, Filters, Request
from darse.wire.system import DiskUsage, Info, Version


class Actor(msgspec.Struct):
    """The object of an event."""

    ID: str
    Attributes: dict[str, str]


class Event(msgspec.Struct):
    """An event (`EventMessage` of the API)."""

    Type: str
    Action: str
    Actor: Actor
    timeNano: int
    scope: str = "local"


def version() -> Request[Version]:
    """The versions of the engine and of what it stands on."""
    return Request("GET", "/version", Version)


def info() -> Request[Info]:
    """The engine and its host."""
    return Request("GET", "/info", Info)


def disk_usage() -> Request[DiskUsage]:
    """What images, containers and volumes take on the disk."""
    return Request("GET", "/system/df", DiskUsage)


def events(*, since: str = "", until: str = "", filters: Filters | None = None) -> DocumentsRequest[Event]:
    """What happens from now on, or from `since` to `until`."""
    query = {"since": since or None, "until": until or None, "filters": filters}
    return DocumentsRequest("GET", "/events", Event, query)
