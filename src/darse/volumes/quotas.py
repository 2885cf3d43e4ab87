"""Sizes of volumes: each that has one is a project of its own, which the file system keeps within its quota.

The number of a project is nowhere but at the directory itself, so that it is found again whatever becomes of the
database, and moves with the directory. A new one is drawn at random, and taken when the file system knows of no files
and no limit of it: so neither another engine nor an administrator's /etc/projid has it. Its limit is set first, which
is what takes it.

The project is the one of `<volume>`, not of `<volume>/_data`: what populates a volume is copied beside the data,
and a file is renamed only within its project.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darse.core.errors import SystemFault
from darse.linux.fs import project_quotas
from darse.linux.fs.contained import ENTER, ENTRY, Walk

# Numbers have 32 bits. Those that people and dockerd give, from 1 on, are left to them.
_FIRST, _COUNT = 1 << 30, 1 << 30
_ATTEMPTS = 100


class VolumeQuotas:
    """The projects of the volumes in one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Held by who looks for a number until it is taken.
        self._allotting = threading.Lock()
        self._enforced: bool | None = None

    @property
    def enforced(self) -> bool:
        """Whether the file system keeps volumes within their sizes, as far as was known when this was first asked."""
        if self._enforced is None:
            with _opened(self._root) as root:
                # A directory with a project of its own hands it on, and takes nothing of another one by a rename.
                self._enforced = project_quotas.are_enforced(root) and not project_quotas.project_of(root)
        return self._enforced

    def give(self, directory: Path, size: int) -> None:
        """Have all that is in a volume's directory, now and later, take `size` bytes at most.

        Blocks as long as the directory is large, where it has no project yet. Raises OSError, and SystemFault when the
        file system has no quotas any more.
        """
        if not self.enforced:
            raise SystemFault("size quota requested for volume but no quota support")
        with _opened(directory) as opened:
            project = project_quotas.project_of(opened)
            if project:
                if project_quotas.quota_of(opened, project).limit != project_quotas.rounded(size):
                    project_quotas.set_limit(opened, project, size)
                return
            project = self._allot(opened, size)
            _give_all(opened, project)
            # The last of all: what a crash cuts short is done again as a whole, with another number.
            project_quotas.set_project(opened, project, inherit=True)

    def project(self, directory: Path) -> int:
        """The project of a volume's directory; 0 when it has none, or is not there."""
        if not self.enforced:
            return 0
        try:
            with _opened(directory) as opened:
                return project_quotas.project_of(opened)
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def size(self, directory: Path) -> int:
        """How much a volume may take, in bytes; 0 when it has no size. Raises OSError."""
        project = self.project(directory)
        if not project:
            return 0
        with _opened(directory) as opened:
            return project_quotas.quota_of(opened, project).limit

    def free(self, project: int) -> None:
        """Take its limit from a project: its number is free when nothing of its files is left. Raises OSError."""
        if project:
            with _opened(self._root) as root:
                project_quotas.set_limit(root, project, 0)

    def _allot(self, opened: int, size: int) -> int:
        with self._allotting:
            for _ in range(_ATTEMPTS):
                project = _FIRST + secrets.randbelow(_COUNT)
                if project_quotas.quota_of(opened, project) == (0, 0, 0):
                    project_quotas.set_limit(opened, project, size)
                    return project
        raise OSError(errno.EAGAIN, f"no project of {_ATTEMPTS} is free")


def _give_all(top: int, project: int) -> None:
    """Give what is below a directory to a project: directories and files; links and devices take no room."""
    for kind, directory, name, status in Walk(top):
        if kind == ENTER:
            project_quotas.set_project(directory, project, inherit=True)
        elif kind == ENTRY and stat.S_ISREG(status.st_mode):
            # Between the walk's look and this, it may have become a pipe, or a link.
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            try:
                if stat.S_ISREG(os.fstat(opened).st_mode):
                    project_quotas.set_project(opened, project, inherit=False)
            finally:
                os.close(opened)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
