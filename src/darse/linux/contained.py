"""Trees that containers and archives wrote: removed without trusting a name in them, or their depth."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

# Descriptors held at once, and frames of the interpreter; deeper directories are taken up to the top first.
_DEPTH = 64
_PASSES = 10_000


def remove_tree(path: Path) -> None:
    """Remove a file or a directory with all that is in it; fine when it is gone. Raises OSError.

    No link is followed and no mount entered (EBUSY). Any depth: a container can nest directories deeper than there
    are descriptors, and than the interpreter recurses.
    """
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError:
        os.unlink(path)
        return
    try:
        for _ in range(_PASSES):
            if _empty(top, top, 0):
                break
    finally:
        os.close(top)
    os.rmdir(path)


def _empty(directory: int, top: int, depth: int) -> bool:
    """Remove what is in a directory; False when deep parts were moved to the top, to be removed there."""
    complete = True
    with os.scandir(directory) as entries:
        children = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in children:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
        elif depth == _DEPTH:
            os.rename(name, f".removing-{secrets.token_hex(16)}", src_dir_fd=directory, dst_dir_fd=top)
            complete = False
        else:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                complete = _empty(inner, top, depth + 1) and complete
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=directory)
    return complete
