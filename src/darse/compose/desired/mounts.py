"""What is mounted in a service's containers: volumes, directories of the host, configs and secrets.

Mounts that need nothing else are `Binds`, as from docker compose: only these make a directory of the host that is not
there. Configs and secrets without a file are put into the container before its start, as `FileContent`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from darse.compose.errors import ComposeError
from darse.compose.model.build import FileReference
from darse.compose.model.project import FileObject, Project
from darse.compose.model.service import Service, ServiceVolume, ServiceVolumeBind
from darse.wire.containers import MountPoint
from darse.wire.host_config import BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeOptions

_FILE_MODE = 0o444


@dataclass(frozen=True)
class FileContent:
    """A file that is written into a container; `mode` are its permissions, `uid` and `gid` numbers."""

    path: str
    content: bytes
    mode: int = _FILE_MODE
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class MountRequests:
    """`Binds` and `Mounts` of a create request."""

    binds: list[str]
    mounts: list[Mount]


def mount_requests(
    project: Project, service: Service, inherited: Iterable[MountPoint] = (), image_volumes: Collection[str] = ()
) -> MountRequests:
    """The mounts of a container.

    `inherited` are those of the container that it takes the place of: what is in anonymous volumes, of the service or
    of the image (`image_volumes`), goes on. Raises ComposeError.
    """
    anonymous = {volume.target for volume in service.volumes if volume.type == "volume" and not volume.source}
    named = {volume.target for volume in service.volumes} - anonymous
    kept = {
        one.Destination: one
        for one in inherited
        if one.Type == "volume" and (one.Destination in anonymous or one.Destination in set(image_volumes) - named)
    }
    found = MountRequests([], [])
    for volume in service.volumes:
        if volume.target not in kept:
            _add(found, project, volume)
    for target, one in kept.items():
        found.mounts.append(Mount(Type="volume", Source=_name(one), Target=target, ReadOnly=not one.RW))
    found.mounts.extend(_file_mounts(project, service))
    return found


def _name(mount: MountPoint) -> str:
    return mount.Name if isinstance(mount.Name, str) else mount.Source


def _add(found: MountRequests, project: Project, volume: ServiceVolume) -> None:
    if volume.type == "bind":
        if _is_plain(volume.bind):
            found.binds.append(_bind(volume.source, volume))
            return
        found.mounts.append(_bind_mount(volume))
    elif volume.type == "volume":
        source = project.volumes[volume.source].name if volume.source in project.volumes else volume.source
        options = volume.volume
        if source and not (options and (options.labels or options.subpath or options.nocopy)):
            found.binds.append(_bind(source, volume))
            return
        found.mounts.append(
            Mount(
                Type="volume",
                Source=source,
                Target=volume.target,
                ReadOnly=volume.read_only,
                Consistency=volume.consistency,
                VolumeOptions=VolumeOptions(options.nocopy, options.labels or None, Subpath=options.subpath)
                if options is not None
                else None,
            )
        )
    else:
        found.mounts.append(_other(volume))


def _is_plain(bind: ServiceVolumeBind | None) -> bool:
    """Whether a mount may be one of `Binds`; a label of SELinux can be nothing else."""
    return bind is None or (
        (bind.create_host_path or bool(bind.selinux)) and not bind.propagation and not bind.recursive
    )


def _bind(source: str, volume: ServiceVolume) -> str:
    options = ["ro" if volume.read_only else "rw"]
    if volume.bind is not None and volume.bind.selinux:
        options.append(volume.bind.selinux)
    return f"{source}:{volume.target}:{','.join(options)}"


def _bind_mount(volume: ServiceVolume) -> Mount:
    bind = volume.bind or ServiceVolumeBind()
    if bind.selinux:
        raise ComposeError(f"{volume.target}: selinux excludes propagation and recursive")
    options = BindOptions(
        Propagation=bind.propagation,
        CreateMountpoint=bind.create_host_path,
        NonRecursive=bind.recursive == "disabled",
        ReadOnlyNonRecursive=bind.recursive == "writable",
        ReadOnlyForceRecursive=bind.recursive == "readonly",
    )
    return Mount(
        Type="bind",
        Source=volume.source,
        Target=volume.target,
        ReadOnly=volume.read_only,
        Consistency=volume.consistency,
        BindOptions=options,
    )


def _other(volume: ServiceVolume) -> Mount:
    mount = Mount(Type=volume.type, Source=volume.source, Target=volume.target, ReadOnly=volume.read_only)
    if volume.type == "tmpfs":
        if volume.tmpfs is not None:
            mount.TmpfsOptions = TmpfsOptions(SizeBytes=int(volume.tmpfs.size), Mode=volume.tmpfs.mode)
    elif volume.type == "image":
        if volume.image is not None:
            mount.ImageOptions = ImageOptions(Subpath=volume.image.subpath)
    elif volume.type != "cluster":
        raise ComposeError(f"{volume.target}: a mount of type {volume.type} is for Windows containers")
    return mount


def _file_mounts(project: Project, service: Service) -> Iterator[Mount]:
    for _, one, target in _references(project, service):
        if one.file:
            yield Mount(Type="bind", Source=one.file, Target=target, ReadOnly=True)


def file_contents(project: Project, service: Service) -> list[FileContent]:
    """Configs and secrets that have no file on the host. Raises ComposeError for what is not there."""
    found = []
    for reference, one, target in _references(project, service):
        if one.file:
            continue
        content = one.content
        if one.environment:
            if one.environment not in project.environment:
                raise ComposeError(f'environment variable "{one.environment}" required by "{one.name}" is not set')
            content = project.environment[one.environment]
        mode = _FILE_MODE if reference.mode is None else int(reference.mode)
        uid, gid = _number(reference.uid, "uid"), _number(reference.gid, "gid")
        found.append(FileContent(target, content.encode(), mode, uid, gid))
    return found


def ignored_ownership(project: Project, service: Service) -> list[str]:
    """The configs and secrets whose owner or mode has no effect: they are the host's files themselves."""
    return [
        reference.source
        for reference, one, _ in _references(project, service)
        if one.file and (reference.uid or reference.gid or reference.mode is not None)
    ]


def _references(project: Project, service: Service) -> Iterator[tuple[FileReference, FileObject, str]]:
    """The configs and secrets of a service, and where in the container they are."""
    for kind, references, objects, directory in (
        ("config", service.configs, project.configs, "/"),
        ("secret", service.secrets, project.secrets, "/run/secrets"),
    ):
        for reference in references:
            one = objects[reference.source]
            if one.external or one.driver:
                raise ComposeError(f"unsupported external {kind} {reference.source}: only a cluster has these")
            yield reference, one, posixpath.join(directory, reference.target or reference.source)


def _number(text: str, what: str) -> int:
    if text and not text.isdecimal():
        raise ComposeError(f'{what} "{text}" is no number: names of a container cannot be looked up before it runs')
    return int(text or 0)
