"""`pb.Definition` as the solver's graph. A client's graph is untrusted: it is bounded, and checked vertex by vertex.

A definition lists operations, each after its inputs, which it names by the digests of their bytes; the last one only
says which output is the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from darse.build.errors import InvalidGraph
from darse.build.graph import (
    CacheMount,
    CacheSharing,
    ContentCache,
    CopyAction,
    Definition,
    DiffOperation,
    Edge,
    ExecMount,
    ExecOperation,
    FileAction,
    FileOperation,
    FileOwner,
    GraphBuilder,
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
    VertexMetadata,
    parse_source,
)
from darse.build.graph.operations import DeviceRequirement, FileChange, Operation, ProxySettings, UlimitSetting
from darse.buildkit.wire import ops_pb2

_MOST_VERTICES = 100_000
#: Values of LLB's enumerations, by their numbers.
KINDS = (MountKind.BIND, MountKind.SECRET, MountKind.SSH, MountKind.CACHE, MountKind.TMPFS)
SHARINGS = (CacheSharing.SHARED, CacheSharing.PRIVATE, CacheSharing.LOCKED)
CONTENT = (ContentCache.DEFAULT, ContentCache.ON, ContentCache.OFF)
NETWORKS = (NetworkMode.SANDBOX, NetworkMode.HOST, NetworkMode.NONE)
SECURITIES = (SecurityMode.SANDBOX, SecurityMode.INSECURE)


def decode(message: ops_pb2.Definition) -> Definition:
    """The graph that a client has sent. Raises InvalidGraph."""
    encoded: Sequence[bytes] = getattr(message, "def")  # a word of Python
    if len(encoded) > _MOST_VERTICES:
        raise InvalidGraph(f"a graph has {_MOST_VERTICES} vertices at most")
    lines = _lines(message)
    graph = GraphBuilder()
    edges: dict[str, Edge] = {}
    """The first output of each operation, by the digest that clients know it by."""
    last: ops_pb2.Op | None = None
    for content in encoded:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        try:
            last = ops_pb2.Op.FromString(content)
        except DecodeError as error:
            raise InvalidGraph(f"failed to parse llb proto op: {error}") from error
        inputs = [_edge(one, edges) for one in last.inputs]
        kind = last.WhichOneof("op")
        if kind is None:
            continue
        edges[digest] = graph.add(
            _operation(last, kind),
            inputs,
            platform=platform_text(last.platform),
            constraints=tuple(last.constraints.filter),
            metadata=_metadata(message.metadata.get(digest), lines.get(digest, ()), last, kind),
        )
    if last is None or last.WhichOneof("op") is not None or len(last.inputs) > 1:
        raise InvalidGraph("invalid definition: its last operation names no result")
    return graph.definition(_edge(last.inputs[0], edges) if last.inputs else None)


def _edge(given: ops_pb2.Input, edges: Mapping[str, Edge]) -> Edge:
    found = edges.get(given.digest)
    if found is None:
        raise InvalidGraph(f"invalid missing input digest {given.digest}")
    return Edge(found.vertex, given.index)


def platform_text(given: ops_pb2.Platform) -> str:
    """A platform as containerd formats it; empty where it is not said."""
    return "/".join(part for part in (given.OS, given.Architecture, given.Variant) if part)


def _lines(message: ops_pb2.Definition) -> dict[str, tuple[tuple[int, int], ...]]:
    return {
        digest: tuple((one.start.line, one.end.line) for location in found.locations for one in location.ranges)
        for digest, found in message.Source.locations.items()
    }


def _metadata(
    given: ops_pb2.OpMetadata | None, lines: tuple[tuple[int, int], ...], operation: ops_pb2.Op, kind: str
) -> VertexMetadata:
    if given is None:
        return VertexMetadata(_name(operation, kind), lines=lines)
    description = dict(given.description)
    return VertexMetadata(
        description.get("llb.customname") or _name(operation, kind),
        ignore_cache=given.ignore_cache,
        description=description,
        export_cache=given.export_cache.Value if given.HasField("export_cache") else None,
        progress_group=given.progress_group.id,
        lines=lines,
    )


def _name(operation: ops_pb2.Op, kind: str) -> str:
    match kind:
        case "source":
            return str(operation.source.identifier)
        case "exec":
            return " ".join(operation.exec.meta.args)
        case "file":
            names = [one.WhichOneof("action") or "" for one in operation.file.actions]
            return ",".join(names)
    return kind


def _operation(given: ops_pb2.Op, kind: str) -> Operation:
    match kind:
        case "source":
            return parse_source(given.source.identifier, given.source.attrs)
        case "exec":
            return _exec(getattr(given, "exec"))  # noqa: B009 - a word of Python's once
        case "file":
            return FileOperation(tuple(map(_file_action, given.file.actions)))
        case "merge":
            return MergeOperation(tuple(one.input for one in given.merge.inputs))
        case "diff":
            return DiffOperation(given.diff.lower.input, given.diff.upper.input)
    raise InvalidGraph(f"unsupported operation {kind}")


def _choice(values: Sequence[Any], number: int, what: str) -> Any:
    if not 0 <= number < len(values):
        raise InvalidGraph(f"unsupported {what} {number}")
    return values[number]


def process_meta(meta: ops_pb2.Meta) -> ProcessMeta:
    """A process."""
    proxy = meta.proxy_env
    settings = ProxySettings(
        http=proxy.http_proxy,
        https=proxy.https_proxy,
        ftp=proxy.ftp_proxy,
        none=proxy.no_proxy,
        all=proxy.all_proxy,
    )
    return ProcessMeta(
        tuple(meta.args),
        tuple(meta.env),
        directory=meta.cwd or "/",
        user=meta.user,
        hostname=meta.hostname,
        extra_hosts=tuple((one.Host, one.IP) for one in meta.extraHosts),
        ulimits=tuple(UlimitSetting(one.Name, one.Soft, one.Hard) for one in meta.ulimit),
        cgroup_parent=meta.cgroupParent,
        proxy=settings if meta.HasField("proxy_env") else None,
        remove_mount_stubs_recursive=meta.removeMountStubsRecursive,
        valid_exit_codes=tuple(meta.validExitCodes),
    )


def network_mode(number: int) -> NetworkMode:
    """A network mode by its number. Raises InvalidGraph."""
    found: NetworkMode = _choice(NETWORKS, number, "network mode")
    return found


def security(number: int) -> SecurityMode:
    """A security mode by its number. Raises InvalidGraph."""
    found: SecurityMode = _choice(SECURITIES, number, "security mode")
    return found


def secret_variables(given: Sequence[ops_pb2.SecretEnv]) -> tuple[SecretEnvironment, ...]:
    """Secrets in a process's environment."""
    return tuple(SecretEnvironment(one.ID, one.name, one.optional) for one in given)


def _exec(given: ops_pb2.ExecOp) -> ExecOperation:
    return ExecOperation(
        process_meta(given.meta),
        tuple(map(exec_mount, given.mounts)),
        network=network_mode(given.network),
        security=security(given.security),
        secrets=secret_variables(given.secretenv),
        devices=tuple(DeviceRequirement(one.name, one.optional) for one in given.cdiDevices),
    )


def exec_mount(given: ops_pb2.Mount) -> ExecMount:
    """A mount. Raises InvalidGraph."""
    kind = _choice(KINDS, given.mountType, "mount type")
    secret = None
    if kind in (MountKind.SECRET, MountKind.SSH):
        option = given.secretOpt if kind is MountKind.SECRET else given.SSHOpt
        secret = SecretMount(option.ID, option.uid, option.gid, option.mode, option.optional)
    cache = None
    if kind is MountKind.CACHE:
        cache = CacheMount(given.cacheOpt.ID, _choice(SHARINGS, given.cacheOpt.sharing, "sharing mode"))
    return ExecMount(
        given.dest,
        input=given.input,
        selector=given.selector,
        output=given.output,
        read_only=given.readonly,
        kind=kind,
        tmpfs_size=given.TmpfsOpt.size,
        cache=cache,
        secret=secret,
        content_cache=_choice(CONTENT, given.contentCache, "content cache mode"),
    )


def _file_action(given: ops_pb2.FileAction) -> FileAction:
    kind = given.WhichOneof("action")
    if kind is None:
        raise InvalidGraph("invalid file action of no kind")
    change = _CHANGES[kind](getattr(given, kind))
    return FileAction(change, given.input, given.secondaryInput, given.output)


def _copy(given: ops_pb2.FileActionCopy) -> FileChange:
    return CopyAction(
        source=given.src,
        destination=given.dest,
        owner=_owner(given),
        mode=given.mode if given.mode >= 0 else None,
        mode_text=given.modeStr,
        follow_symlink=given.followSymlink,
        copy_directory_contents=given.dirCopyContents,
        unpack=given.attemptUnpackDockerCompatibility,
        create_destination=given.createDestPath,
        allow_wildcard=given.allowWildcard,
        allow_empty_wildcard=given.allowEmptyWildcard,
        timestamp=_time(given),
        include_patterns=tuple(given.include_patterns),
        exclude_patterns=tuple(given.exclude_patterns),
        always_replace=given.alwaysReplaceExistingDestPaths,
        required_paths=tuple(given.required_paths),
    )


def _mkfile(given: ops_pb2.FileActionMkFile) -> FileChange:
    return MkfileAction(
        path=given.path, data=given.data, mode=given.mode & 0o7777, owner=_owner(given), timestamp=_time(given)
    )


def _mkdir(given: ops_pb2.FileActionMkDir) -> FileChange:
    return MkdirAction(
        path=given.path,
        mode=given.mode & 0o7777,
        make_parents=given.makeParents,
        owner=_owner(given),
        timestamp=_time(given),
    )


def _symlink(given: ops_pb2.FileActionSymlink) -> FileChange:
    return SymlinkAction(target=given.oldpath, path=given.newpath, owner=_owner(given), timestamp=_time(given))


def _remove(given: ops_pb2.FileActionRm) -> FileChange:
    return RemoveAction(path=given.path, allow_not_found=given.allowNotFound, allow_wildcard=given.allowWildcard)


_CHANGES = {"copy": _copy, "mkfile": _mkfile, "mkdir": _mkdir, "rm": _remove, "symlink": _symlink}


def _time(given: Any) -> int | None:
    """Nanoseconds; -1 is none."""
    return int(given.timestamp) if given.timestamp >= 0 else None


def _owner(given: Any) -> FileOwner | None:
    if not given.HasField("owner"):
        return None
    owner = given.owner
    return FileOwner(
        _user(owner.user) if owner.HasField("user") else None, _user(owner.group) if owner.HasField("group") else None
    )


def _user(given: ops_pb2.UserOpt) -> int | UserName | None:
    match given.WhichOneof("user"):
        case "byID":
            return int(given.byID)
        case "byName":
            return UserName(given.byName.name, given.byName.input)
    return None
