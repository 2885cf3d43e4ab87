"""Paths in a tree: resolved within its root by the kernel, so that neither `..` nor any link leads out."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from darse.build.errors import BuildError
from darse.linux.fs.openat2 import open_in_root

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_MOST_LINKS = 40
_MISSING = (errno.ENOENT, errno.ENOTDIR)


class Ids(msgspec.Struct, frozen=True):
    """Who is to own something; -1 is whoever owns it."""

    uid: int = -1
    gid: int = -1


class Made(msgspec.Struct, frozen=True):
    """How directories on the way are made."""

    mode: int = 0o755
    owner: Ids | None = None
    time: int | None = None
    """Nanoseconds since the epoch."""


def status_of(root: int, path: str, *, follow: bool = True) -> os.stat_result | None:
    """The status of what is at a path; None where nothing is."""
    try:
        descriptor = open_in_root(root, inside(path), os.O_PATH | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno not in _MISSING:
            raise
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def inside(path: str) -> str:
    """A path for the kernel: relative, and never empty."""
    return path.lstrip("/") or "."


@contextmanager
def directory_at(root: int, path: str) -> Iterator[int]:
    """A descriptor of a directory."""
    descriptor = open_in_root(root, inside(path), _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def parent_of(root: int, path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that something is in, or will be, and its name there.

    Raises BuildError for the root itself.
    """
    parent, name = posixpath.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        raise BuildError(f"{path!r} is no name of a file")
    with directory_at(root, parent) as directory:
        yield directory, name


def resolved(root: int, path: str) -> str:
    """The path that a link at the end of a path leads to, or the path. Raises BuildError for links in a circle."""
    for _ in range(_MOST_LINKS):
        status = status_of(root, path, follow=False)
        if status is None or not stat.S_ISLNK(status.st_mode):
            return path
        with parent_of(root, path) as (directory, name):
            target = os.readlink(name, dir_fd=directory)
        # Left as it is written: `..` after a link is the kernel's to resolve.
        path = target if target.startswith("/") else f"{posixpath.dirname(path.rstrip('/'))}/{target}"
    raise BuildError(f"too many links at {path!r}")


def ensure_directory(root: int, path: str, made: Made) -> bool:
    """Make a directory and those above it where they are missing; whether it was. Raises BuildError and OSError."""
    current, new = "", False
    for part in path.split("/"):
        if part in ("", "."):
            continue
        current = posixpath.join(current, part)
        status = status_of(root, current)
        if status is None:
            _make(root, resolved(root, current), made)
            new = True
        elif not stat.S_ISDIR(status.st_mode):
            raise BuildError(f"cannot create directory {path!r}: {current!r} is not a directory")
        else:
            new = False
    return new


def _make(root: int, path: str, made: Made) -> None:
    with parent_of(root, path) as (directory, name):
        os.mkdir(name, 0o700, dir_fd=directory)
        descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        try:
            if made.owner is not None:
                os.fchown(descriptor, made.owner.uid, made.owner.gid)
            os.fchmod(descriptor, made.mode)
            if made.time is not None:
                os.utime(descriptor, ns=(made.time, made.time))
        finally:
            os.close(descriptor)
