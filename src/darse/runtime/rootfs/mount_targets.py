"""Where mounts may not go: over /proc, inside of it, and where a link in the place of /dev leads.

A volume in the place of /proc, or of a directory in there, would hide what the runtime masks, and show programs that
trust it what an image's author likes: which AppArmor profile they have, say (CVE-2019-16884). Images name volumes, and
links in them lead from innocent names to /proc (CVE-2019-19921), so destinations are looked at where they end. The rule
and its exceptions are runc's (libcontainer/rootfs_linux.go); crun has none.

crun 1.8 and runc 1.1 open the root's /dev by its name to fill it, while they still have the host's root: with a link
there, they make the devices and links of a container in a directory of the host.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Sequence
from typing import Final

from darse.core.errors import InvalidParameter
from darse.linux.fs.openat2 import open_in_root
from darse.runtime.oci.mounts import BindMount, Mounts, TmpfsMount

# What lxcfs gives containers views of their own of.
_ALLOWED: Final = frozenset(
    {
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/net/dev",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/sys/crypto/fips_enabled",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/uptime",
    }
)


def check_destinations(root_fd: int, root: str, mounts: Mounts) -> None:
    """Raise InvalidParameter, in runc's words, for a mount that would change /proc, and for a /dev that is a link.

    `root` is where the root file system that `root_fd` is of is mounted.
    """
    if _is_link(root_fd, "dev"):
        raise InvalidParameter(
            'error mounting to rootfs at "/dev": "/dev" must be a directory, and is a symbolic link in the root file '
            "system of this container"
        )
    for mount in mounts:
        found = resolved_target(root_fd, root, mount.destination)
        if found == "/proc":
            if not (isinstance(mount, BindMount) and _is_proc(mount.source)):
                raise _invalid_target(mount.destination, found, "it is not of type proc")
        elif found.startswith("/proc/") and found not in _ALLOWED:
            raise _invalid_target(mount.destination, found, "it is inside /proc")


def with_modes(root_fd: int, mounts: Mounts) -> Mounts:
    """Return the mounts with memory of the mode that the directory in its place has, unless another is asked for.

    That is runc's doing; with crun, /root would be everybody's.
    """
    return [_with_mode(root_fd, one) if isinstance(one, TmpfsMount) else one for one in mounts]


def _with_mode(root_fd: int, mount: TmpfsMount) -> TmpfsMount:
    if any(option.startswith("mode=") for option in mount.options):
        return mount
    try:
        found = open_in_root(root_fd, mount.destination, os.O_PATH | os.O_DIRECTORY)
    except OSError:  # not there: the kernel's default is right
        return mount
    try:
        mode = stat.S_IMODE(os.fstat(found).st_mode)
    finally:
        os.close(found)
    return TmpfsMount(mount.destination, [*mount.options, f"mode={mode:04o}"])


def resolved_target(root_fd: int, root: str, destination: str) -> str:
    """Where a path ends in the root, as far as it exists: what is missing is made there.

    Above what exists everything does, so a deep path takes a few looks only.
    """
    parts = [part for part in destination.split("/") if part]
    found, count = _end_of(root_fd, parts), len(parts)
    if found is None:
        found, count = "/", 0  # of the longest beginning that is there
        missing, guess = len(parts), len(parts) - 1  # most often all but the last part is
        while count < missing - 1:
            end = _end_of(root_fd, parts[:guess])
            if end is None:
                missing = guess
            else:
                found, count = end, guess
            guess = (count + missing) // 2
    return posixpath.join(found.removeprefix(root) or "/", *parts[count:])


def _end_of(root_fd: int, parts: Sequence[str]) -> str | None:
    """Where a path of the root ends, as the host sees it; None when it is not there, or leads to what is not."""
    try:
        descriptor = open_in_root(root_fd, f"/{'/'.join(parts)}", os.O_PATH)
    except OSError:
        return None
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _is_link(root_fd: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=root_fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _is_proc(source: str) -> bool:
    return os.path.isdir(source) and os.stat(source).st_dev == os.stat("/proc").st_dev


def _invalid_target(destination: str, found: str, reason: str) -> InvalidParameter:
    return InvalidParameter(
        f'error mounting to rootfs at "{destination}": "{found}" cannot be mounted because {reason}'
    )
