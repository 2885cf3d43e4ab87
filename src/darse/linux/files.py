"""Files that must be whole after a crash: written aside, flushed, then renamed into place."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from darse.linux.libc import call

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FALLOC_FL_KEEP_SIZE = 1


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `content`; readers and crashes see the old or the new, never a part."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(new, path)
    sync_directory(path.parent)


def exchange(one: Path, other: Path) -> None:
    """Let two files or directories change places at once: renameat2(2) with RENAME_EXCHANGE. Raises OSError."""
    here = ctypes.c_int(_AT_FDCWD)
    call("renameat2", here, os.fsencode(one), here, os.fsencode(other), _RENAME_EXCHANGE, operand=str(other))


def preallocate(descriptor: int, size: int) -> None:
    """fallocate(2) with FALLOC_FL_KEEP_SIZE: blocks for `size` bytes from the file's beginning, its length the same."""
    call("fallocate", descriptor, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size))


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


def tree_blocks(root: Path) -> int:
    """Bytes of the blocks that a tree occupies, each file once; nothing is followed. Blocks."""
    seen: set[int] = set()
    total = os.lstat(root).st_blocks
    pending = [os.fspath(root)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        if status.st_ino in seen:
                            continue
                        seen.add(status.st_ino)
                    total += status.st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except FileNotFoundError:
            continue  # the layer is being removed
    return total * 512  # the unit of st_blocks, see stat(2)
