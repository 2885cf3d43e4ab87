"""Makes trees that containers could make, below a directory of the host, and quickly."""

from __future__ import annotations

import os
from pathlib import Path


def nest(directory: Path, depth: int, name: str = "d") -> None:
    """Make `depth` directories of one name, each in the last, and a file in the innermost."""
    current = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=current)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=current)
        os.close(current)
        current = inner
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=current))
    os.close(current)


def spread(directory: Path, width: int, name: str = "f") -> None:
    """Make `width` empty files in one directory; their names begin with `name`."""
    current = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(width):
        os.mknod(f"{name}{number}", 0o100644, dir_fd=current)
    os.close(current)
