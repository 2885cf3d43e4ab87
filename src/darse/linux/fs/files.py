"""The engine's own files: opened without waiting for anybody, and written so that they are whole after a crash."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

from darse.linux.fs.contained import ENTER, ENTRY, LEAVE, Walk
from darse.linux.libc import call

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FALLOC_FL_KEEP_SIZE = 1
# To open a FIFO waits for its other end, for ever if need be (fifo(7)); a link leads anywhere.
_CAREFUL = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class NotRegular(OSError):
    """Where a file should be is something else: a FIFO, a socket, a device, a directory, a link."""

    def __init__(self, path: Path | str) -> None:
        """`path` is where."""
        super().__init__(f"not a regular file: {path}")


def open_regular(path: Path | str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """Open a file of the engine's directories; an `opener` of open(), too. Raises OSError, and never waits."""
    try:
        descriptor = os.open(path, flags | _CAREFUL, mode)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP, errno.ENODEV):
            raise NotRegular(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular(path)
    return descriptor


def open_own(path: Path | str, flags: int, mode: int = 0o600) -> int:
    """Open a file that nobody but the engine makes; what else has its name is removed. Raises OSError."""
    try:
        return open_regular(path, flags, mode)
    except NotRegular:
        os.unlink(path)
    return open_regular(path, flags, mode)


def read_regular(path: Path) -> bytes:
    """What is in a file of the engine's directories. Raises OSError, and never waits."""
    with open(path, "rb", opener=open_regular) as file:
        return file.read()


def write_atomically(path: Path, content: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Replace `path` by `content`; readers and crashes see the old or the new, never a part.

    What is not `durable` is not flushed, and a power loss may leave anything of it.
    """
    new = path.with_name(f".{path.name}.new")
    descriptor = open_own(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        if durable:
            os.fsync(descriptor)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise
    finally:
        os.close(descriptor)
    if durable:
        sync_directory(path.parent)


def exchange(one: Path, other: Path) -> None:
    """Let two files or directories change places at once: renameat2(2) with RENAME_EXCHANGE. Raises OSError."""
    here = ctypes.c_int(_AT_FDCWD)
    call("renameat2", here, os.fsencode(one), here, os.fsencode(other), _RENAME_EXCHANGE, operand=str(other))


def preallocate(descriptor: int, size: int) -> None:
    """fallocate(2) with FALLOC_FL_KEEP_SIZE: blocks for `size` bytes from the file's beginning, its length the same."""
    call("fallocate", descriptor, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size))


def publish(new: Path, path: Path) -> None:
    """Give a whole file its name, durably: its content is on the disk before the name is. Raises OSError."""
    descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(new, path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(path: Path) -> None:
    """syncfs(2): flush everything of the file system that `path` is on; for trees of many files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call("syncfs", descriptor, operand=str(path))
    finally:
        os.close(descriptor)


class Usage(NamedTuple):
    """What a tree takes: bytes of its files, and bytes of the blocks of all that is in it, the top included."""

    size: int
    on_disk: int


class Measurement:
    """Measures a tree. Each file counts once, nothing is followed."""

    def __init__(self) -> None:
        self._walk: Walk | None = None
        self._seen: dict[tuple[int, int], int] = {}

    @property
    def progress(self) -> int:
        """A number that grows as long as the file system answers."""
        return self._walk.seen if self._walk is not None else 0

    def run(self, root: Path) -> Usage:
        """Blocks, for as long as the tree is large. Raises OSError; what vanishes meanwhile does not count."""
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            size, blocks = 0, os.fstat(top).st_blocks
            self._walk = Walk(top)
            for kind, _, _, status in self._walk:
                if kind == ENTRY:
                    if status.st_nlink > 1 and self._is_counted(status):
                        continue
                    size += status.st_size
                if kind != LEAVE:
                    blocks += status.st_blocks
        finally:
            os.close(top)
        return Usage(size, blocks * 512)  # the unit of st_blocks, see stat(2)

    def _is_counted(self, status: os.stat_result) -> bool:
        """Whether a file with several names was counted already. Neighbours' inodes share a number: bits of it."""
        key, bit = (status.st_dev, status.st_ino >> 8), 1 << (status.st_ino & 255)
        seen = self._seen.get(key, 0)
        self._seen[key] = seen | bit
        return bool(seen & bit)


class PartUsage:
    """What a file, or a directory with all that is in it, takes; `files` counts what is no directory."""

    __slots__ = ("files", "on_disk", "size")

    def __init__(self) -> None:
        self.size = self.on_disk = self.files = 0


class PartsMeasurement(Measurement):
    """Measures a tree by its parts, down to some depth."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self._depth = depth

    def parts(self, top: int) -> dict[str, PartUsage]:
        """What each part of an open directory takes, by its path; "" is the whole. Blocks. Raises OSError."""
        found = {"": PartUsage()}
        found[""].on_disk = os.fstat(top).st_blocks * 512
        names: list[str] = []
        self._walk = Walk(top)
        for kind, _, name, status in self._walk:
            if kind == LEAVE:
                names.pop()
                continue
            counts = kind == ENTRY and not (status.st_nlink > 1 and self._is_counted(status))
            inner = [*names[: self._depth], name]
            for length in range(min(len(inner), self._depth) + 1):
                part = found.setdefault("/".join(inner[:length]), PartUsage())
                if counts:
                    part.size += status.st_size
                    part.files += 1
                if counts or kind != ENTRY:
                    part.on_disk += status.st_blocks * 512
            if kind == ENTER:
                names.append(name)
        return found


def measure(root: Path) -> Usage:
    """What a tree takes; see `Measurement`."""
    return Measurement().run(root)
