"""What is part of a tree's digest, and what is not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from darse.build.context import PathNotFound, content_digest
from darse.build.graph import Selector


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree."""
    root = tmp_path / "tree"
    (root / "d" / "e").mkdir(parents=True)
    (root / "a").write_text("a")
    (root / "b.c").write_text("b")
    (root / "d" / "f.c").write_text("f")
    (root / "d" / "e" / "g").write_text("g")
    (root / "link").symlink_to("d/f.c")
    (root / "absolute").symlink_to("/d")
    return root


def _digest(tree: Path, *selectors: Selector) -> str:
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return content_digest(root, selectors)
    finally:
        os.close(root)


def _rename(tree: Path) -> None:
    (tree / "d" / "f.c").rename(tree / "d" / "h.c")


def _replace_by_directory(tree: Path) -> None:
    (tree / "a").unlink()
    (tree / "a").mkdir()


_CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "d" / "f.c").write_text("F"),
    "longer": lambda tree: (tree / "d" / "f.c").write_text("f" * 3_000_000),
    "mode": lambda tree: (tree / "d" / "f.c").chmod(0o600),
    "mode of a directory": lambda tree: (tree / "d" / "e").chmod(0o700),
    "mode of the root": lambda tree: tree.chmod(0o700),
    "name": _rename,
    "new": lambda tree: (tree / "d" / "new").touch(),
    "empty directory": lambda tree: (tree / "d" / "new").mkdir(),
    "kind": _replace_by_directory,
    "target": lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("a")),
    "fifo": lambda tree: os.mkfifo(tree / "fifo"),
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
def test_counts(tree: Path, change: Callable[[Path], object]) -> None:
    before = _digest(tree)
    change(tree)
    assert _digest(tree) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: os.utime(tree / "a", (1, 1)),
        lambda tree: os.utime(tree / "d", (1, 1)),
        lambda tree: ((tree / "a").unlink(), (tree / "a").write_text("a")),
        lambda tree: None,
    ],
    ids=["time", "time of a directory", "inode", "nothing"],
)
def test_does_not_count(tree: Path, change: Callable[[Path], object]) -> None:
    before = _digest(tree)
    change(tree)
    assert _digest(tree) == before


def test_attributes_count(tree: Path) -> None:
    before = _digest(tree)
    try:
        os.setxattr(tree / "a", "user.x", b"1")
    except OSError as error:
        pytest.skip(f"no attributes here: {error}")
    assert _digest(tree) != before


def test_what_is_not_selected_does_not_count(tree: Path) -> None:
    selectors = [Selector("/d"), Selector("/a")]
    before = _digest(tree, *selectors)
    (tree / "b.c").write_text("other")
    assert _digest(tree, *selectors) == before
    (tree / "a").write_text("other")
    assert _digest(tree, *selectors) != before


def test_the_name_of_what_is_selected_is_not_part_of_it(tree: Path) -> None:
    before = _digest(tree, Selector("/d"))
    (tree / "d").rename(tree / "z")
    assert _digest(tree, Selector("/z")) == before


def test_parts_do_not_run_into_each_other(tree: Path) -> None:
    assert _digest(tree, Selector("/a"), Selector("/b.c")) != _digest(tree, Selector("/b.c"), Selector("/a"))
    assert _digest(tree, Selector("/a")) != _digest(tree, Selector("/a"), Selector("/a"))


@pytest.mark.parametrize("path", ["/none", "/d/none", "/a/none", "/absolute/none", "/../none"])
def test_what_is_not_there(tree: Path, path: str) -> None:
    with pytest.raises(PathNotFound, match=f'"{path}": not found'):
        _digest(tree, Selector(path))


def test_required_paths(tree: Path) -> None:
    assert _digest(tree, Selector("/", required_paths=("/a",)))
    with pytest.raises(PathNotFound, match="none"):
        _digest(tree, Selector("/", required_paths=("/none",)))


def test_links_are_followed_where_the_selector_says(tree: Path) -> None:
    target, link = Selector("/d/f.c", follow_links=True), Selector("/link", follow_links=True)
    assert _digest(tree, target) == _digest(tree, link)
    itself = _digest(tree, Selector("/link"))
    (tree / "d" / "f.c").write_text("changed")
    assert _digest(tree, Selector("/link")) == itself
    assert _digest(tree, Selector("/absolute/e/g")) == _digest(tree, Selector("/d/e/g"))
    assert _digest(tree, Selector("/absolute", follow_links=True)) == _digest(tree, Selector("/d"))


def test_no_link_leads_out(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    (tree / "up").symlink_to("../secret")
    (tree / "host").symlink_to(tmp_path / "secret")
    for path in ("/up", "/host", "/d/../../secret"):
        with pytest.raises(PathNotFound):
            _digest(tree, Selector(path, follow_links=True))
    before = _digest(tree)
    (tmp_path / "secret").write_text("2")
    assert _digest(tree) == before


@pytest.mark.parametrize(
    ("selector", "counts", "does_not"),
    [
        (Selector("/*.c", wildcard=True), "b.c", "d/f.c"),
        (Selector("/d/*", wildcard=True), "d/e/g", "a"),
        (Selector("/*/f.?", wildcard=True), "d/f.c", "d/e/g"),
        (Selector("/[ab]*", wildcard=True), "b.c", "d/f.c"),
        (Selector("/[^ab]*", wildcard=True), "d/f.c", "b.c"),
        (Selector("/d", exclude_patterns=("e",)), "d/f.c", "d/e/g"),
        (Selector("/d", exclude_patterns=("**", "!e/g")), "d/e/g", "d/f.c"),
        (Selector("/", include_patterns=("d/e",)), "d/e/g", "d/f.c"),
        (Selector("/", include_patterns=("**/*.c",), exclude_patterns=("d",)), "b.c", "d/f.c"),
    ],
)
def test_patterns(tree: Path, selector: Selector, counts: str, does_not: str) -> None:
    before = _digest(tree, selector)
    (tree / does_not).write_text("changed")
    assert _digest(tree, selector) == before
    (tree / counts).write_text("changed")
    assert _digest(tree, selector) != before


def test_directories_that_are_made_for_what_is_included_count(tree: Path) -> None:
    selector = Selector("/", include_patterns=("d/e/g",))
    before = _digest(tree, selector)
    (tree / "d").chmod(0o711)
    changed = _digest(tree, selector)
    assert changed != before
    (tree / "x").mkdir()
    (tree / "x" / "y").touch()
    assert _digest(tree, selector) == changed


def test_a_wildcard_that_nothing_matches(tree: Path) -> None:
    selector = Selector("/none/*.x", wildcard=True)
    before = _digest(tree, selector)
    (tree / "none").mkdir()
    assert _digest(tree, selector) == before
    (tree / "none" / "a.x").touch()
    assert _digest(tree, selector) != before


def test_a_wildcard_in_quotes_is_a_name(tree: Path) -> None:
    (tree / "x*").touch()
    assert _digest(tree, Selector("/x\\**", wildcard=True))
    (tree / "xy").touch()
    before = _digest(tree, Selector("/x\\**", wildcard=True))
    (tree / "xy").write_text("changed")
    assert _digest(tree, Selector("/x\\**", wildcard=True)) == before


def test_patterns_that_are_meant_to_be_slow_are_not(tree: Path) -> None:
    (tree / ("a" * 250)).touch()
    started = time.process_time()
    assert _digest(tree, Selector("/" + "*a" * 100 + "b", wildcard=True))
    assert time.process_time() - started < 2


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Directories deeper than the interpreter recurses and paths are long."""
    root = tmp_path / "deep"
    root.mkdir()
    directory = os.open(root, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("directory", dir_fd=directory)
        inner = os.open("directory", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = inner
    os.close(directory)
    yield root
    from darse.linux.fs.contained import remove_tree

    remove_tree(root)


def test_deep_trees(deep: Path) -> None:
    assert _digest(deep) == _digest(deep)
