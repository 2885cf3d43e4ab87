"""What is kept of a build."""

from __future__ import annotations

import enum

import msgspec

from darse.build.graph.operations import Operation
from darse.build.solver import Outcome


class BuildState(enum.StrEnum):
    """How far a build is, or how it ended."""

    RUNNING = "running"
    BUILT = "built"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(enum.StrEnum):
    """What became of a step."""

    EXECUTED = "executed"
    SHARED = "shared"
    """Executed by another build at that time."""
    CACHED = "cached"
    NOT_NEEDED = "not needed"
    """A later step was in the cache, so nobody asked for its result."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    """It ran when the build ended for another reason."""
    NOT_REACHED = "not reached"
    RUNNING = "running"


class BuildSummary(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A build as it is listed. Times are nanoseconds since the epoch."""

    id: str
    state: BuildState
    begun_ns: int
    ended_ns: int = 0
    """0 while it runs."""
    names: tuple[str, ...] = ()
    """What its image is called, in familiar form."""
    image: str = ""
    """The image's id."""
    dockerfile: str = ""
    remote: str = ""
    """The URL of its context."""
    target: str = ""
    error: str = ""
    steps: int = 0
    cached: int = 0
    """Steps that were in the cache, or not needed because others were."""


class StepRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A vertex of the graph, or something that the builder does itself (no operation)."""

    vertex: str
    name: str
    state: StepState
    begun_ns: int = 0
    """0 where it did not run."""
    ended_ns: int = 0
    error: str = ""
    lines: tuple[tuple[int, int], ...] = ()
    """Of the Dockerfile, from 1."""
    inputs: tuple[str, ...] = ()
    """Vertices."""
    operation: Operation | None = None
    outcome: Outcome | None = None
    snapshots: tuple[str, ...] = ()


class StepLog(msgspec.Struct, frozen=True):
    """What one step said: the end of it, where that was much."""

    vertex: str
    name: str
    clipped: int
    """Bytes that are left out at the beginning."""
    data: bytes


class BuildRecord(msgspec.Struct, frozen=True):
    """All that is kept of one build, but for its log."""

    summary: BuildSummary
    steps: tuple[StepRecord, ...]
