"""Documents of `/build` and of darse's own `/darse/builds`."""

from __future__ import annotations

from typing import Any, TypedDict


class BuildEntryDocument(TypedDict, total=False):
    """A build in a list; `Steps` is how many it had."""

    ID: str
    Names: list[str]
    Image: str
    State: str
    StartedAt: str
    DurationNs: int
    Steps: int
    CachedSteps: int
    Error: str


class BuildStepDocument(TypedDict, total=False):
    """What became of a step of a build, and why; times in nanoseconds."""

    Vertex: str
    Name: str
    State: str
    Cause: str
    Details: list[str]
    Inputs: list[str]
    BeginNs: int
    DurationNs: int
    Error: str


class BuildDocument(TypedDict, total=False):
    """A build with its steps."""

    ID: str
    Names: list[str]
    Image: str
    State: str
    StartedAt: str
    DurationNs: int
    Steps: list[BuildStepDocument]
    CachedSteps: int
    Error: str


class BuildLogDocument(TypedDict, total=False):
    """What a step of a build printed, but for the first bytes where it was much."""

    Name: str
    Text: str
    Clipped: int


class BuildMessageDocument(TypedDict, total=False):
    """A line of a build's answer: its status, a request for something that is here, or the result."""

    context: dict[str, str]
    agent: dict[str, str]
    aux: Any
