"""What is left of mounts' targets, and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.runtime.rootfs import mount_stubs
from darse.runtime.rootfs.mount_stubs import MountStubs


class _Root:
    """A root before the runtime comes, and the upper directory after it."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.upper = directory / "upper"
        self.root.mkdir()
        self.upper.mkdir()
        self.stubs = MountStubs()

    def find(self, *destinations: str, recursive: bool = True) -> None:
        descriptor = os.open(self.root, os.O_PATH)
        try:
            self.stubs.find(descriptor, str(self.root), destinations, recursive=recursive)
        finally:
            os.close(descriptor)

    def left(self) -> list[str]:
        """What is in the upper directory when the stubs are removed."""
        descriptor = os.open(self.upper, os.O_RDONLY)
        try:
            self.stubs.remove(descriptor)
        finally:
            os.close(descriptor)
        return sorted(str(path.relative_to(self.upper)) for path in self.upper.rglob("*"))


@pytest.fixture
def root(tmp_path: Path) -> _Root:
    return _Root(tmp_path)


def test_stubs_and_the_directories_that_were_made_for_them_go(root: _Root) -> None:
    (root.root / "etc").mkdir()
    root.find("/etc/hosts", "/a/b/c")
    (root.upper / "etc").mkdir()
    (root.upper / "etc" / "hosts").touch()
    (root.upper / "a" / "b" / "c").mkdir(parents=True)
    assert root.left() == []


def test_what_was_there_before_stays(root: _Root) -> None:
    (root.root / "etc").mkdir()
    (root.root / "etc" / "hosts").write_text("mine")
    root.find("/etc/hosts")
    (root.upper / "etc").mkdir()
    (root.upper / "etc" / "hosts").touch()
    assert root.left() == ["etc", "etc/hosts"]


def test_what_the_container_has_made_of_them_stays(root: _Root) -> None:
    root.find("/a/b", "/file")
    (root.upper / "a" / "b").mkdir(parents=True)
    (root.upper / "a" / "own").touch()
    (root.upper / "file").write_text("written")
    assert root.left() == ["a", "a/own", "file"]


def test_without_recursion_the_target_alone_goes(root: _Root) -> None:
    root.find("/a/b", recursive=False)
    (root.upper / "a" / "b").mkdir(parents=True)
    assert root.left() == ["a"]


def test_a_directory_that_the_container_has_changed_stays(root: _Root) -> None:
    (root.root / "etc").mkdir(mode=0o755)
    root.find("/etc/hosts")
    (root.upper / "etc").mkdir()
    (root.upper / "etc").chmod(0o700)
    (root.upper / "etc" / "hosts").touch()
    assert root.left() == ["etc"]


def test_links_on_the_way_are_followed_in_the_root_and_never_in_the_upper_directory(
    root: _Root, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "empty").mkdir(parents=True)
    (root.root / "run").mkdir()
    (root.root / "var").symlink_to("/run")
    root.find("/var/lock", "/gone/empty")
    (root.upper / "run" / "lock").mkdir(parents=True)
    (root.upper / "gone").symlink_to(outside)
    assert root.left() == ["gone"]
    assert (outside / "empty").is_dir()


@pytest.mark.parametrize("recursive", [True, False])
def test_targets_below_each_other_are_looked_at_once(
    root: _Root, monkeypatch: pytest.MonkeyPatch, recursive: bool
) -> None:
    looks: list[str] = []
    status = mount_stubs._status

    def counted(root_fd: int, path: str) -> os.stat_result | None:
        looks.append(path)
        return status(root_fd, path)

    monkeypatch.setattr(mount_stubs, "_status", counted)
    (root.root / "etc").mkdir()
    targets = ["/etc" + "/x" * (level + 1) for level in range(200)]
    root.find(*reversed(targets), *targets, recursive=recursive)
    assert len(looks) < 3 * 200
    (root.upper / targets[-1].lstrip("/")).mkdir(parents=True)
    assert root.left() == []
