"""Owners of files, mapped as a user namespace maps ids: see user_namespaces(7).

Where the kernel has no id-mapped mounts, what containers with mapped ids see has mapped owners on the disk. Files'
capabilities are mapped, too: those of the second version are good in the host's user namespace only, and in the third
stands whose root may have them (capabilities(7), "File capability revisions").
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from darse.archive.errors import ArchiveRefused
from darse.linux.fs.contained import ENTER, ENTRY, Walk

CAPABILITY = "security.capability"
_KEPT = "trusted.darse.mode-and-capability"
# struct vfs_ns_cap_data of linux/capability.h: the magic with its flags, four words, and since version 3 a root.
_VERSION_2, _VERSION_3, _VERSION, _EFFECTIVE = 0x02000000, 0x03000000, 0xFF000000, 0x000001
_SIZE_2, _SIZE_3 = 20, 24
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_VANISHED = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))
Ranges = tuple[tuple[int, int, int], ...]


class Owners:
    """Maps owners in images to owners on the host. Each range is (first inside, first on the host, how many)."""

    def __init__(self, users: Ranges, groups: Ranges) -> None:
        self.users = users
        self.groups = groups
        self._reverse = False

    @classmethod
    def parse(cls, text: str) -> Owners:
        """Read `INSIDE:OUTSIDE:COUNT,…` for users and, after a `/`, for groups, which without one are the same."""
        users, slash, groups = text.partition("/")
        return cls(_ranges(users), _ranges(groups if slash else users))

    def __str__(self) -> str:
        return "/".join(",".join(":".join(map(str, one)) for one in ranges) for ranges in (self.users, self.groups))

    def reversed(self) -> Owners:
        """The way back."""
        back = Owners(
            tuple((outside, inside, count) for inside, outside, count in self.users),
            tuple((outside, inside, count) for inside, outside, count in self.groups),
        )
        back._reverse = not self._reverse
        return back

    @property
    def overlap(self) -> bool:
        """Whether an id is one of containers' and one of the host's for them: then nobody knows which it is."""
        return any(
            outside < other + length and other < outside + count
            for ranges in (self.users, self.groups)
            for _, outside, count in ranges
            for other, _, length in ranges
        )

    def user(self, number: int) -> int:
        """Raises ArchiveRefused, in docker's words, for one that is in no range."""
        return _map(self.users, number, self._reverse)

    def group(self, number: int) -> int:
        """As `user`."""
        return _map(self.groups, number, self._reverse)

    def knows(self, user: int, group: int) -> bool:
        """Whether both are in the ranges."""
        return _holds(self.users, user) and _holds(self.groups, group)

    def capability(self, value: bytes) -> bytes:
        """A file's capabilities: of root's inside, those of its user on the host; on the way back, root's again."""
        if len(value) not in (_SIZE_2, _SIZE_3):
            return value
        (magic,) = struct.unpack_from("<I", value)
        version, flags = magic & _VERSION, magic & ~_VERSION
        sets = value[4:_SIZE_2]
        if not self._reverse:
            if version == _VERSION_3:
                (root,) = struct.unpack_from("<I", value, _SIZE_2)
            elif version == _VERSION_2:
                root = 0
            else:
                return value
            return struct.pack("<I", _VERSION_3 | flags) + sets + struct.pack("<I", self.user(root))
        if version != _VERSION_3:
            return value
        root = self.user(struct.unpack_from("<I", value, _SIZE_2)[0])
        if root == 0:
            return struct.pack("<I", _VERSION_2 | flags) + sets
        return struct.pack("<I", magic) + sets + struct.pack("<I", root)


def _ranges(text: str) -> Ranges:
    return tuple(
        (int(inside), int(outside), int(count))
        for inside, outside, count in (one.split(":") for one in text.split(",") if one)
    )


def _holds(ranges: Ranges, number: int) -> bool:
    return any(inside <= number < inside + count for inside, _, count in ranges)


def _map(ranges: Ranges, number: int, reverse: bool) -> int:
    for inside, outside, count in ranges:
        if inside <= number < inside + count:
            return outside + number - inside
    if reverse:
        raise ArchiveRefused(f"Host ID {number} cannot be mapped to a container ID")
    raise ArchiveRefused(f"Container ID {number} cannot be mapped to a host ID")


def change_owners(top: str, owners: Owners) -> None:
    """Map the owners of a directory and of all that is in it, in place; a second time changes nothing more.

    What is not in the ranges stays as it is: it has been mapped already, or is nobody's inside. The ranges must not
    overlap. No link is followed. Blocks. Raises OSError.
    """
    directory = os.open(top, _DIRECTORY)
    try:
        _change_directory(directory, owners)
        for kind, where, name, status in Walk(directory):
            if kind == ENTER:
                _change_directory(where, owners)
            elif kind == ENTRY:
                try:
                    _change(where, name, status, owners)
                except OSError as error:
                    if error.errno not in _VANISHED:
                        raise
    finally:
        os.close(directory)


def _change_directory(directory: int, owners: Owners) -> None:
    status = os.fstat(directory)
    if owners.knows(status.st_uid, status.st_gid):
        os.fchown(directory, owners.user(status.st_uid), owners.group(status.st_gid))


def _change(directory: int, name: str, status: os.stat_result, owners: Owners) -> None:
    if stat.S_ISLNK(status.st_mode):
        if owners.knows(status.st_uid, status.st_gid):
            user, group = owners.user(status.st_uid), owners.group(status.st_gid)
            os.chown(name, user, group, dir_fd=directory, follow_symlinks=False)
        return
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(found)
        if not stat.S_ISLNK(status.st_mode):  # it was swapped
            _change_file(f"/proc/self/fd/{found}", status, owners)
    finally:
        os.close(found)


def _change_file(path: str, status: os.stat_result, owners: Owners) -> None:
    """A change of owner clears set-uid bits and capabilities: what they were is kept until they are back."""
    regular = stat.S_ISREG(status.st_mode)
    if not owners.knows(status.st_uid, status.st_gid):
        kept = _attribute(path, _KEPT) if regular else None
        if kept is not None:
            _restore(path, kept)
        return
    mode, capability = stat.S_IMODE(status.st_mode), _attribute(path, CAPABILITY) if regular else None
    kept = struct.pack("<I", mode) + (owners.capability(capability) if capability is not None else b"")
    precious = regular and (capability is not None or mode & (stat.S_ISUID | stat.S_ISGID))
    if precious:
        os.setxattr(path, _KEPT, kept)
    os.chown(path, owners.user(status.st_uid), owners.group(status.st_gid))
    if precious:
        _restore(path, kept)


def _restore(path: str, kept: bytes) -> None:
    os.chmod(path, *struct.unpack_from("<I", kept))
    if kept[4:]:
        os.setxattr(path, CAPABILITY, kept[4:])
    os.removexattr(path, _KEPT)


def _attribute(path: str, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
