from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from pathlib import Path

import pytest

from darse.core.errors import SystemFault
from darse.linux.fs import files
from darse.runtime.rootfs import trash as trash_module
from darse.runtime.rootfs import tree_sizes
from darse.runtime.rootfs.trash import Trash
from darse.runtime.rootfs.tree_sizes import TreeSizes
from darse.testing.blocking import on_this_thread


@pytest.fixture
def trash(tmp_path: Path) -> Trash:
    made = Trash(tmp_path / "trash")
    made.open()
    return made


def _tree(path: Path) -> Path:
    (path / "sub").mkdir(parents=True)
    (path / "sub/file").write_text("x")
    return path


async def test_what_is_discarded_is_gone(trash: Trash, tmp_path: Path) -> None:
    await trash.discard(_tree(tmp_path / "one"))
    await trash.discard(tmp_path / "one")
    assert not (tmp_path / "one").exists()
    assert list(trash.directory.iterdir()) == []


async def test_a_host_that_has_no_room_for_a_thread(
    trash: Trash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "no room", "a thread")

    monkeypatch.setattr(trash._threads, "run", refuse)
    with pytest.raises(BlockingIOError):
        await trash.discard(_tree(tmp_path / "one"))


async def test_what_is_discarded_soon_is_out_of_the_way_at_once(trash: Trash, tmp_path: Path) -> None:
    top = _tree(tmp_path / "one")
    with on_this_thread(tmp_path) as seen:
        trash.discard_soon(top)
        trash.discard_soon(tmp_path / "one")
        assert not (tmp_path / "one").exists()
        await asyncio.wait(trash._removals)
    assert [one.split()[0] for one in seen] == ["os.rename", "os.rename"]
    assert list(trash.directory.iterdir()) == []


async def test_what_is_set_aside_is_out_of_the_way_whoever_stops_waiting(trash: Trash, tmp_path: Path) -> None:
    one, two = _tree(tmp_path / "one"), _tree(tmp_path / "two")
    with on_this_thread(tmp_path) as seen:
        await trash.set_aside(one)
        await trash.set_aside(tmp_path / "none")
        setting = asyncio.create_task(trash.set_aside(two))
        await asyncio.sleep(0)
        setting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await setting
        await asyncio.wait(trash._removals)
    assert seen == []
    assert [one.exists(), two.exists()] == [False, False]
    assert list(trash.directory.iterdir()) == []


async def test_what_is_discarded_in_the_background_holds_up_nobody(
    trash: Trash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    top = _tree(tmp_path / "one")
    with on_this_thread(tmp_path) as seen:
        trash.discard_in_background(top)
        while trash._removals:
            await asyncio.wait(trash._removals)
    assert seen == []
    assert not (tmp_path / "one").exists()
    assert list(trash.directory.iterdir()) == []

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "rename", refuse)
    trash.discard_in_background(_tree(tmp_path / "two"))
    await asyncio.wait(trash._removals)
    assert caplog.messages == [f"cannot remove {tmp_path}/two: [Errno 5] Input/output error"]


async def test_what_is_on_another_file_system_is_removed_where_it_is(
    trash: Trash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    top = _tree(tmp_path / "one")
    monkeypatch.setattr(os, "rename", refuse)
    trash.discard_soon(top)
    await asyncio.wait(trash._removals)
    assert not top.exists()


async def test_what_cannot_be_removed_stays_and_is_logged_once(
    trash: Trash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    remove = trash_module.remove_tree

    def refuse(path: Path) -> None:
        if path.name.startswith("stuck"):
            raise PermissionError(1, "Operation not permitted")
        remove(path)

    monkeypatch.setattr(trash_module, "remove_tree", refuse)
    stuck = trash.take(_tree(tmp_path / "stuck"))
    assert stuck is not None
    with caplog.at_level(logging.WARNING):
        await trash.remove(stuck)
        await trash.remove(stuck)
        await trash.discard(_tree(tmp_path / "other"))
    assert [path.name for path in trash.directory.iterdir()] == [stuck.name]
    assert trash.left == {stuck.name: "Operation not permitted"}
    assert len(caplog.records) == 1
    monkeypatch.undo()
    await trash.remove(stuck)
    assert trash.left == {}
    assert list(trash.directory.iterdir()) == []


async def test_what_an_engine_before_has_left_goes_in_the_background(trash: Trash) -> None:
    for name in ("a", "b"):
        _tree(trash.directory / name)
    trash.empty_in_background()
    async with asyncio.timeout(10):
        while list(trash.directory.iterdir()):
            await asyncio.sleep(0.01)
    await trash.close()
    assert trash.left == {}


async def test_who_asks_for_the_same_size_shares_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    run = files.Measurement.run

    def counted(self: files.Measurement, root: Path) -> files.Usage:
        looks.append(root)
        return run(self, root)

    monkeypatch.setattr(files.Measurement, "run", counted)
    sizes = TreeSizes()
    found = await asyncio.gather(*(sizes.of(_tree(tmp_path / "t") if not one else tmp_path / "t") for one in range(5)))
    assert {one.size for one in found} == {1}
    assert len(looks) == 1
    with pytest.raises(FileNotFoundError):
        await sizes.of(tmp_path / "none")


async def test_a_file_system_that_does_not_answer_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_sizes, "_SILENCE", 0.05)
    answers = threading.Event()
    run = files.Measurement.run

    def dead(self: files.Measurement, root: Path) -> files.Usage:
        if root.name == "dead":
            answers.wait()
        return run(self, root)

    monkeypatch.setattr(files.Measurement, "run", dead)
    sizes = TreeSizes(1)
    _tree(tmp_path / "dead")
    for _ in range(2):
        with pytest.raises(SystemFault, match="does not answer"):
            await sizes.of(tmp_path / "dead")
    monkeypatch.setattr(tree_sizes, "_SILENCE", 20)
    assert (await sizes.of(_tree(tmp_path / "other"))).size == 1
    answers.set()
