"""Checkpoints on file systems that are not the engine's."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from darse.containers.filesystem.checkpoints import CheckpointPlace
from darse.core.errors import Conflict, SystemFault
from darse.runtime import checkpoint
from darse.testing.blocking import on_this_thread
from darse.testing.clock import in_fake_time
from darse.testing.room import container_room
from darse.wire.checkpoints import CheckpointCreate


def _dump(_runtime: object, _id: str, _monitor: int, directory: Path, *, leave_running: bool) -> None:
    if not leave_running:
        raise SystemFault("a reason of CRIU's")
    (directory / "stats-dump").touch()


@in_fake_time
async def test_the_directory_of_a_client_is_never_waited_for_on_the_event_loop(tmp_path: Path) -> None:
    place = tmp_path / "mine"
    async with container_room(tmp_path / "engine") as room:
        room.add()
        await room.service.start("web")
        checkpoints = room.service.checkpoints
        with mock.patch.object(checkpoint, "dump", _dump), on_this_thread(place) as seen:
            await checkpoints.create("web", CheckpointCreate(CheckpointID="one", CheckpointDir=str(place)))
            with pytest.raises(SystemFault, match="CRIU"):
                await checkpoints.create("web", CheckpointCreate("two", CheckpointDir=str(place), Exit=True))
            with pytest.raises(Conflict, match="already exists"):
                await checkpoints.create("web", CheckpointCreate("one", CheckpointDir=str(place)))
            listed = await checkpoints.list_checkpoints("web", str(place))
            await checkpoints.remove_checkpoint("web", CheckpointPlace("one", str(place)))
        assert [one.Name for one in listed] == ["one"]
        assert await checkpoints.list_checkpoints("web", str(place)) == []
        assert list(place.iterdir()) == []
        assert seen == []


@in_fake_time
async def test_a_checkpoint_takes_the_place_of_what_one_that_was_cut_short_has_left(tmp_path: Path) -> None:
    async with container_room(tmp_path / "engine") as room:
        room.add()
        await room.service.start("web")
        for name, left in (("empty", ()), ("begun", ("dump.log", "pages-1.img")), ("other", ("mine",))):
            (tmp_path / name).mkdir()
            for file in left:
                (tmp_path / name / file).touch()
        with mock.patch.object(checkpoint, "dump", _dump):
            for name in ("empty", "begun"):
                await room.service.checkpoints.create("web", CheckpointCreate(name, CheckpointDir=str(tmp_path)))
            with pytest.raises(Conflict, match="is no checkpoint"):
                await room.service.checkpoints.create("web", CheckpointCreate("other", CheckpointDir=str(tmp_path)))
        listed = await room.service.checkpoints.list_checkpoints("web", str(tmp_path))
        assert [one.Name for one in listed] == ["begun", "empty"]
        assert [path.name for path in (tmp_path / "begun").iterdir()] == ["stats-dump"]
