"""Which files differ between two trees."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from darse.build.graph import Selector
from darse.build.history import changes as module
from darse.build.history.changes import FileFacts, changes, read_tree


def tree(path: Path) -> dict[str, FileFacts]:
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = read_tree(root)
    finally:
        os.close(root)
    assert found is not None
    return found


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir(mode=0o755)
    (tmp_path / "d" / "f").write_text("one")
    (tmp_path / "d" / "f").chmod(0o644)
    (tmp_path / "link").symlink_to("d")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda top: (top / "d" / "f").write_text("two"), ["d/f: content"]),
        (lambda top: (top / "d" / "f").chmod(0o600), ["d/f: mode 644 → 600"]),
        (lambda top: (top / "d").chmod(0o700), ["d: mode 755 → 700"]),
        (lambda top: os.utime(top / "d" / "f", (1, 1)), []),
        (lambda top: (top / "d" / "f").rename(top / "d" / "g"), ["d/f: removed", "d/g: new"]),
        (lambda top: ((top / "link").unlink(), (top / "link").symlink_to("e")), ["link: content"]),
        (lambda top: ((top / "link").unlink(), (top / "link").mkdir()), ["link: another kind of file"]),
    ],
)
def test_what_became_of_files(top: Path, change: Callable[[Path], object], words: list[str]) -> None:
    before = tree(top)
    change(top)
    assert list(changes(before, tree(top))) == words


def test_only_what_is_selected_counts(top: Path) -> None:
    before = tree(top)
    (top / "d" / "f").write_text("two")
    (top / "other").write_text("new")
    now = tree(top)
    assert list(changes(before, now, (Selector("/d"),))) == ["d/f: content"]
    assert list(changes(before, now, (Selector("/o*", wildcard=True),))) == ["other: new"]
    assert list(changes(before, now, (Selector("/", exclude_patterns=("d/f",)),))) == ["other: new"]


def test_a_huge_tree_is_not_compared(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 2)
    root = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert read_tree(root) is None
    finally:
        os.close(root)
