"""Copies of a client's files as hard links: what is as it came, and where nothing was before, is not copied.

A context's files belong to nobody else (`darse.build.executor.contexts`), and layers do not change, so a layer can have
the very files of the context. They are linked into the upper directory, without its overlay: links do not cross mounts.
"""

from __future__ import annotations

import os
import posixpath
import stat

from darse.build.files.rooted_paths import inside, status_of
from darse.build.graph.operations import CopyAction, FileChange
from darse.build.graph.selectors import has_wildcard
from darse.linux.fs.linked_tree import link_tree
from darse.linux.fs.openat2 import open_in_root, open_without_links

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def link_copy(change: FileChange, upper: int, base: int, source: int) -> int | None:
    """Copy a directory's content by links, where that comes to the same; return the bytes of its files, None elsewhere.

    Where it does not, nothing was done.

    upper: the empty upper directory. base: the tree below it. source: a context. All are descriptors. Blocks. Raises
    OSError.
    """
    if not isinstance(change, CopyAction) or not is_plain_copy(change):
        return None
    found = status_of(source, change.source)
    place = _place(base, change.destination)
    if found is None or not stat.S_ISDIR(found.st_mode) or place is None:
        return None
    origin = open_in_root(source, inside(change.source) or ".", _DIRECTORY)
    try:
        names = os.listdir(origin)
        there = status_of(base, place, follow=False)
        if there is not None and any(status_of(base, f"{place}/{name}", follow=False) is not None for name in names):
            return None
        _make_parents(upper, base, posixpath.dirname(place))
        target = _make(upper, place)
        try:
            # `/d/` is made before anything is copied into it, as one above it is; `/d` is the copied directory itself.
            is_made_before = posixpath.basename(change.destination) in ("", ".")
            size = link_tree(origin, target, itself=there is None and not is_made_before)
            if there is not None:
                # It stays as it was.
                _take_over(base, place, target)
            elif is_made_before:
                os.fchmod(target, 0o755)
        finally:
            os.close(target)
    finally:
        os.close(origin)
    return size


def is_plain_copy(change: FileChange) -> bool:
    """Whether a change is a copy of one path in which all that is copied is as it was, and all of it is copied."""
    return (
        isinstance(change, CopyAction)
        and not has_wildcard(change.source)
        and change.owner is None
        and change.mode is None
        and not change.mode_text
        and change.timestamp is None
        and change.copy_directory_contents
        and change.create_destination
        and not (change.unpack or change.include_patterns or change.exclude_patterns or change.required_paths)
    )


def _place(base: int, destination: str) -> str | None:
    """Where a directory is to be in the base, without links on the way; None where it is not sure."""
    parts = [part for part in inside(destination).split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        return None
    current = ""
    for part in parts:
        current = f"{current}/{part}"
        status = status_of(base, current, follow=False)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            return None
    return current


def _make_parents(upper: int, base: int, path: str) -> None:
    """Make a directory and those above it in the upper directory, as the base has them, or with mode 0755."""
    if path in ("", "/"):
        return
    _make_parents(upper, base, posixpath.dirname(path))
    made = _make(upper, path)
    try:
        os.fchmod(made, 0o755)
        if status_of(base, path, follow=False) is not None:
            _take_over(base, path, made)
    finally:
        os.close(made)


def _make(upper: int, path: str) -> int:
    parent, name = posixpath.split(path)
    above = open_without_links(upper, parent.lstrip("/") or ".", _DIRECTORY)
    try:
        os.mkdir(name, 0o755, dir_fd=above)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    finally:
        os.close(above)


def copy_directory_metadata(original: int, made: int) -> os.stat_result:
    """Give a directory the owner, mode and users' attributes of another, but no times; return the status of that."""
    status = os.fstat(original)
    os.fchown(made, status.st_uid, status.st_gid)
    os.fchmod(made, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(original):
        if name.startswith("user."):
            os.setxattr(made, name, os.getxattr(original, name))
    return status


def _take_over(base: int, path: str, made: int) -> None:
    """Give a directory the owner, mode, attributes and times that it has in the base."""
    original = open_without_links(base, path.lstrip("/"), _DIRECTORY)
    try:
        status = copy_directory_metadata(original, made)
        os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(original)
