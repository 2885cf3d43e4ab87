from __future__ import annotations

import os
from pathlib import Path

import pytest

from darse.linux.contained import remove_tree


def test_files_and_links_go_and_what_links_point_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/link").symlink_to(kept)
    (tree / "file-link").symlink_to(kept / "file")
    os.mkfifo(tree / "fifo")
    (tree / "a/dangling").symlink_to("nowhere")
    remove_tree(tree)
    assert not tree.exists()
    assert (kept / "file").read_text() == "x"


def test_what_is_gone_or_no_directory_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "none")
    (tmp_path / "link").symlink_to(tmp_path)
    remove_tree(tmp_path / "link")
    assert tmp_path.exists()
    assert not os.path.lexists(tmp_path / "link")


@pytest.mark.parametrize("depth", [3, 64, 65, 130, 3000])
def test_any_depth(tmp_path: Path, depth: int) -> None:
    """A container can nest deeper than a path is long, the interpreter recurses, and descriptors last."""
    top = tmp_path / "top"
    top.mkdir()
    current = os.open(top, os.O_PATH | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d" * 8, dir_fd=current)
        following = os.open("d" * 8, os.O_PATH | os.O_DIRECTORY, dir_fd=current)
        os.close(current)
        current = following
    os.mknod("leaf", dir_fd=current)
    os.close(current)
    remove_tree(top)
    assert not top.exists()
