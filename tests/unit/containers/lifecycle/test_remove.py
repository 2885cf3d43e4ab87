"""Removals on a host in memory: nothing is gone before that is on record."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from darse.containers.model import Status
from darse.core.errors import Conflict, NoSpace
from darse.testing.clock import in_fake_time
from darse.testing.room import container_room


@in_fake_time
async def test_a_removed_container_leaves_nothing(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        gone = web.removal()
        await room.service.remove_container("web", force=False, volumes=False)
        await gone
        assert room.dependencies.store.find("web") is None
        assert room.recorded(web) is None
        assert not room.dependencies.files.of(web.id).data.exists()
        assert room.actions() == ["destroy"]


@in_fake_time
async def test_one_that_runs_is_removed_by_force_only(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        with pytest.raises(Conflict, match="stop the container before removing"):
            await room.service.remove_container("web", force=False, volumes=False)
        await room.service.remove_container("web", force=True, volumes=False)
        assert room.host.containers[web.id].exit_code == 137
        assert room.actions() == ["start", "kill", "die", "destroy"]


@in_fake_time
async def test_a_removal_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        with room.full_disk(), pytest.raises(NoSpace):
            await room.service.remove_container("web", force=False, volumes=True)
        assert web.state.status is Status.CREATED
        assert room.dependencies.store.get("web") is web
        assert room.actions() == []
        await room.service.remove_container("web", force=False, volumes=True)
        assert room.recorded(web) is None


@in_fake_time
async def test_a_rename_that_cannot_be_written_leaves_the_name(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        with room.full_disk(), pytest.raises(NoSpace):
            await room.service.rename("web", "other")
        assert (web.name, room.dependencies.store.find("other")) == ("web", None)


@in_fake_time
async def test_two_removals_at_once_remove_once(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        room.add()
        found = await asyncio.gather(
            *(room.service.remove_container("web", force=True, volumes=False) for _ in range(2)), return_exceptions=True
        )
        assert found[0] is None
        assert room.actions() == ["destroy"]
