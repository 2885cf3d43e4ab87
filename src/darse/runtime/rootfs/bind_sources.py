"""Sources of mounts whose names a container controls, bound to names of ours before the runtime looks them up.

A directory inside a volume, or another container's /dev/shm, could become a link to the host between our check and
the runtime's bind (CVE-2021-30465, CVE-2023-28642). So in the launch's own mount namespace it is opened once, without
leaving its root, and bound below the run's directory; the runtime gets that name. The binds vanish with the
namespace. So do the overlays of images that are shown as directories.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from msgspec.structs import replace

from darse.core.errors import Conflict, InvalidParameter
from darse.linux.fs.mount_trees import bind_alone, bind_descriptor, bind_from_process
from darse.linux.fs.mounts import mount_layers, mount_overlay
from darse.linux.fs.openat2 import open_beneath, open_in_root
from darse.runtime.oci.mounts import BindMount, Mounts


def pin_layers(mounts: Mounts, directory: Path) -> Mounts:
    """Return the mounts with the overlays of images mounted below `directory`.

    Call it in the launch's mount namespace, before `pin_subpaths`.
    """

    def pin(mount: BindMount, target: Path) -> BindMount:
        target.mkdir()
        if mount.upper:
            mount_overlay(mount.layers, mount.upper, mount.work, str(target))
        else:
            mount_layers(mount.layers, str(target))
        return replace(mount, source=str(target), layers=())

    return [
        pin(mount, directory / f"image-{number}") if isinstance(mount, BindMount) and mount.layers else mount
        for number, mount in enumerate(mounts)
    ]


def pin_subpaths(mounts: Mounts, directory: Path) -> Mounts:
    """Return the mounts with every `subpath` bound below `directory`.

    Call it in the launch's mount namespace. Raises InvalidParameter for a subpath that is not there or leads out.
    """
    return [
        _pin(mount, directory / f"subpath-{number}") if isinstance(mount, BindMount) and mount.subpath else mount
        for number, mount in enumerate(mounts)
    ]


def pin_non_recursive(mounts: Mounts, directory: Path) -> Mounts:
    """Return the mounts with the sources that are to be shown alone bound below `directory`, without what is on them.

    crun 1.8 shows what is mounted below such a source all the same. Call it in the launch's mount namespace.
    """

    def pin(mount: BindMount, target: Path) -> BindMount:
        target.mkdir()
        bind_alone(mount.source, str(target))
        return replace(mount, source=str(target))

    return [
        pin(mount, directory / f"alone-{number}")
        if isinstance(mount, BindMount) and not mount.recursive and os.path.isdir(mount.source)
        else mount
        for number, mount in enumerate(mounts)
    ]


def _pin(mount: BindMount, target: Path) -> BindMount:
    root = os.open(mount.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = (open_in_root if mount.rooted else open_beneath)(root, mount.subpath, os.O_PATH)
    except OSError as error:
        raise _inaccessible(mount, error) from error
    finally:
        os.close(root)
    try:
        is_directory = stat.S_ISDIR(os.fstat(found).st_mode)
        if is_directory:
            target.mkdir()
        else:
            target.touch()
        try:
            bind_descriptor(found, str(target))
        except FileNotFoundError as error:  # a container has removed it since it was opened
            raise _inaccessible(mount, error) from error
    finally:
        os.close(found)
    return replace(
        mount,
        source=str(target),
        subpath="",
        recursive_read_only=mount.recursive_read_only and is_directory,
    )


def _inaccessible(mount: BindMount, error: OSError) -> InvalidParameter:
    reason = (error.strerror or str(error)).lower()
    return InvalidParameter(f"cannot access path {mount.source}/{mount.subpath}: {reason}")


def pin_shared_memory(pid: int, directory: Path) -> str:
    """Bind /dev/shm of another container's process below `directory`; return the path. Raises Conflict.

    Call it in the launch's mount namespace.
    """
    target = directory / "shm"
    target.mkdir()
    try:
        bind_from_process(pid, "/dev/shm", str(target))  # noqa: S108 - the container's
    except OSError as error:
        raise Conflict(f"cannot join the shared memory of process {pid}: {error.strerror}") from error
    return str(target)
