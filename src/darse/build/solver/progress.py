"""What a build reports while it runs, and what happened to each vertex."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TypeAlias

import msgspec


class OutcomeKind(enum.StrEnum):
    """How a vertex came to its result."""

    CACHED = "cached"
    """Found by how its inputs were made."""
    CACHED_BY_CONTENT = "cached-by-content"
    """Found by the content of its inputs, some of which were made anew."""
    SHARED = "shared"
    """Another build, or another vertex, executed the same at that time."""
    EXECUTED = "executed"


class Outcome(msgspec.Struct, frozen=True):
    """What happened to a vertex, and why."""

    kind: OutcomeKind
    key: str
    reason: str = ""
    """Why it was executed."""
    changed_inputs: tuple[int, ...] = ()
    """Positions of the inputs that differ from the last time that the same operation was asked for."""


class VertexStarted(msgspec.Struct, frozen=True):
    """A vertex is executed from now on."""

    vertex: str
    name: str


class VertexCompleted(msgspec.Struct, frozen=True):
    """A vertex has its result, or failed."""

    vertex: str
    name: str
    cached: bool = False
    error: str = ""
    outcome: Outcome | None = None
    """How a vertex of the graph came to its result; None for one that failed."""
    snapshots: tuple[str, ...] = ()
    """Its result."""


class VertexLog(msgspec.Struct, frozen=True):
    """Something that a process wrote."""

    vertex: str
    stream: int
    data: bytes


ProgressEvent: TypeAlias = VertexStarted | VertexCompleted | VertexLog
Report: TypeAlias = Callable[[ProgressEvent], None]
