"""The graph of a build: LLB, as BuildKit's clients and front ends define it (`solver/pb/ops.proto`).

Vocabulary

    operation    what a vertex does: fetch a source, run a process, change files, merge or subtract trees
    vertex       an operation with its inputs and its platform; named by the digest of all three
    edge         one output of a vertex: a tree of files. Inputs of a vertex are edges of others
    selector     the part of an input that an operation looks at: a path, a wildcard, patterns
    definition   vertices in an order in which each comes after its inputs, and the edge that is the result

Structs are frozen, and a vertex refers to its inputs by digest: two front ends that ask for the same work give vertices
with the same digest. A graph of a hundred thousand vertices in one chain is walked without recursion.

    graph = GraphBuilder()
    base = graph.add(ImageSource("docker.io/library/alpine:latest"), platform="linux/amd64")
    run = graph.add(ExecOperation(ProcessMeta(("/bin/sh", "-c", "true")), (ExecMount("/", 0, output=0),)), (base,))
    definition = graph.definition(run)
"""

from darse.build.graph.definition import SCRATCH, Definition, Edge, GraphBuilder, Vertex, VertexMetadata
from darse.build.graph.operations import (
    EMPTY,
    SKIP_OUTPUT,
    CacheMount,
    CacheSharing,
    ContentCache,
    CopyAction,
    DiffOperation,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    FileOwner,
    MergeOperation,
    MkdirAction,
    MkfileAction,
    MountKind,
    NetworkMode,
    ProcessMeta,
    RemoveAction,
    SecretEnvironment,
    SecretMount,
    SecurityMode,
    SymlinkAction,
    UserName,
)
from darse.build.graph.selectors import InputDependency, Selector, dependencies
from darse.build.graph.sources import (
    GitSource,
    HTTPSource,
    ImageSource,
    LocalSource,
    OCILayoutSource,
    parse_source,
    source_attributes,
    source_identifier,
)

__all__ = [
    "EMPTY",
    "SCRATCH",
    "SKIP_OUTPUT",
    "CacheMount",
    "CacheSharing",
    "ContentCache",
    "CopyAction",
    "Definition",
    "DiffOperation",
    "Edge",
    "ExecMount",
    "ExecOperation",
    "FileAction",
    "FileOperation",
    "FileOwner",
    "GitSource",
    "GraphBuilder",
    "HTTPSource",
    "ImageSource",
    "InputDependency",
    "LocalSource",
    "MergeOperation",
    "MkdirAction",
    "MkfileAction",
    "MountKind",
    "NetworkMode",
    "OCILayoutSource",
    "ProcessMeta",
    "RemoveAction",
    "SecretEnvironment",
    "SecretMount",
    "SecurityMode",
    "Selector",
    "SymlinkAction",
    "UserName",
    "Vertex",
    "VertexMetadata",
    "dependencies",
    "parse_source",
    "source_attributes",
    "source_identifier",
]
