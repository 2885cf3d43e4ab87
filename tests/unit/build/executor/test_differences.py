"""What makes one tree another one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from darse.build.executor.differences import write_difference


class _Trees:
    def __init__(self, directory: Path) -> None:
        self.lower, self.upper, self.target = (directory / name for name in ("lower", "upper", "target"))
        for path in (self.lower, self.upper, self.target):
            path.mkdir()

    def both(self, name: str, content: str = "same") -> None:
        """A file that both trees have."""
        for root in (self.lower, self.upper):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
            os.utime(root / name, ns=(1, 1_000_000_001))

    def difference(self) -> dict[str, str]:
        """What comes of it: content, `gone`, `directory`, or a link's target, by path."""
        roots = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (self.target, self.lower, self.upper)]
        try:
            write_difference(roots[0], roots[1:])
        finally:
            for root in roots:
                os.close(root)
        return {str(path.relative_to(self.target)): self._shown(path) for path in sorted(self.target.rglob("*"))}

    @staticmethod
    def _shown(path: Path) -> str:
        status = path.lstat()
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            return "gone"
        if path.is_symlink():
            return str(path.readlink())
        return "directory" if path.is_dir() else path.read_text()


@pytest.fixture
def trees(tmp_path: Path) -> _Trees:
    if os.geteuid() != 0:
        pytest.skip("only root makes whiteouts")
    return _Trees(tmp_path)


def test_equal_trees_have_no_difference(trees: _Trees) -> None:
    trees.both("a")
    trees.both("d/e/f")
    for root in (trees.lower, trees.upper):
        (root / "link").symlink_to("a")
        os.mkfifo(root / "fifo")
    assert trees.difference() == {}


def test_what_is_new_changed_and_gone(trees: _Trees) -> None:
    trees.both("d/kept")
    trees.both("d/changed")
    trees.both("gone")
    trees.both("e/inner")
    (trees.upper / "d" / "changed").write_text("other")
    (trees.upper / "new" / "deep").mkdir(parents=True)
    (trees.upper / "new" / "deep" / "file").write_text("new")
    (trees.upper / "gone").unlink()
    (trees.upper / "e" / "inner").unlink()
    assert trees.difference() == {
        "d": "directory",
        "d/changed": "other",
        "e": "directory",
        "e/inner": "gone",
        "gone": "gone",
        "new": "directory",
        "new/deep": "directory",
        "new/deep/file": "new",
    }


def test_kinds_that_change_and_directories_with_another_mode(trees: _Trees) -> None:
    (trees.lower / "a").symlink_to("/etc")
    (trees.upper / "a").mkdir()
    (trees.upper / "a" / "passwd").write_text("mine")
    (trees.lower / "b").mkdir()
    (trees.lower / "b" / "x").touch()
    (trees.upper / "b").symlink_to("a")
    for root, mode in ((trees.lower, 0o755), (trees.upper, 0o700)):
        (root / "c").mkdir()
        (root / "c").chmod(mode)
    assert trees.difference() == {"a": "directory", "a/passwd": "mine", "b": "a", "c": "directory"}
    assert stat.S_IMODE((trees.target / "c").stat().st_mode) == 0o700


def test_times_without_fractions_are_not_believed(trees: _Trees) -> None:
    for root, content in ((trees.lower, "one"), (trees.upper, "two")):
        (root / "file").write_text(content)
        os.utime(root / "file", (1, 1))
    assert trees.difference() == {"file": "two"}
