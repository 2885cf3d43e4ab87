"""The working directory of a new container, made in its root as runc would at the start.

docker makes it when the container is created, so that it can be copied to and from before the first start.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from darse.core.errors import InvalidParameter
from darse.linux.fs.openat2 import open_in_root

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def is_there(path: str, layers: Sequence[str]) -> bool:
    """Whether a path is seen to be a directory of the image at a glance, without mounting it.

    `layers` are the topmost first. Answers no where a link, or what an upper layer has removed, is on the way.
    """
    found = ""
    for part in path.strip("/").split("/") if path.strip("/") else ():
        found += f"/{part}"
        for layer in layers:
            try:
                status = os.lstat(f"{layer}{found}")
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISDIR(status.st_mode):
                return False
            break
        else:
            return False
    return True


def make_directories(root_fd: int, path: str, user: int, group: int) -> None:
    """Make a directory of a container's root and those above it, each with mode 0755 and the container's root as owner.

    Links on the way lead nowhere but into the root. Raises InvalidParameter when something else is in the way.
    """
    above = ""
    try:
        for part in path.strip("/").split("/"):
            here = f"{above}/{part}"
            try:
                os.close(open_in_root(root_fd, here, _DIRECTORY))
            except FileNotFoundError:
                parent = open_in_root(root_fd, above or "/", _DIRECTORY)
                try:
                    os.mkdir(part, 0o755, dir_fd=parent)
                    os.chmod(part, 0o755, dir_fd=parent)  # noqa: S103 - as runc, whatever the umask
                    os.chown(part, user, group, dir_fd=parent, follow_symlinks=False)
                finally:
                    os.close(parent)
            above = here
    except (NotADirectoryError, FileExistsError):
        raise InvalidParameter(f"Cannot mkdir: {path} is not a directory") from None
