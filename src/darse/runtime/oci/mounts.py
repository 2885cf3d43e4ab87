"""The mounts of a container in the order in which the runtime makes them: the kernel's own, ours, the user's.

Defaults and options are docker's (moby's oci/defaults.go and daemon/oci_linux.go).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from darse.wire.host_config import HostConfig

INIT_PATH: Final = "/sbin/docker-init"
_CGROUPS: Final = "/sys/fs/cgroup"
_SHM: Final = "/dev/shm"  # noqa: S108 - the container's
# Of the defaults these stay writable when the root is read-only; programs cannot work without them.
_WRITABLE: Final = frozenset({"/proc", "/dev", "/dev/pts", _SHM, "/dev/mqueue"})


class BindMount(msgspec.Struct, frozen=True):
    """A path of the host shown in the container.

    `recursive_read_only` reaches the mounts below `source` too; it is for directories only (crun 1.8 takes no file).
    With a `subpath`, whose names a container controls,
    the mount must be pinned (`darse.runtime.rootfs.bind_sources`) before it goes into a spec. `restrictions` are those
    of ro, nosuid, nodev and noexec that the host's mount has: the runtime's remount would drop them. With `layers`,
    the topmost first, an overlay of these is shown, which has a `source` when it is pinned; what is written to it is in
    `upper`, if that is given, and `work` is overlayfs's. `rooted`: links in the subpath lead to what is in the source.
    """

    source: str
    destination: str
    writable: bool
    propagation: str
    recursive: bool = True
    recursive_read_only: bool = False
    subpath: str = ""
    restrictions: Sequence[str] = ()
    layers: Sequence[str] = ()
    upper: str = ""
    work: str = ""
    rooted: bool = False


class TmpfsMount(msgspec.Struct, frozen=True):
    """Memory shown as a directory."""

    destination: str
    options: Sequence[str]


Mounts = Sequence[BindMount | TmpfsMount]


def container_mounts(
    host: HostConfig,
    mounts: Mounts,
    *,
    shm_source: str = "",
    init_program: str = "",
    writable_cgroups: bool = False,
    cgroup_version: int = 2,
    recursive_read_only: bool = False,
) -> list[dict[str, Any]]:
    """Return the spec's `mounts`. A user's mount takes the place of a default one at the same destination."""
    chosen = {posixpath.normpath(mount.destination) for mount in mounts}
    result = [
        default
        for default in _defaults(host, shm_source, cgroup_version, writable_cgroups=writable_cgroups)
        if default["destination"] not in chosen
        # With `-v /dev:/dev` what we would mount below is there already, and is the host's.
        and not ("/dev" in chosen and default["destination"].startswith("/dev/"))
    ]
    if host.ReadonlyRootfs:
        for default in result:
            if default["destination"] not in _WRITABLE:
                default["options"] = ["ro", *(word for word in default["options"] if word not in ("ro", "rw"))]
    if init_program and INIT_PATH not in chosen:
        result.append(_bind(BindMount(init_program, INIT_PATH, writable=False, propagation="rprivate")))
    # Parents first, or the mount on /etc would hide the one on /etc/hosts.
    for mount in sorted(mounts, key=lambda one: posixpath.normpath(one.destination).count("/")):
        if isinstance(mount, TmpfsMount):
            result.append(_mount("tmpfs", "tmpfs", mount.destination, *mount.options))
        else:
            result.append(_bind(mount, recursive_read_only=recursive_read_only))
    return result


def root_propagation(mounts: Mounts) -> str:
    """A bind that sends or receives mount events needs a root that lets them through."""
    modes = {mount.propagation for mount in mounts if isinstance(mount, BindMount)}
    if modes & {"shared", "rshared"}:
        return "shared"
    if modes & {"slave", "rslave"}:
        return "slave"
    return "private"


def _defaults(
    host: HostConfig, shm_source: str, cgroup_version: int, *, writable_cgroups: bool
) -> list[dict[str, Any]]:
    sys_access = "rw" if host.Privileged else "ro"
    cgroup_access = "rw" if host.Privileged or writable_cgroups else "ro"
    return [
        _mount("proc", "proc", "/proc", "nosuid", "noexec", "nodev"),
        _mount("tmpfs", "tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "devpts", "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("sysfs", "sysfs", "/sys", "nosuid", "noexec", "nodev", sys_access),
        _mount("cgroup", "cgroup", _CGROUPS, cgroup_access, "nosuid", "noexec", "nodev"),
        # crun 1.8 leaves the small file system in which it mounts the hierarchies of version 1 writable. Not by way of
        # the read-only paths: it would make what is mounted below writable.
        *(
            [_mount("bind", _CGROUPS, _CGROUPS, "remount", "bind", "ro", "nosuid", "noexec", "nodev")]
            if cgroup_version == 1 and cgroup_access == "ro"
            else []
        ),
        _mount("mqueue", "mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"),
        *_shm(host, shm_source),
    ]


def _shm(host: HostConfig, source: str) -> list[dict[str, Any]]:
    if host.IpcMode == "none":
        return []
    if source:
        restrictions = ("nosuid", "noexec", "nodev")
        return [_bind(BindMount(source, _SHM, writable=True, propagation="rprivate", restrictions=restrictions))]
    return [_mount("tmpfs", "shm", _SHM, "nosuid", "noexec", "nodev", "mode=1777", f"size={host.ShmSize}")]


def _mount(kind: str, source: str, destination: str, *options: str) -> dict[str, Any]:
    return {"type": kind, "source": source, "destination": destination, "options": list(options)}


def _bind(mount: BindMount, *, recursive_read_only: bool = False) -> dict[str, Any]:
    # What the host's mount does not allow the container's must not either; crun 1.8 sets the flags anew.
    access = [] if mount.writable or "ro" in mount.restrictions else ["ro"]
    options = ["rbind" if mount.recursive else "bind", *access, *mount.restrictions]
    if recursive_read_only and mount.recursive_read_only and not mount.writable:
        # mount_setattr(2) with AT_RECURSIVE: `ro` alone leaves what is mounted below `source` writable.
        options.append("rro")
    if mount.propagation:
        options.append(mount.propagation)
    return {"type": "bind", "source": mount.source, "destination": mount.destination, "options": options}
