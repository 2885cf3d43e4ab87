"""What a build reports while it runs: typed events, for the API.

The solver's own (`darse.build.solver.progress`) are about vertices of the graph. A build has more: what is done before
there is a graph, the graph itself, pulls, warnings. Events never wait for the listener.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import msgspec

from darse.build.dockerfile import DockerfileError
from darse.build.dockerfile.checks import CheckWarning
from darse.build.dockerfile.convert import BuildTarget, DockerfileStep, Outline
from darse.build.graph import Definition
from darse.build.solver import VertexCompleted, VertexLog, VertexStarted
from darse.image_spec.manifests import Descriptor
from darse.images.progress import TransferEvent


class DockerfileRead(msgspec.Struct, frozen=True):
    """What will be built: errors and warnings point at lines of it."""

    filename: str
    source: str


class BuildPlanned(msgspec.Struct, frozen=True):
    """The Dockerfile is read: these instructions will be run, as this graph."""

    steps: tuple[DockerfileStep, ...]
    definition: Definition


class BuildWarned(msgspec.Struct, frozen=True):
    """A rule of the checks found something."""

    warning: CheckWarning


class BuildTransfer(msgspec.Struct, frozen=True):
    """The pull of a base image is further; `vertex` is the internal one that resolves it."""

    vertex: str
    event: TransferEvent


class AgentRequested(msgspec.Struct, frozen=True):
    """A step asks an SSH agent of the client, which is to open a connection with this token."""

    agent: str
    token: str


class ContextRequested(msgspec.Struct, frozen=True):
    """The client is asked for a context that has changed, on a connection with this token."""

    name: str
    token: str


class VertexNote(msgspec.Struct, frozen=True):
    """A part of a vertex is done."""

    vertex: str
    text: str


BuildEvent: TypeAlias = (
    VertexStarted
    | VertexCompleted
    | VertexLog
    | VertexNote
    | AgentRequested
    | ContextRequested
    | DockerfileRead
    | BuildPlanned
    | BuildWarned
    | BuildTransfer
)
BuildReport: TypeAlias = Callable[[BuildEvent], None]


@asynccontextmanager
async def internal_vertex(report: BuildReport, name: str) -> AsyncIterator[str]:
    """Report the block as a vertex of its own, `[internal] …`, that is in no graph; gives its digest."""
    digest = f"sha256:{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()}"
    report(VertexStarted(digest, name))
    try:
        yield digest
    except Exception as error:
        report(VertexCompleted(digest, name, error=str(error)))
        raise
    report(VertexCompleted(digest, name))


def ignore_events(_: BuildEvent) -> None:
    """Nobody listens."""


class DockerfileFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was asked about a Dockerfile: what its checks find, what a target can be given, or its targets."""

    call: str
    warnings: tuple[CheckWarning, ...] = ()
    error: DockerfileError | None = None
    outline: Outline | None = None
    targets: tuple[BuildTarget, ...] = ()


class BuiltImage(msgspec.Struct, frozen=True):
    """What a build came to."""

    id: str
    """The image's; empty where the build exported something else."""
    names: tuple[str, ...] = ()
    """Familiar names that it has now."""
    target: Descriptor | None = None
    """What its names refer to: its manifest, or the index of several."""
    image_ids: tuple[str, ...] = ()
    """Of each platform."""
    caches: tuple[str, ...] = ()
    """Tokens of the caches that the client fetches, in the order in which it asked for them."""
    facts: DockerfileFacts | None = None
    """In the place of an image, where something was asked about the Dockerfile."""
