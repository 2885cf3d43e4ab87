"""`--userns-remap`: containers' users are unprivileged ones of the host; see user_namespaces(7), subuid(5).

Each container has a user namespace of its own. Its ids are the subordinate ids of a user: its root is the first of
them. On the disk everything keeps the owners that the image gives it: containers get to their layers and volumes
through id-mapped mounts, made once when the engine starts. So images, volumes and stopped containers are the same with
and without remapping, and nothing is unpacked twice.

Where the kernel or the file system has no such mounts, the disk has the owners of the range, as dockerd's always has:
layers are copied once (`darse.images.layers.remapped`), writable layers and volumes change owners when they are first
needed.

What is the host's stays the host's: a bind shows its owners as they are, which are nobody's in the container.
"""

from __future__ import annotations

import errno
import grp
import logging
import os
import pwd
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
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
from darse.runtime.oci.mounts import BindMount, Mounts

#: The user of `--userns-remap=default`, as dockerd calls it.
DEFAULT_USER: Final = "dockremap"
SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
_LARGEST = 2**32 - 1
# setfsuid(2) answers with the id before, in which larger ones cannot be told from errors.
_LARGEST_MAPPED = 2**31 - 1
_SECONDS = 60
# What a file system or a kernel that has no id-mapped mounts says.
_CANNOT = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))
_log = logging.getLogger("darse.runtime.remapping")
# login.defs(5): SUB_UID_MIN, SUB_UID_COUNT.
_FIRST, _COUNT = 100000, 65536


class Subordinates(msgspec.Struct, frozen=True):
    """Whose ids containers get: a user's and a group's, each by name and number as subuid(5) knows them by."""

    user: tuple[str, str]
    group: tuple[str, str]


def find_subordinates(text: str) -> Subordinates | None:
    """Read `--userns-remap`: `default`, USER, UID, USER:GROUP or UID:GID; None when that is root, as for dockerd.

    Raises InvalidParameter.
    """
    wanted, colon, group = (DEFAULT_USER, "", "") if text == "default" else text.partition(":")
    if not wanted or (colon and not group) or ":" in group:
        raise InvalidParameter(f'invalid user/group specification string "{text}"')
    user = _user(wanted)
    if user.pw_uid == 0:
        return None
    # Without a group, the group of the user's name.
    found = _group(group or user.pw_name)
    return Subordinates((user.pw_name, str(user.pw_uid)), (found.gr_name, str(found.gr_gid)))


def _user(text: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(text)) if text.isdecimal() and int(text) <= _LARGEST else pwd.getpwnam(text)
    except KeyError:
        kind = "uid" if text.isdecimal() else "user"
        raise InvalidParameter(f"userns-remap: {kind} {text} has no entry in /etc/passwd") from None


def _group(text: str) -> grp.struct_group:
    try:
        return grp.getgrgid(int(text)) if text.isdecimal() and int(text) <= _LARGEST else grp.getgrnam(text)
    except KeyError:
        kind = "gid" if text.isdecimal() else "group"
        raise InvalidParameter(f"userns-remap: {kind} {text} has no entry in /etc/group") from None


def read_maps(owners: Subordinates, subuid: Path = SUBUID, subgid: Path = SUBGID) -> IdMaps:
    """The maps of containers' namespaces: each range of the files after the one before it.

    Raises InvalidParameter in docker's words.
    """
    users = _ranges(subuid, owners.user)
    # subgid(5) goes by the user, and people write the group.
    groups = _ranges(subgid, owners.user) or _ranges(subgid, owners.group)
    for kind, found in (("subuid", users), ("subgid", groups)):
        if not found:
            raise InvalidParameter(f'Can\'t create ID mappings: no {kind} ranges found for user "{owners.user[0]}"')
    return IdMaps(users, groups)


def _ranges(path: Path, names: tuple[str, str]) -> tuple[IdRange, ...]:
    found: list[IdRange] = []
    inside = 0
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, numbers = line.strip().partition(":")
        first, _, count = numbers.partition(":")
        if name not in names or name.startswith("#"):
            continue
        if not (first.isdecimal() and count.isdecimal()) or int(count) < 1 or int(first) + int(count) > _LARGEST:
            raise InvalidParameter(f"Can't create ID mappings: {path} has a malformed line: {line.strip()!r}")
        if int(first) + int(count) - 1 > _LARGEST_MAPPED:
            raise InvalidParameter(f"Can't create ID mappings: {path} gives {name} ids above {_LARGEST_MAPPED}")
        if int(first) == 0:
            raise InvalidParameter(f"Can't create ID mappings: {path} gives {name} the host's root")
        found.append(IdRange(inside, int(first), int(count)))
        inside += int(count)
    return tuple(found)


def make_default_user(subuid: Path = SUBUID, subgid: Path = SUBGID) -> None:
    """Have the user of `--userns-remap=default`, and subordinate ids for it that nobody else has.

    Raises InvalidParameter for malformed files, and SystemFault.
    """
    try:
        pwd.getpwnam(DEFAULT_USER)
    except KeyError:
        shell = ("--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")
        _administer(f"add the user {DEFAULT_USER}", "useradd", "--system", "--user-group", *shell, DEFAULT_USER)
    names = (DEFAULT_USER, str(pwd.getpwnam(DEFAULT_USER).pw_uid))
    wanted = [
        (option, path)
        for option, path in (("--add-subuids", subuid), ("--add-subgids", subgid))
        if not _ranges(path, names)
    ]
    if wanted:
        first = first_free(subuid, subgid)
        text = f"{first}-{first + _COUNT - 1}"
        options = [word for option, _ in wanted for word in (option, text)]
        _administer(f"give {DEFAULT_USER} subordinate ids", "usermod", *options, DEFAULT_USER)


def first_free(*files: Path) -> int:
    """The first id, not below what shadow begins with, from which on nobody has subordinate ids."""
    ends = [_FIRST]
    for path in files:
        for line in path.read_text().splitlines() if path.exists() else ():
            _, first, count = [*line.split(":"), "", ""][:3]
            if first.isdecimal() and count.isdecimal():
                ends.append(int(first) + int(count))
    return max(ends)


def _administer(what: str, program: str, *arguments: str) -> None:
    """Run one of shadow's programs, which know how to lock these files. Raises SystemFault."""
    command = [f"/usr/sbin/{program}", *arguments]
    with trace.step("file", what, *command):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
            raise SystemFault(f"userns-remap: cannot {what}: {said}") from error


class Remapping:
    """The maps of an engine's containers, and the engine's directories as containers see them."""

    def __init__(self, maps: IdMaps, directory: Path) -> None:
        """`directory` is where the id-mapped mounts go."""
        self.maps = maps
        #: How owners are mapped on the disk, as `Owners.parse` reads it; empty with id-mapped mounts.
        self.owners = ""
        self._directory = directory
        self._shown: dict[Path, Path] = {}

    def open(self, roots: Sequence[Path]) -> None:
        """Make the mounts of these directories, or have owners mapped on the disk where one cannot be mounted so.

        Raises SystemFault.
        """
        self._require_passage()
        self.close()
        # Nobody else passes: on the host, too, whoever is containers' root would be the files' owner here.
        self._directory.mkdir(mode=0o700, exist_ok=True)
        private_bind(self._directory)
        try:
            namespace = make_user_namespace(self.maps, network=False).user
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
                self._shown[root] = target
        finally:
            os.close(namespace)

    def _map_on_disk(self, root: Path) -> None:
        self.close()
        owners = owners_of(self.maps)
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
        """Containers' root is nobody special on the host, and must be let through to its files."""
        user, group = self.maps.root
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
        """Take the mounts back; what containers have of them stays theirs."""
        self._shown = {}
        forget_mounts(self._directory)

    def shown(self, path: str) -> str:
        """What is at `path` for containers: the same through an id-mapped mount. Raises SystemFault."""
        if self.owners:
            return path
        for root, target in self._shown.items():
            if path == str(root) or path.startswith(f"{root}/"):
                return f"{target}{path[len(str(root)) :]}"
        raise SystemFault(f"{path} is in no directory that containers are shown")

    def give(self, path: str) -> str:
        """As `shown`, for one of the files that the engine makes for a container, whose root it is to belong to."""
        if self.owners:
            os.chown(path, *self.maps.root)
        return self.shown(path)

    @property
    def mounter(self) -> tuple[int, int] | None:
        """Who mounts overlays: with id-mapped mounts containers' root, who is theirs; otherwise the host's: None."""
        return None if self.owners else self.maps.root

    def admit(self, directory: Path) -> None:
        """Let containers' root pass through a directory of the engine."""
        os.chown(directory, -1, self.maps.root[1])
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


def forget_mounts(directory: Path) -> None:
    """Unmount what this engine, or one before it that has crashed, shows there."""
    if directory.exists() and is_mount_point(directory):
        unmount(str(directory), MNT_DETACH)


def pin_sources(mounts: Mounts, directory: Path) -> Mounts:
    """Bind the sources of binds below `directory`: where they are, containers' root may not pass.

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


def host_message_queues(directory: Path) -> BindMount:
    """The host's POSIX message queues as a mount for a container that shares its IPC namespace.

    Only the namespace's owner mounts them. Call it in the launch's mount namespace.
    """
    target = directory / "mqueue"
    target.mkdir()
    with trace.step("mount", "the host's message queues", "mount", "-t", "mqueue", "mqueue", str(target)):
        mount("mqueue", str(target), "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    restrictions = ("nosuid", "nodev", "noexec")
    return BindMount(str(target), "/dev/mqueue", writable=True, propagation="rprivate", restrictions=restrictions)
