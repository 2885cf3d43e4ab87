"""Cache keys.

What cannot change a result is no part of its key: the selector of a mount (it is part of the dependency), proxies,
addresses of extra hosts, ids of cache mounts that somebody has chosen, the directory part of what is copied.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Sequence

import msgspec

from darse.build.graph.definition import Vertex
from darse.build.graph.operations import (
    CacheMount,
    CacheSharing,
    CopyAction,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    Operation,
)
from darse.build.graph.selectors import InputDependency
from darse.build.graph.sources import SourceOperation

# Part of every key: a change of what is hashed must not find what was cached before.
_VERSION = b"darse.build.key.v1\n"
_ENCODER = msgspec.json.Encoder(order="deterministic")


def digest_of(*parts: object) -> str:
    """The digest of values that msgspec can encode."""
    return f"sha256:{hashlib.sha256(_VERSION + _ENCODER.encode(parts)).hexdigest()}"


def source_key(source: SourceOperation, identity: str) -> str:
    """The key of a source: what it has, not what it is called."""
    return digest_of("source", type(source).__name__, identity)


def operation_digest(vertex: Vertex, inputs: int) -> str:
    """The part of a vertex's key that is not its inputs."""
    return digest_of("operation", _essential(vertex.operation, inputs), vertex.platform)


def vertex_key(operation: str, dependencies: Sequence[InputDependency], inputs: Sequence[tuple[str, str]]) -> str:
    """The key of a vertex. inputs: `key` or `content`, and the digest."""
    selected = [[*given, dependency.selectors] for given, dependency in zip(inputs, dependencies, strict=True)]
    return digest_of("vertex", operation, selected)


def edge_key(key: str, output: int) -> str:
    """The key of one output."""
    return key if output == 0 else digest_of("output", key, output)


def imported_key(space: str, key: str) -> str:
    """The key of a result that caches elsewhere claim, or that was made on such: known to who uses them alone."""
    return digest_of("imported", space, key)


def _essential(operation: Operation, inputs: int) -> Operation:
    match operation:
        case ExecOperation():
            meta = msgspec.structs.replace(
                operation.meta, proxy=None, extra_hosts=tuple((name, "") for name, _ in operation.meta.extra_hosts)
            )
            return msgspec.structs.replace(operation, meta=meta, mounts=tuple(map(_essential_mount, operation.mounts)))
        case FileOperation():
            actions = tuple(_essential_action(action, inputs) for action in operation.actions)
            return msgspec.structs.replace(operation, actions=actions)
    return operation


def _essential_mount(mount: ExecMount) -> ExecMount:
    cache = mount.cache
    if cache is not None:
        # What a Dockerfile calls its caches by default says where they are; other names say which they share.
        is_default = cache.id.partition("/")[2] == mount.destination and cache.sharing is CacheSharing.SHARED
        cache = cache if is_default else CacheMount()
    return msgspec.structs.replace(mount, selector="", cache=cache)


def _essential_action(action: FileAction, inputs: int) -> FileAction:
    change = action.change
    if isinstance(change, CopyAction) and 0 <= action.second_input < inputs:
        name = posixpath.basename(change.source.rstrip("/")) or "/"
        return msgspec.structs.replace(action, change=msgspec.structs.replace(change, source=name))
    return action
