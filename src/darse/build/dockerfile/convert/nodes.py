"""The graph while it grows.

Which paths of the build context are used is known when all stages are converted, and the context's vertex, whose digest
is part of every other, depends on it. So stages are converted to nodes that refer to each other, and these become
vertices at the end: those that the result needs.
"""

from __future__ import annotations

from typing import NamedTuple

from darse.build.graph.definition import Definition, Edge, GraphBuilder, VertexMetadata
from darse.build.graph.operations import Operation


class Node:
    """A vertex to be."""

    __slots__ = ("inputs", "metadata", "operation", "platform")

    def __init__(
        self, operation: Operation, inputs: list[Tree], platform: str, metadata: VertexMetadata | None = None
    ) -> None:
        self.operation = operation
        self.inputs = inputs
        self.platform = platform
        self.metadata = metadata


class Tree(NamedTuple):
    """One output of a node."""

    node: Node
    output: int = 0


class NodeInputs:
    """The inputs of a node while its operation is put together: each tree once."""

    def __init__(self) -> None:
        self.trees: list[Tree] = []

    def index(self, tree: Tree | None) -> int:
        """The position of a tree; -1 for the empty one."""
        if tree is None:
            return -1
        for index, known in enumerate(self.trees):
            if known.node is tree.node and known.output == tree.output:
                return index
        self.trees.append(tree)
        return len(self.trees) - 1


def tree_of(definition: Definition) -> Tree | None:
    """The result of a graph, to build on; None is the empty tree."""
    nodes: dict[str, Node] = {}
    for digest, vertex in definition.vertices.items():
        inputs = [Tree(nodes[edge.vertex], edge.index) for edge in vertex.inputs]
        nodes[digest] = Node(vertex.operation, inputs, vertex.platform, definition.metadata.get(digest))
    result = definition.result
    return Tree(nodes[result.vertex], result.index) if result is not None else None


def definition_of(result: Tree | None) -> Definition:
    """The graph of a tree."""
    builder = GraphBuilder()
    if result is None:
        return builder.definition(None)
    edges: dict[int, Edge] = {}
    stack = [result.node]
    while stack:
        node = stack[-1]
        missing = [tree.node for tree in node.inputs if id(tree.node) not in edges]
        if missing:
            stack.extend(reversed(missing))
            continue
        stack.pop()
        if id(node) not in edges:
            inputs = [Edge(edges[id(tree.node)].vertex, tree.output) for tree in node.inputs]
            edges[id(node)] = builder.add(node.operation, inputs, platform=node.platform, metadata=node.metadata)
    return builder.definition(Edge(edges[id(result.node)].vertex, result.output))
