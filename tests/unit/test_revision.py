"""The build's identity, as a clone, a worktree or an installation says it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from darse import revision

_GIT = ("git", "-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")


def _git(directory: Path, *words: str) -> str:
    return subprocess.run([*_GIT, *words], cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    directory = tmp_path / "clone"
    (directory / "src" / "darse").mkdir(parents=True)
    (directory / "src" / "darse" / "file").write_text("x")
    _git(directory, "init")
    _git(directory, "add", "-A")
    _git(directory, "commit", "-m", "one")
    return directory


def _identity(directory: Path) -> tuple[str, str]:
    return revision.identity(str(directory / "src" / "darse"))


def test_of_a_clone(clone: Path) -> None:
    head = _git(clone, "rev-parse", "HEAD")
    commit, when = _identity(clone)
    assert commit == head[:12]
    assert when.endswith("Z")
    _git(clone, "pack-refs", "--all")
    assert _identity(clone)[0] == head[:12]
    _git(clone, "checkout", "--detach")
    assert _identity(clone)[0] == head[:12]


def test_of_a_worktree(clone: Path, tmp_path: Path) -> None:
    _git(clone, "worktree", "add", "-b", "other", str(tmp_path / "tree"))
    assert _identity(tmp_path / "tree")[0] == _git(clone, "rev-parse", "HEAD")[:12]


def test_of_an_installation(tmp_path: Path) -> None:
    assert revision.identity(str(tmp_path)) == ("", "")
    (tmp_path / "_build").write_text("abc\n2026-01-02T03:04:05Z\n")
    assert revision.identity(str(tmp_path)) == ("abc", "2026-01-02T03:04:05Z")


def test_of_this_one() -> None:
    if os.path.exists(Path(revision.__file__).parents[2] / ".git"):
        assert len(revision.identity()[0]) == 12


def test_a_wheel_and_a_source_archive_say_it(tmp_path: Path) -> None:
    root = Path(revision.__file__).parents[2]
    if not (root / "setup.py").exists():
        pytest.skip("darse is installed without its sources")
    copy = tmp_path / "clone"
    shutil.copytree(
        root / "src" / "darse", copy / "src" / "darse", ignore=shutil.ignore_patterns("__pycache__", "_build")
    )
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(root / name, copy)
    for words in (("init",), ("add", "-A"), ("commit", "-m", "one")):
        _git(copy, *words)
    head = _git(copy, "rev-parse", "HEAD")[:12]
    built = ("build", "--build-base", str(tmp_path / "b"))
    for command in (built, ("sdist", "--formats=tar", "-d", str(tmp_path / "s"))):
        subprocess.run([sys.executable, "setup.py", "-q", *command], cwd=copy, check=True, capture_output=True)
    assert revision.identity(str(tmp_path / "b" / "lib" / "darse"))[0] == head
    (archive,) = (tmp_path / "s").iterdir()
    with tarfile.open(archive) as members:
        (name,) = (name for name in members.getnames() if name.endswith("/src/darse/_build"))
        file = members.extractfile(name)
        assert file is not None
        assert file.read().decode().startswith(f"{head}\n")
    assert not (copy / "src" / "darse" / "_build").exists()
