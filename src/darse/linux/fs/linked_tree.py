"""A second tree of the same files: directories are made, everything else is a hard link to the original."""

from __future__ import annotations

import errno
import os

from darse.linux.fs.contained import ENTER, LEAVE, Walk, Way

#: What `link_tree` and link(2) end with where files have to be copied instead.
NO_LINKS = (errno.EXDEV, errno.EMLINK)


def link_tree(source: int, target: int, *, itself: bool = True) -> int:
    """Link what is in one directory into another, which is empty; return the bytes of its files. Blocks.

    Both are descriptors. Directories get the original's owner, mode, attributes and times, the target `itself`, too,
    unless it is to stay as it is. Raises OSError: EXDEV where both are not on one file system, EMLINK for a file with
    too many links.
    """
    way = Way(target)
    kept = [_attributes(source)]
    size = 0
    several: set[int] = set()
    try:
        for kind, directory, name, status in Walk(source):
            if kind == ENTER:
                os.mkdir(name, 0o700, dir_fd=way.directory)
                way.down(name)
                kept.append(_attributes(directory))
            elif kind == LEAVE:
                _set_attributes(way.directory, *kept.pop())
                way.up()
            else:
                if status.st_ino not in several:
                    size += status.st_size
                if status.st_nlink > 1:
                    several.add(status.st_ino)
                os.link(name, name, src_dir_fd=directory, dst_dir_fd=way.directory, follow_symlinks=False)
        if itself:
            _set_attributes(target, *kept.pop())
    finally:
        way.close()
    return size


def _attributes(directory: int) -> tuple[os.stat_result, dict[str, bytes]]:
    names = (name for name in os.listxattr(directory) if name == "security.capability" or name.startswith("user."))
    return os.fstat(directory), {name: os.getxattr(directory, name) for name in names}


def _set_attributes(directory: int, status: os.stat_result, attributes: dict[str, bytes]) -> None:
    os.fchown(directory, status.st_uid, status.st_gid)
    os.fchmod(directory, status.st_mode & 0o7777)
    for name, value in attributes.items():
        os.setxattr(directory, name, value)
    os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
