"""What waits for a disk is done in threads: a busy disk does not stop the event loop and all other requests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from darse.images import Image
from darse.linux.fs.contained import remove_tree
from darse.recovery.startup import Recovery
from darse.testing.blocking import on_this_thread
from darse.testing.clock import in_fake_time
from darse.testing.room import container_room
from darse.wire.host_config import HostConfig, LogConfig


def test_the_watch_sees_what_it_is_for(tmp_path: Path) -> None:
    with on_this_thread(tmp_path) as seen:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b").write_text("")
        (tmp_path / "a" / "b").rename(tmp_path / "c")
        remove_tree(tmp_path / "c")
        (tmp_path.parent / "other").touch()
        (tmp_path.parent / "other").unlink()
    assert [one.split()[0] for one in seen] == [
        *("os.mkdir", "open", "os.rename"),
        *("open", "os.remove"),
    ]


@in_fake_time
async def test_a_container_s_life_waits_for_no_disk_on_the_event_loop(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add(host=HostConfig(LogConfig=LogConfig("json-file")))
        data = room.dependencies.config.data_root
        with on_this_thread(data) as seen:
            for _ in range(2):
                await room.service.start("web")
                ended = web.next_exit()
                room.host.containers[web.id].exit(0)
                await ended
            await room.service.remove_container("web", force=False, volumes=True)
        assert seen == []
        assert not room.dependencies.files.of(web.id).data.exists()


@in_fake_time
async def test_directories_of_a_new_container_are_made_in_a_thread(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        image = cast(Image, SimpleNamespace(id="", chain_ids=()))
        web = room.add()
        record = web.record
        await room.service.remove_container("web", force=False, volumes=False)
        data = room.dependencies.config.data_root
        (data / "snapshots").mkdir(exist_ok=True)
        with on_this_thread(data) as seen:
            made = await room.service.hidden.create(record, image)
        assert seen == []
        assert room.dependencies.files.of(made.id).data.is_dir()
        assert Path(room.dependencies.snapshots.overlay(made.id).upper).is_dir()


@in_fake_time
async def test_a_log_is_rotated_and_tidied_up_in_threads(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        kept = {"max-size": "1k", "max-file": "2"}
        web = room.add(host=HostConfig(LogConfig=LogConfig("json-file", kept)))
        files = room.dependencies.files.of(web.id)
        for number in (1, 2, 3):
            files.log.with_name(f"{files.log.name}.{number}").write_text("old")
        files.log.write_text("x" * 2000)
        with on_this_thread(room.dependencies.config.data_root) as seen:
            await room.service.start("web")
            async with asyncio.timeout(10):
                while files.log.exists():  # conmon, which would make it anew, is not there
                    await asyncio.sleep(0.001)
            ended = web.next_exit()
            room.host.containers[web.id].exit(0)
            await ended
            await room.service.close(None)
        assert seen == []
        # Of the last one, which has no successor, and the one before: as many as are kept.
        assert sorted(path.suffix for path in files.data.glob(f"{files.log.name}.*")) == [".3", ".4"]


@in_fake_time
async def test_what_containers_have_left_is_deleted_behind_the_start(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        dependencies = room.dependencies
        data = dependencies.config.data_root
        removed, spool = dependencies.files.of("a" * 64).data, data / "spools" / ("b" * 64)
        for directory in (removed, spool):
            directory.mkdir(parents=True)
            (directory / "log").write_text("gigabytes")
        recovery = Recovery(data, room.database)
        recovery.unfinished.begin("containers", ["a" * 64])
        with on_this_thread(data) as seen:
            await room.service.recovery.sweep(recovery)
            await room.service.open()
        assert not {"os.remove", "os.rmdir"} & {one.split()[0] for one in seen}
        assert not removed.exists()
        assert not spool.exists()
