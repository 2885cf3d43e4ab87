"""`--userns-remap`: containers' users are unprivileged ones of the host; see user_namespaces(7).

Each container has a user namespace of its own. Its ids are the subordinate ids of a user: its root is the first of
them. On the disk everything keeps the owners that the image gives it: containers get to their layers and volumes
through id-mapped mounts, made once when the engine starts. So images, volumes and stopped containers are the same with
and without remapping, and nothing is unpacked twice.

Where the kernel or the file system has no such mounts, the disk has the owners of the range, as dockerd's always has:
layers are copied once (`darse.images.layers.remapped`), writable layers and volumes change owners when they are first
needed.

What is the host's stays the host's: a bind shows its owners as they are, which are nobody's in the container.

`IdMapping` is what the start of a container asks; `IdentityMapping` and `Remapping` are the two answers.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from darse.archive.id_mapping import Owners
from darse.core import trace
from darse.core.errors import InvalidParameter, SystemFault
from darse.core.exhaustion import reason
from darse.linux.fs.mount_trees import bind_id_mapped
from darse.linux.fs.mounts import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_REC,
    is_mount_point,
    mount,
    private_bind,
    unmount,
)
from darse.linux.proc.userns import IdMaps, IdRange, make_user_namespace
from darse.runtime.monitor.launch import RootMount
from darse.runtime.oci.devices import device_binds
from darse.runtime.oci.mounts import BindMount, Mounts
from darse.runtime.oci.spec import SpecInputs
from darse.runtime.oci.validate import check_remapped
from darse.wire.host_config import HostConfig

# What a file system or a kernel that has no id-mapped mounts says.
_CANNOT = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))
_log = logging.getLogger("darse.runtime.remapping")


class IdMapping(Protocol):
    """How the ids in containers relate to those of the host."""

    #: The maps of containers' user namespaces; None when containers have the host's.
    maps: IdMaps | None
    #: How owners are mapped on the disk, as `Owners.parse` reads it; empty: they are not.
    owners: str

    @property
    def root_on_disk(self) -> tuple[int, int]:
        """The user and group that own, on the disk, what is the container's root's."""

    def open(self, roots: Sequence[Path]) -> None:
        """Prepare the directories that containers see when the engine starts. Raises SystemFault."""

    def close(self) -> None:
        """Undo `open`; containers that run keep what they have."""

    def check_options(self, host: HostConfig) -> None:
        """Raise InvalidParameter for options of a container that do not go with the mapping."""

    def mapped_path(self, path: str) -> str:
        """Where a container sees what the engine has at `path`. Raises SystemFault."""

    def map_root(self, root: RootMount) -> RootMount:
        """The overlay of a container's root as the container may mount it. Raises SystemFault."""

    def map_mounts(self, mounts: Mounts, host: HostConfig, own: str, volumes: Collection[str]) -> Mounts:
        """The mounts of a container's start, those of devices that it cannot make included.

        Sources below the directory `own` are files of the engine for the container; those at the destinations `volumes`
        are the engine's volumes; all others are the host's. Raises SystemFault and InvalidParameter.
        """

    def shared_user_namespace(self, others: Mapping[str, int]) -> str:
        """The user namespace of the containers whose namespaces one joins, by name and pid; empty: it has its own.

        Raises InvalidParameter when they do not have one user namespace.
        """

    def adapt_spec(self, inputs: SpecInputs, directory: Path) -> SpecInputs:
        """What a spec is to be made from, with the ids of this mapping.

        Call it in the launch's mount namespace: mounts that it makes are made below `directory`, the bundle. Raises
        OSError.
        """


class IdentityMapping:
    """The ids in containers are those of the host."""

    maps: IdMaps | None = None
    owners = ""
    root_on_disk = (0, 0)

    def open(self, roots: Sequence[Path]) -> None:
        """Nothing is to be prepared."""

    def close(self) -> None:
        """Nothing is to be undone."""

    def check_options(self, host: HostConfig) -> None:
        """All options go with it."""

    def mapped_path(self, path: str) -> str:
        """Where it is."""
        return path

    def map_root(self, root: RootMount) -> RootMount:
        """As it is."""
        return root

    def map_mounts(self, mounts: Mounts, host: HostConfig, own: str, volumes: Collection[str]) -> Mounts:
        """As they are: the runtime makes the nodes of devices."""
        return mounts

    def shared_user_namespace(self, others: Mapping[str, int]) -> str:
        """There are no user namespaces."""
        return ""

    def adapt_spec(self, inputs: SpecInputs, directory: Path) -> SpecInputs:
        """As they are."""
        return inputs


class Remapping:
    """Containers have user namespaces: the maps of these, and the engine's directories as containers see them."""

    def __init__(self, maps: IdMaps, directory: Path) -> None:
        """`directory` is where the id-mapped mounts go."""
        self.maps: IdMaps | None = maps
        #: Empty with id-mapped mounts, see `IdMapping.owners`.
        self.owners = ""
        self._maps = maps
        self._directory = directory
        self._mapped: dict[Path, Path] = {}

    @property
    def root_on_disk(self) -> tuple[int, int]:
        """See `IdMapping.root_on_disk`."""
        return self._maps.root if self.owners else (0, 0)

    def open(self, roots: Sequence[Path]) -> None:
        """Mount these directories id-mapped, or have owners mapped on the disk where one cannot be mounted so.

        Raises SystemFault.
        """
        self._require_passage()
        self.close()
        # Nobody else passes: on the host, too, whoever is containers' root would be the files' owner here.
        self._directory.mkdir(mode=0o700, exist_ok=True)
        private_bind(self._directory)
        try:
            namespace = make_user_namespace(self._maps, network=False).user
        except OSError as error:
            raise SystemFault(f"userns-remap: {reason(error)} (hint: sysctl user.max_user_namespaces)") from error
        try:
            for number, root in enumerate(roots):
                target = self._directory / str(number)
                target.mkdir(exist_ok=True)
                try:
                    bind_id_mapped(str(root), str(target), namespace)
                except OSError as error:
                    if error.errno not in _CANNOT:
                        raise SystemFault(f"userns-remap: cannot mount {root} id-mapped: {error.strerror}") from error
                    self._map_on_disk(root)
                    return
                self._mapped[root] = target
        finally:
            os.close(namespace)

    def _map_on_disk(self, root: Path) -> None:
        self.close()
        owners = owners_of(self._maps)
        if owners.overlap:
            raise SystemFault(
                f"userns-remap: {root} has no id-mapped mounts, and without them the subordinate ids must be other "
                "ones than those in containers: choose ids from 100000 on"
            )
        _log.warning(
            "user namespaces: %s has no id-mapped mounts (Linux 5.19 has them, on ext4, xfs and btrfs): layers are "
            "copied for containers' owners",
            root,
        )
        self.owners = str(owners)

    def _require_passage(self) -> None:
        """Refuse directories that containers' root, an unprivileged user of the host, has no search permission for."""
        user, group = self._maps.root
        for parent in self._directory.parents:
            status = parent.stat()
            bit = stat.S_IXOTH
            if status.st_uid == user:
                bit = stat.S_IXUSR
            elif status.st_gid == group:
                bit = stat.S_IXGRP
            if not status.st_mode & bit:
                raise SystemFault(
                    f"userns-remap: containers' root is user {user} of the host, whom {parent} does not let through: "
                    f"chmod o+x {parent}, or choose another --exec-root"
                )

    def close(self) -> None:
        """Unmount them; containers that run keep theirs."""
        self._mapped = {}
        unmount_mapped(self._directory)

    def check_options(self, host: HostConfig) -> None:
        """See `IdMapping.check_options`."""
        check_remapped(host)

    def mapped_path(self, path: str) -> str:
        """See `IdMapping.mapped_path`: the same through an id-mapped mount."""
        if self.owners:
            return path
        for root, target in self._mapped.items():
            if path == str(root) or path.startswith(f"{root}/"):
                return f"{target}{path[len(str(root)) :]}"
        raise SystemFault(f"{path} is in no directory that containers are shown")

    def map_root(self, root: RootMount) -> RootMount:
        """See `IdMapping.map_root`.

        With id-mapped mounts it is containers' root who mounts the overlay, because it owns the upper directory there.
        """
        return RootMount(
            [self.mapped_path(lower) for lower in root.lower],
            self.mapped_path(root.upper),
            self.mapped_path(root.work),
            None if self.owners else self._maps.root,
            root.volatile,
        )

    def map_mounts(self, mounts: Mounts, host: HostConfig, own: str, volumes: Collection[str]) -> Mounts:
        """See `IdMapping.map_mounts`. No container makes nodes in a user namespace: those of the host are bound."""

        def mapped(one: BindMount) -> BindMount:
            if one.source.startswith(f"{own}/"):
                return replace(one, source=self.mapped_path(one.source))
            if one.destination in volumes:
                return replace(one, source=self.mapped_path(one.source))
            return one

        return [mapped(one) if isinstance(one, BindMount) else one for one in [*mounts, *device_binds(host)]]

    def shared_user_namespace(self, others: Mapping[str, int]) -> str:
        """See `IdMapping.shared_user_namespace`."""
        owners = {Path(f"/proc/{pid}/ns/user").readlink(): pid for pid in others.values()}
        if not owners:
            return ""
        if len(owners) > 1 or Path("/proc/self/ns/user").readlink() in owners:
            raise InvalidParameter(
                f"cannot join namespaces of {', '.join(others)} from a user namespace: they must all belong to one "
                "(hint: --userns=host)"
            )
        return f"/proc/{next(iter(owners.values()))}/ns/user"

    def adapt_spec(self, inputs: SpecInputs, directory: Path) -> SpecInputs:
        """See `IdMapping.adapt_spec`."""
        self._grant_access(directory)
        mounts = _pin_sources(inputs.mounts, directory)
        if inputs.host.IpcMode == "host":
            mounts = [*mounts, _host_message_queues(directory)]
        return replace(inputs, mounts=mounts, id_maps=self._maps, last_group=self._maps.last_group)

    def _grant_access(self, directory: Path) -> None:
        """Let containers' root search a directory of the engine."""
        os.chown(directory, -1, self._maps.root[1])
        directory.chmod(0o710)


def owners_of(maps: IdMaps) -> Owners:
    """The maps, for files."""
    users, groups = (
        tuple((one.inside, one.outside, one.size) for one in ranges) for ranges in (maps.users, maps.groups)
    )
    return Owners(users, groups)


def make_users(owners: str) -> int:
    """Make a user namespace for files that have these owners; return a descriptor of it. Blocks. Raises OSError."""
    ids = Owners.parse(owners)
    users, groups = (tuple(IdRange(*one) for one in ranges) for ranges in (ids.users, ids.groups))
    return make_user_namespace(IdMaps(users, groups), network=False).user


def unmount_mapped(directory: Path) -> None:
    """Unmount the id-mapped mounts of this engine, or of one before it that has crashed."""
    if directory.exists() and is_mount_point(directory):
        unmount(str(directory), MNT_DETACH)


def _pin_sources(mounts: Mounts, directory: Path) -> Mounts:
    """Bind the sources of binds below `directory`: where they are, containers' root may have no search permission.

    Call it in the launch's mount namespace.
    """
    return [
        _pin(one, directory / f"source-{number}") if isinstance(one, BindMount) else one
        for number, one in enumerate(mounts)
    ]


def _pin(one: BindMount, target: Path) -> BindMount:
    if os.path.isdir(one.source):
        target.mkdir()
    else:
        target.touch()
    kind, flags = ("--rbind", MS_BIND | MS_REC) if one.recursive else ("--bind", MS_BIND)
    with trace.step("mount", f"bind {one.source}", "mount", kind, one.source, str(target)):
        mount(one.source, str(target), "", flags)
    return replace(one, source=str(target))


def _host_message_queues(directory: Path) -> BindMount:
    """The host's POSIX message queues as a mount for a container that shares its IPC namespace.

    Only the namespace's owner mounts them. Call it in the launch's mount namespace.
    """
    target = directory / "mqueue"
    target.mkdir()
    with trace.step("mount", "the host's message queues", "mount", "-t", "mqueue", "mqueue", str(target)):
        mount("mqueue", str(target), "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    restrictions = ("nosuid", "nodev", "noexec")
    return BindMount(str(target), "/dev/mqueue", writable=True, propagation="rprivate", restrictions=restrictions)
