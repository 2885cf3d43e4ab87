"""What a host has run out of, in words: errors of the kernel and of SQLite made into ours.

A client reads `no space left on device: DIRECTORY`, as the tools of the host say it, and never Python's `[Errno 28]`.
Scripts match the first words, which are those of strerror(3) in Go's spelling, as docker prints them.
"""

from __future__ import annotations

import errno
import functools
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from darse.core.errors import Exhausted, NoSpace, SystemFault, Unavailable

# The result codes by which SQLite says that it cannot write; the rest of SQLITE_IOERR_… is the disk's own failure.
_OUT_OF_SPACE = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_SHMMAP")
_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
# What the kernel answers when something is used up, or may not be written.
_EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, *_DESCRIPTORS, errno.ENOMEM, errno.EROFS)

_OWN_DESCRIPTORS = 256
# A disk with less than this is full: it may have some blocks for what keeps its structure.
_FULL_BYTES = 1 << 20


def reason(error: OSError) -> str:
    """An error of the kernel in Go's words, without its number: `permission denied: /a/file`."""
    words = (error.strerror or str(error)) if error.errno is None else os.strerror(error.errno)
    where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
    return f"{words[:1].lower()}{words[1:]}{where}"


class Roots:
    """The directories that an engine writes to: asked which is full when an error does not say it."""

    _watched: ClassVar[tuple[Path, ...]] = ()

    @classmethod
    def watch(cls, *directories: Path) -> None:
        """Ask about these from now on. A process has one engine, whose errors come up anywhere."""
        cls._watched = directories

    @classmethod
    def watched(cls) -> tuple[Path, ...]:
        """The directories."""
        return cls._watched


@contextmanager
def in_words(directory: Path | None = None, needed: int = 0) -> Iterator[None]:
    """Raise what the host has run out of as `Exhausted`, where the block fails because of that; see `exhausted`."""
    try:
        yield
    except OSError as error:
        fault = exhausted(error, directory, needed)
        if fault is None:
            raise
        raise fault from error


def exhausted(error: OSError, directory: Path | None = None, needed: int = 0) -> Exhausted | None:
    """What the host has run out of when a call fails like this; None for every other error.

    directory: what was written to, where `error` does not name a file.
    needed: how many bytes were to be written, where that is known.
    """
    if error.errno == errno.EAGAIN and isinstance(error.filename, str):
        # fork(2), for what has a name cannot be read or written to no avail.
        what = "the host, or the engine's control group, allows no more processes"
        return Exhausted(f"resource temporarily unavailable: cannot start {error.filename}: {what}")
    if error.errno not in _EXHAUSTED:
        return None
    if error.errno in _DESCRIPTORS:
        return too_many_open_files()
    if error.errno == errno.ENOMEM:
        return Exhausted("cannot allocate memory: the host, or the engine's control group, has no more")
    named = directory or _directory_of(error)
    where = _full_one(named) if error.errno == errno.ENOSPC else named
    at = f": {where}" if where is not None else ""
    if error.errno == errno.EROFS:
        return Exhausted(f"read-only file system{at}")
    if error.errno == errno.EDQUOT:
        return NoSpace(f"disk quota exceeded{at}{_needed(needed)}")
    return no_space(where, needed)


def no_space(directory: Path | None, needed: int = 0) -> NoSpace:
    """The error that a directory's file system is full; `needed` bytes were to be written there, 0 if unknown."""
    if directory is None:
        return NoSpace("no space left on device")
    try:
        found = os.statvfs(directory)
    except OSError:
        inodes = False
    else:
        inodes = found.f_files > 0 and found.f_ffree == 0
    return NoSpace(f"no space left on device: {directory}{', which has no inode left' if inodes else _needed(needed)}")


def too_many_open_files() -> Exhausted:
    """The error that the engine has no descriptor left."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Exhausted(
        f"too many open files: the engine may have {soft}: raise its limit (ulimit -n, or LimitNOFILE= of its unit)"
    )


@functools.cache
def descriptors_for_clients() -> int:
    """The number from which descriptors are the engine's own: to see exits, and to end and remove things."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - min(soft // 4, _OWN_DESCRIPTORS), 1)


def of_database(error: sqlite3.Error, path: Path) -> SystemFault | Unavailable:
    """What keeps the database in the file `path` from being read or written."""
    code = getattr(error, "sqlite_errorname", "") or ""
    if code in _OUT_OF_SPACE:
        return no_space(path.parent)
    if code == "SQLITE_NOMEM":
        return Exhausted("cannot allocate memory: the host, or the engine's control group, has no more")
    if code.startswith("SQLITE_READONLY") or (code.startswith("SQLITE_IOERR") and _is_read_only(path.parent)):
        return Exhausted(f"read-only file system: {path.parent}")
    if code.startswith("SQLITE_BUSY"):
        return Unavailable(f"the database {path} is in use by another program: try again")
    return SystemFault(f"the database {path} cannot be used: {error} ({code or type(error).__name__})")


def _is_read_only(directory: Path) -> bool:
    # After an error of the disk the mount may still be said to be writable: only writing tells.
    try:
        os.utime(directory)
    except OSError as error:
        return error.errno == errno.EROFS
    return False


def _directory_of(error: OSError) -> Path | None:
    if not isinstance(error.filename, str | bytes):
        return None
    path = Path(os.fsdecode(error.filename))
    return path.parent if path.is_absolute() else None


def _full_one(named: Path | None) -> Path | None:
    """The directory whose file system is full: the one that is named, or the root that an overlay, say, stands on."""
    candidates = [*([named] if named is not None else []), *Roots.watched()]
    for path in candidates:
        try:
            found = os.statvfs(path)
        except OSError:
            continue
        if found.f_bavail * found.f_frsize < _FULL_BYTES or (found.f_files and found.f_favail == 0):
            return path
    return candidates[0] if candidates else None


def _needed(count: int) -> str:
    return f", {count} bytes needed" if count else ""
