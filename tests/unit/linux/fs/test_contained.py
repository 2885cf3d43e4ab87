from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from darse.linux.fs.contained import BATCH, ENTER, ENTRY, LEAVE, Walk, discard_tree, remove_tree


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
    _nest(top, depth)
    remove_tree(top)
    assert not top.exists()


def _nest(top: Path, depth: int) -> None:
    current = os.open(top, os.O_PATH | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d" * 8, dir_fd=current)
        following = os.open("d" * 8, os.O_PATH | os.O_DIRECTORY, dir_fd=current)
        os.close(current)
        current = following
    os.mknod("leaf", dir_fd=current)
    os.close(current)


def _walked(top: Path, **options: Any) -> list[tuple[int, str]]:
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return [(kind, name) for kind, _, name, _ in Walk(descriptor, **options)]
    finally:
        os.close(descriptor)


def test_what_cannot_be_removed_stays_and_all_the_rest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "file").touch()
    unlink = os.unlink

    def refuse(name: str, *, dir_fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{dir_fd}").endswith("/b"):
            raise PermissionError(1, "Operation not permitted", name)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        remove_tree(tmp_path / "tree")
    assert sorted(path.name for path in (tmp_path / "tree").rglob("*")) == ["b", "file"]
    monkeypatch.undo()
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("options", [{}, {"ordered": True}, {"wide_ordered": True, "batch": 3}, {"batch": 2}])
def test_a_walk_sees_every_entry_once(tmp_path: Path, options: dict[str, Any]) -> None:
    for one in range(7):
        (tmp_path / f"d{one}").mkdir()
        (tmp_path / f"f{one}").touch()
        for other in range(5):
            (tmp_path / f"d{one}" / f"in{other}").mkdir()
    (tmp_path / "link").symlink_to("d1")
    steps = _walked(tmp_path, **options)
    assert sorted(name for kind, name in steps if kind == ENTRY) == [*(f"f{one}" for one in range(7)), "link"]
    entered = [name for kind, name in steps if kind == ENTER]
    assert sorted(entered) == sorted([*(f"d{one}" for one in range(7)), *[f"in{one}" for one in range(5)] * 7])
    assert sum(kind == LEAVE for kind, _ in steps) == len(entered)
    if options.get("ordered") or options.get("wide_ordered"):
        top = [name for name in (name for kind, name in steps if kind != LEAVE) if not name.startswith("in")]
        assert top == sorted(top)


def test_a_walk_goes_to_any_depth_with_few_descriptors_and_skips(tmp_path: Path) -> None:
    _nest(tmp_path, 3000)
    before = len(os.listdir("/proc/self/fd"))
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    most = entered = 0
    walk = Walk(descriptor)
    for kind, _, _, _ in walk:
        entered += kind == ENTER
        if not entered % 500:
            most = max(most, len(os.listdir("/proc/self/fd")) - before)
    assert entered == 3000
    assert most < 40
    walk = Walk(descriptor)
    steps = []
    for step in walk:
        steps.append(step)
        if len(steps) == 10:
            walk.skip()
    assert len(steps) == 20
    os.close(descriptor)
    assert len(os.listdir("/proc/self/fd")) == before
    remove_tree(tmp_path / ("d" * 8))


def test_a_walk_notices_that_a_directory_above_was_moved_away(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    deep = tree / "/".join("abcdefgh")
    deep.mkdir(parents=True)
    outside.mkdir()
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    steps = iter(Walk(descriptor, held=2))
    assert [next(steps)[2] for _ in range(8)] == list("abcdefgh")
    (tree / "a/b/c").rename(outside / "c")
    with pytest.raises(OSError, match="moved"):
        list(steps)
    os.close(descriptor)


def test_names_that_wait_are_bounded_over_all_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BATCH > 1
    monkeypatch.setattr("darse.linux.fs.contained._PENDING", 4)
    current = tmp_path
    for level in range(6):
        for one in range(4):
            (current / f"{level}-{one}").mkdir()
        current /= f"{level}-0"
    entered = [name for kind, name in _walked(tmp_path, batch=2) if kind == ENTER]
    assert sorted(entered) == sorted(f"{level}-{one}" for level in range(6) for one in range(4))


@pytest.mark.parametrize(("grows", "left"), [(1, False), (4, False), (100, True)])
def test_what_grows_meanwhile_is_discarded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, grows: int, left: bool
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    rmdir, made = os.rmdir, iter(range(grows))

    def and_another(*arguments: Any, **options: Any) -> None:
        if (number := next(made, None)) is not None:
            (tree / str(number)).touch()
        rmdir(*arguments, **options)

    monkeypatch.setattr(os, "rmdir", and_another)
    discard_tree(tree)
    assert tree.exists() is left
    assert ("cannot remove" in caplog.text) is left
