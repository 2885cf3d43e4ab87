"""The solver's graphs as `pb.Definition`: what clients are given of a result, to build on. See `definitions.decode`.

What is decoded again is the same graph, vertex by vertex. Debuggers find steps by the lines of the Dockerfile, and the
step that failed by its digest: an operation has the same bytes here as in an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from darse.build.graph import (
    CopyAction,
    Definition,
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
    RemoveAction,
    SymlinkAction,
    UserName,
    VertexMetadata,
    source_attributes,
    source_identifier,
)
from darse.build.graph.definition import Vertex
from darse.build.graph.operations import ProcessMeta
from darse.buildkit.definitions import CONTENT, KINDS, NETWORKS, SECURITIES, SHARINGS
from darse.buildkit.wire import ops_pb2
from darse.image_spec import platforms


def encode(definition: Definition, source: ops_pb2.SourceInfo | None = None) -> ops_pb2.Definition:
    """A graph on the wire; the empty tree is one without operations. source: the file that its lines are of."""
    made = ops_pb2.Definition()
    if definition.result is None:
        return made
    digests: dict[str, str] = {}
    encoded = getattr(made, "def")  # a word of Python's
    if source is not None:
        made.Source.infos.append(source)
    for vertex, operation in _operations(definition, digests):
        digests[vertex] = _add(encoded, operation)
        if (metadata := definition.metadata.get(vertex)) is not None:
            made.metadata[digests[vertex]].CopyFrom(_metadata(metadata))
            if source is not None and metadata.lines:
                ranges = [line_range(one) for one in metadata.lines]
                made.Source.locations[digests[vertex]].locations.add(sourceIndex=0, ranges=ranges)
    last = ops_pb2.Op()
    last.inputs.add(digest=digests[definition.result.vertex], index=definition.result.index)
    made.metadata[_add(encoded, last)].SetInParent()
    return made


def encoded_operation(definition: Definition, digest: str) -> ops_pb2.Op | None:
    """One operation of a graph, by its vertex's digest, as `encode` has it; None where the graph has none such."""
    digests: dict[str, str] = {}
    for vertex, operation in _operations(definition, digests):
        if vertex == digest:
            return operation
        digests[vertex] = _add([], operation)
    return None


def line_range(lines: tuple[int, int]) -> ops_pb2.Range:
    """Lines of a Dockerfile on the wire."""
    return ops_pb2.Range(start=ops_pb2.Position(line=lines[0]), end=ops_pb2.Position(line=lines[1]))


def _operations(definition: Definition, digests: Mapping[str, str]) -> Iterator[tuple[str, ops_pb2.Op]]:
    """Yield the vertices, each with its operation; the caller notes its digest before the next."""
    for vertex, content in definition.vertices.items():
        operation = _operation(content)
        for edge in content.inputs:
            operation.inputs.add(digest=digests[edge.vertex], index=edge.index)
        yield vertex, operation


def _add(encoded: Any, operation: ops_pb2.Op) -> str:
    content = _content(operation)
    encoded.append(content)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _content(operation: ops_pb2.Op) -> bytes:
    """An operation's bytes, in the order in which Go writes them: members of a `oneof` after all other fields.

    Clients that encode it anew, to look for its digest, come to the same bytes.
    """
    kind = operation.WhichOneof("op")
    if kind is None:
        return bytes(operation.SerializeToString(deterministic=True))
    others, alone = ops_pb2.Op(), ops_pb2.Op()
    others.CopyFrom(operation)
    others.ClearField(kind)
    getattr(alone, kind).CopyFrom(getattr(operation, kind))
    return bytes(others.SerializeToString(deterministic=True) + alone.SerializeToString(deterministic=True))


def _metadata(given: VertexMetadata) -> ops_pb2.OpMetadata:
    description = {**given.description, **({"llb.customname": given.name} if given.name else {})}
    made = ops_pb2.OpMetadata(ignore_cache=given.ignore_cache, description=description)
    if given.export_cache is not None:
        made.export_cache.Value = given.export_cache
    if given.progress_group:
        made.progress_group.id = given.progress_group
    return made


def _operation(vertex: Vertex) -> ops_pb2.Op:
    made = ops_pb2.Op()
    if vertex.platform:
        platform = platforms.parse(vertex.platform)
        made.platform.OS, made.platform.Architecture = platform.os, platform.architecture
        made.platform.Variant = platform.variant
    if vertex.constraints:
        made.constraints.filter.extend(vertex.constraints)
    match vertex.operation:
        case ExecOperation() as process:
            getattr(made, "exec").CopyFrom(_exec(process))  # noqa: B009 - a word of Python's once
        case FileOperation(actions=actions):
            made.file.actions.extend(map(_action, actions))
        case MergeOperation(inputs=inputs):
            made.merge.inputs.extend(ops_pb2.MergeInput(input=one) for one in inputs)
        case DiffOperation(lower=lower, upper=upper):
            made.diff.lower.input, made.diff.upper.input = lower, upper
        case source:
            made.source.identifier = source_identifier(source)
            made.source.attrs.update(source_attributes(source))
    return made


def _number(values: Sequence[object], value: object) -> Any:
    """The number of an enumeration's value."""
    return values.index(value)


def _exec(given: ExecOperation) -> ops_pb2.ExecOp:
    return ops_pb2.ExecOp(
        meta=_meta(given.meta),
        mounts=map(_mount, given.mounts),
        network=_number(NETWORKS, given.network),
        security=_number(SECURITIES, given.security),
        secretenv=[ops_pb2.SecretEnv(ID=one.id, name=one.name, optional=one.optional) for one in given.secrets],
        cdiDevices=[ops_pb2.CDIDevice(name=one.name, optional=one.optional) for one in given.devices],
    )


def _meta(given: ProcessMeta) -> ops_pb2.Meta:
    made = ops_pb2.Meta(
        args=given.arguments,
        env=given.environment,
        cwd=given.directory,
        user=given.user,
        hostname=given.hostname,
        extraHosts=[ops_pb2.HostIP(Host=name, IP=address) for name, address in given.extra_hosts],
        ulimit=[ops_pb2.Ulimit(Name=one.name, Soft=one.soft, Hard=one.hard) for one in given.ulimits],
        cgroupParent=given.cgroup_parent,
        removeMountStubsRecursive=given.remove_mount_stubs_recursive,
        validExitCodes=given.valid_exit_codes,
    )
    if (proxy := given.proxy) is not None:
        settings = ops_pb2.ProxyEnv(
            http_proxy=proxy.http,
            https_proxy=proxy.https,
            ftp_proxy=proxy.ftp,
            no_proxy=proxy.none,
            all_proxy=proxy.all,
        )
        made.proxy_env.CopyFrom(settings)
    return made


def _mount(given: ExecMount) -> ops_pb2.Mount:
    made = ops_pb2.Mount(
        dest=given.destination,
        input=given.input,
        selector=given.selector,
        output=given.output,
        readonly=given.read_only,
        mountType=_number(KINDS, given.kind),
        contentCache=_number(CONTENT, given.content_cache),
    )
    if given.tmpfs_size:
        made.TmpfsOpt.size = given.tmpfs_size
    if given.cache is not None:
        made.cacheOpt.ID, made.cacheOpt.sharing = given.cache.id, _number(SHARINGS, given.cache.sharing)
    if (secret := given.secret) is not None:
        option = made.secretOpt if given.kind is MountKind.SECRET else made.SSHOpt
        option.ID, option.uid, option.gid, option.mode = secret.id, secret.uid, secret.gid, secret.mode
        option.optional = secret.optional
    return made


def _action(given: FileAction) -> ops_pb2.FileAction:
    made = ops_pb2.FileAction(input=given.input, secondaryInput=given.second_input, output=given.output)
    change = given.change
    match change:
        case CopyAction():
            made.copy.CopyFrom(_copy(change))
        case MkfileAction():
            made.mkfile.path, made.mkfile.data, made.mkfile.mode = change.path, change.data, change.mode
        case MkdirAction():
            made.mkdir.path, made.mkdir.mode, made.mkdir.makeParents = change.path, change.mode, change.make_parents
        case SymlinkAction():
            made.symlink.oldpath, made.symlink.newpath = change.target, change.path
        case RemoveAction():
            made.rm.path, made.rm.allowNotFound = change.path, change.allow_not_found
            made.rm.allowWildcard = change.allow_wildcard
            return made
    field = getattr(made, made.WhichOneof("action") or "")
    field.timestamp = -1 if change.timestamp is None else change.timestamp
    if change.owner is not None:
        field.owner.CopyFrom(_owner(change.owner))
    return made


def _copy(given: CopyAction) -> ops_pb2.FileActionCopy:
    return ops_pb2.FileActionCopy(
        src=given.source,
        dest=given.destination,
        mode=-1 if given.mode is None else given.mode,
        modeStr=given.mode_text,
        followSymlink=given.follow_symlink,
        dirCopyContents=given.copy_directory_contents,
        attemptUnpackDockerCompatibility=given.unpack,
        createDestPath=given.create_destination,
        allowWildcard=given.allow_wildcard,
        allowEmptyWildcard=given.allow_empty_wildcard,
        include_patterns=given.include_patterns,
        exclude_patterns=given.exclude_patterns,
        alwaysReplaceExistingDestPaths=given.always_replace,
        required_paths=given.required_paths,
    )


def _owner(given: FileOwner) -> ops_pb2.ChownOpt:
    made = ops_pb2.ChownOpt()
    for field, value in ((made.user, given.user), (made.group, given.group)):
        if isinstance(value, UserName):
            field.byName.name, field.byName.input = value.name, value.input
        elif value is not None:
            field.byID = value
    return made
