"""How much room a tree takes."""

from __future__ import annotations

import os
from pathlib import Path

from darse.linux.openat2 import open_without_links


def tree_bytes(root: Path) -> int:
    """Bytes of the files below `root`, each file once however many names it has. Blocks.

    Containers write there meanwhile: no link is followed, and what cannot be opened any more does not count.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    pending = ["."]
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while pending:
            below = pending.pop()
            try:
                directory = open_without_links(top, below, os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        total += _bytes(entry, below, pending, seen)
            finally:
                os.close(directory)
    finally:
        os.close(top)
    return total


def _bytes(entry: os.DirEntry[str], below: str, pending: list[str], seen: set[tuple[int, int]]) -> int:
    try:
        if entry.is_dir(follow_symlinks=False):
            pending.append(f"{below}/{entry.name}")
            return 0
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return 0
    key = (status.st_dev, status.st_ino)
    if status.st_nlink > 1:
        if key in seen:
            return 0
        seen.add(key)
    return status.st_size
