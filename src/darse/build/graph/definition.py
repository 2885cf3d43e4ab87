"""Vertices, and the definition that they make together.

A vertex's digest is the SHA-256 of its canonical JSON: operation, inputs, platform and constraints, but for fields at
their defaults, so that a field that is added later changes no digest of today. What changes nothing of the result (the
name that users see, whether the cache may be used) is `VertexMetadata`, beside the vertex and not in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from darse.build.errors import InvalidGraph
from darse.build.graph.operations import Operation
from darse.build.graph.validation import check_operation

# Part of every digest: a change of what a field means must not find what was cached before.
_VERSION = b"darse.build.vertex.v1\n"
_ENCODER = msgspec.json.Encoder(order="deterministic")


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """One output of a vertex."""

    vertex: str
    """The vertex's digest."""
    index: int = 0


SCRATCH: Edge | None = None
"""The empty tree: an edge of no vertex."""


class Vertex(msgspec.Struct, frozen=True, omit_defaults=True):
    """An operation with its inputs."""

    operation: Operation
    inputs: tuple[Edge, ...] = ()
    platform: str = ""
    """As containerd formats it, `linux/arm64/v8`; empty is the worker's."""
    constraints: tuple[str, ...] = ()
    """Filters for workers."""

    def digest(self) -> str:
        """The name of the vertex. Computed each time: a definition keeps it."""
        return f"sha256:{hashlib.sha256(_VERSION + _ENCODER.encode(self)).hexdigest()}"


class VertexMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """What goes with a vertex and changes nothing of its result."""

    name: str = ""
    """What progress shows; empty is a name made of the operation."""
    ignore_cache: bool = False
    description: Mapping[str, str] = {}
    export_cache: bool | None = None
    progress_group: str = ""
    lines: tuple[tuple[int, int], ...] = ()
    """First and last lines of the Dockerfile that ask for it, from 1."""


class Definition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A graph that can be run: each vertex after all its inputs."""

    vertices: Mapping[str, Vertex]
    """By digest, in that order."""
    result: Edge | None
    """None is the empty tree."""
    metadata: Mapping[str, VertexMetadata] = {}

    def reachable(self) -> Definition:
        """The same without vertices that the result does not need."""
        needed: set[str] = set()
        stack = [] if self.result is None else [self.result.vertex]
        while stack:
            digest = stack.pop()
            if digest not in needed:
                needed.add(digest)
                stack.extend(edge.vertex for edge in self.vertices[digest].inputs)
        vertices = {digest: vertex for digest, vertex in self.vertices.items() if digest in needed}
        metadata = {digest: entry for digest, entry in self.metadata.items() if digest in needed}
        return Definition(vertices, self.result, metadata)


class GraphBuilder:
    """Takes vertices one by one, and refuses those that cannot be run."""

    def __init__(self) -> None:
        self._vertices: dict[str, Vertex] = {}
        self._outputs: dict[str, int] = {}
        self._metadata: dict[str, VertexMetadata] = {}

    def add(
        self,
        operation: Operation,
        inputs: Sequence[Edge] = (),
        *,
        platform: str = "",
        constraints: Sequence[str] = (),
        metadata: VertexMetadata | None = None,
        output: int = 0,
    ) -> Edge:
        """Add a vertex, or find the same, and return one of its outputs. Raises InvalidGraph."""
        for edge in inputs:
            self._check_edge(edge)
        outputs = check_operation(operation, len(inputs))
        vertex = Vertex(operation, tuple(inputs), platform, tuple(constraints))
        digest = vertex.digest()
        self._vertices.setdefault(digest, vertex)
        self._outputs[digest] = outputs
        if metadata is not None:
            self._metadata[digest] = _joined(self._metadata.get(digest), metadata)
        edge = Edge(digest, output)
        self._check_edge(edge)
        return edge

    def vertex(self, edge: Edge) -> Vertex:
        """The vertex of an edge that this builder gave."""
        return self._vertices[edge.vertex]

    def definition(self, result: Edge | None) -> Definition:
        """The graph of a result: all that it needs, and nothing else. Raises InvalidGraph."""
        if result is not None:
            self._check_edge(result)
        return Definition(self._vertices, result, self._metadata).reachable()

    def _check_edge(self, edge: Edge) -> None:
        if edge.vertex not in self._vertices:
            raise InvalidGraph(f"invalid missing input digest {edge.vertex}")
        if not 0 <= edge.index < self._outputs[edge.vertex]:
            raise InvalidGraph(f"invalid output {edge.index} of {edge.vertex}: it has {self._outputs[edge.vertex]}")


def _joined(one: VertexMetadata | None, other: VertexMetadata) -> VertexMetadata:
    """Of two that ask for the same vertex: the first's name; the cache is ignored if either says so."""
    if one is None:
        return other
    return msgspec.structs.replace(
        one,
        name=one.name or other.name,
        ignore_cache=one.ignore_cache or other.ignore_cache,
        export_cache=other.export_cache if one.export_cache is None else one.export_cache,
        lines=tuple(sorted({*one.lines, *other.lines})),
    )
