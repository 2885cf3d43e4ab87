"""Memory and record of containers while the disk is full: they agree, or the record follows when there is room."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from darse.containers.model import Status
from darse.core.errors import NoSpace
from darse.testing.clock import in_fake_time
from darse.testing.room import container_room
from darse.wire.observation import UpdateRequest


@in_fake_time
async def test_an_update_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        before = web.record
        with room.full_disk(), pytest.raises(NoSpace, match="Cannot update container"):
            await room.service.lifecycle.updates.update(web, UpdateRequest(CpuShares=512))
        assert web.record is before
        assert room.actions() == []
        await room.service.lifecycle.updates.update(web, UpdateRequest(CpuShares=512))
        assert web.record.host.CpuShares == 512


@in_fake_time
async def test_a_pause_is_on_record_when_there_is_room_again(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        with room.full_disk():
            await room.service.pause("web")
        # The kernel has frozen it, whatever the disk says.
        assert web.state.status is Status.PAUSED
        assert room.recorded(web).status is Status.RUNNING
        await asyncio.sleep(10)
        assert room.recorded(web).status is Status.PAUSED
        assert room.actions() == ["start", "pause"]


@in_fake_time
async def test_an_end_is_heard_of_at_once_and_on_record_when_there_is_room_again(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        ended = web.next_exit()
        exit_file = room.dependencies.files.of(web.id).bundle.exit_file
        with room.full_disk():
            room.host.containers[web.id].exit(3)
            assert (await ended).StatusCode == 3
            async with room.dependencies.locks.hold(web.id):
                assert exit_file.exists()  # the proof of the end, for an engine that takes over
        await asyncio.sleep(10)
        assert room.recorded(web) == web.state
        assert not exit_file.exists()


@in_fake_time
async def test_a_container_does_not_start_before_its_last_end_is_on_record(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        ended = web.next_exit()
        with room.full_disk():
            room.host.containers[web.id].exit(3)
            await ended
            with pytest.raises(NoSpace):
                await room.service.start("web")
        await room.service.start("web")
        assert room.actions() == ["start", "die", "die", "start"]
