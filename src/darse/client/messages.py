"""Messages of the engine's streams, and answers of darse's own, that `darse.wire` has no struct of."""

from __future__ import annotations

from typing import Any

import msgspec


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
