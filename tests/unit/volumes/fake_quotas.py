"""Project quotas without a file system that has them: `darse.linux.fs.project_quotas`, by inodes, in memory."""

from __future__ import annotations

import os

import pytest

from darse.linux.fs import project_quotas
from darse.linux.fs.project_quotas import Quota


class FakeQuotas:
    """Projects and limits that calls have set; `beside` is what others have on the same file system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_enforced = True
        self.projects: dict[tuple[int, int], tuple[int, bool]] = {}
        self.limits: dict[int, int] = {}
        self.beside: dict[int, Quota] = {}
        for name in ("project_of", "set_project", "are_enforced", "quota_of", "set_limit"):
            monkeypatch.setattr(project_quotas, name, getattr(self, name))

    def of(self, path: os.PathLike[str]) -> tuple[int, bool]:
        """The project of a path, and whether it is inherited."""
        return self.projects.get(_key(os.lstat(path)), (0, False))

    def project_of(self, descriptor: int) -> int:
        return self.projects.get(_key(os.fstat(descriptor)), (0, False))[0]

    def set_project(self, descriptor: int, project: int, *, inherit: bool) -> None:
        self.projects[_key(os.fstat(descriptor))] = (project, inherit)

    def are_enforced(self, _: int) -> bool:
        return self.is_enforced

    def quota_of(self, _: int, project: int) -> Quota:
        return self.beside.get(project, Quota(self.limits.get(project, 0), 0, 0))

    def set_limit(self, _: int, project: int, limit: int) -> None:
        self.limits[project] = limit
        if not limit:
            del self.limits[project]


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
