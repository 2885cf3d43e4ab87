"""What an engine finds of the one before it: cut-short creations and removals, orphans, strays, and what has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from darse.containers.model import Status
from darse.recovery.startup import Recovery
from darse.testing.clock import in_fake_time
from darse.testing.room import ContainerRoom, container_room
from darse.wire.host_config import HostConfig


@asynccontextmanager
async def next_engine(before: ContainerRoom, directory: Path) -> AsyncIterator[tuple[ContainerRoom, Recovery]]:
    """An engine after the one before was killed, and what it has to report."""
    await before.close()
    after = ContainerRoom(directory, before.host)
    recovery = Recovery(after.dependencies.config.data_root, after.database)
    try:
        yield after, recovery
    finally:
        await after.close()


def troubles(recovery: Recovery) -> list[str]:
    return [f"{one.subject}: {one.found}" for one in recovery.troubles()]


@in_fake_time
async def test_a_creation_that_was_cut_short_never_was(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        web.state.status = Status.CREATING
        room.dependencies.store.save_state(web)
        directory = room.dependencies.files.of(web.id).data
        (directory / "log").touch()
        async with next_engine(room, tmp_path) as (after, recovery):
            await after.service.recovery.sweep(recovery)
            assert after.dependencies.store.find("web") is None
            assert not after.service.recovery.known


@in_fake_time
async def test_what_runs_and_no_record_names_is_left_alone_and_said(tmp_path: Path) -> None:
    """Its row is lost, and its processes are not: neither they nor their directories are touched."""
    async with container_room(tmp_path) as room:
        web = room.add()
        await room.service.start("web")
        files = room.dependencies.files.of(web.id)
        with room.database.transaction() as connection:
            connection.execute("DELETE FROM containers")
            connection.execute("DELETE FROM unfinished")  # as in a database from before the container
        async with next_engine(room, tmp_path) as (after, recovery):
            await after.service.recovery.sweep(recovery)
            await after.service.recovery.recover(recovery)
            assert recovery.strays == {web.id}
            assert room.host.containers[web.id].exit_code is None
            assert files.data.is_dir()
            assert files.bundle.directory.is_dir()
            assert after.runtime.state_directory(web.id).is_dir()
            assert troubles(recovery) == [f"container {web.id}: it runs, and no record names it"]


@in_fake_time
async def test_what_no_record_names_is_set_aside_and_what_is_empty_goes(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        root = room.dependencies.files.containers
        (root / "lost").mkdir()
        (root / "lost" / "log").write_text("of use to somebody")
        (root / "empty").mkdir()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "kept").touch()
        (root / "link").symlink_to(elsewhere)
        async with next_engine(room, tmp_path) as (after, recovery):
            await after.service.recovery.sweep(recovery)
            assert list(root.iterdir()) == []
            assert {orphan.name for orphan in recovery.orphans.all()} == {"lost", "link"}
            assert (elsewhere / "kept").exists()


@pytest.mark.parametrize("instead", ["nothing", "file"])
@in_fake_time
async def test_a_container_whose_directory_is_lost_is_there(tmp_path: Path, instead: str) -> None:
    async with container_room(tmp_path) as room:
        web = room.add()
        directory = room.dependencies.files.of(web.id).data
        directory.rmdir()
        if instead == "file":
            directory.write_text("somebody's")
        async with next_engine(room, tmp_path) as (after, recovery):
            await after.service.recovery.sweep(recovery)
            assert directory.is_dir()
            assert any(f"{directory} is missing" in text for text in troubles(recovery))
            assert len(recovery.orphans.all()) == (instead == "file")
            assert after.dependencies.store.get("web").id == web.id


@in_fake_time
async def test_one_that_cannot_be_taken_over_keeps_no_other_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with container_room(tmp_path) as room:
        web, other = room.add(), room.add("other")
        await room.service.start("web")
        await room.service.start("other")
        async with next_engine(room, tmp_path) as (after, recovery):
            recover = after.service.lifecycle.recover

            async def fails(container: object, monitors: object) -> None:
                if getattr(container, "id", "") == web.id:
                    raise OSError(5, "Input/output error")
                await recover(container, monitors)  # type: ignore[arg-type]

            monkeypatch.setattr(after.service.lifecycle, "recover", fails)
            await after.service.recovery.sweep(recovery)
            await after.service.recovery.recover(recovery)
            assert after.dependencies.store.get("other").state.status is Status.RUNNING
            (text,) = troubles(recovery)
            assert text.startswith(f"container {web.id[:12]}: it cannot be taken over")
            assert room.host.containers[other.id].exit_code is None


@in_fake_time
async def test_what_is_left_of_a_run_goes_when_its_container_is_gone(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        files = room.dependencies.files
        (files.bundles / "gone").mkdir()
        (files.bundles / "gone" / "config.json").touch()
        (files.exits / "gone").write_text("0")
        room.runtime.state_directory("gone").mkdir(parents=True)
        async with next_engine(room, tmp_path) as (after, recovery):
            await after.service.recovery.sweep(recovery)
            await after.service.recovery.recover(recovery)
            assert [*files.bundles.iterdir(), *files.exits.iterdir()] == []
            assert not after.runtime.state_directory("gone").exists()
            assert [path.rpartition("/")[2] for path in after.cgroups.removed] == ["gone"]


@in_fake_time
async def test_containers_that_ended_and_asked_to_be_removed_go_and_their_codes_are_known(tmp_path: Path) -> None:
    async with container_room(tmp_path) as room:
        web, kept = room.add(host=HostConfig(AutoRemove=True)), room.add("kept")
        for name in ("web", "kept"):
            await room.service.start(name)
        await room.close()
        for container in (web, kept):
            room.host.containers[container.id].exit(3)
        async with next_engine(room, tmp_path) as (after, recovery):
            await after.service.recovery.sweep(recovery)
            await after.service.recovery.recover(recovery)
            await after.service.recovery.remove_finished()
            assert [container.name for container in after.dependencies.store] == ["kept"]
            assert after.service.recovery.unwatched_ends == {web.id: 3}


@in_fake_time
async def test_one_that_cannot_be_removed_does_not_keep_the_engine_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with container_room(tmp_path) as room:
        web = room.add(host=HostConfig(AutoRemove=True))
        await room.service.start("web")
        await room.close()
        room.host.containers[web.id].exit(3)
        async with next_engine(room, tmp_path) as (after, recovery):
            await after.service.recovery.sweep(recovery)
            await after.service.recovery.recover(recovery)
            with after.full_disk():
                await after.service.recovery.remove_finished()
            assert after.dependencies.store.get("web").state.status is Status.EXITED
            assert "no space left on device" in caplog.text
            await after.service.recovery.remove_finished()
            assert after.dependencies.store.find("web") is None
