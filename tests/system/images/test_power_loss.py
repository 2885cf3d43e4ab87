"""What happens to layers that were not flushed: when the power went out, and when it did not."""

import asyncio
import errno
import io
import json
import logging
import os
import sqlite3
import tarfile
import threading

import pytest
from tests.support.engine import BUSYBOX

from darse.archive import process
from darse.core.errors import NotFound
from darse.core.events import EventLog
from darse.image_spec.digests import digest_of
from darse.images import ImageService
from darse.images.layers import sync
from darse.recovery.startup import Recovery

ELSEWHERE = "00000000-0000-4000-8000-000000000000"


def tar(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(text), 0o640, 1_700_000_000
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


async def load(images, name, *layers):
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}})
    members = {f"{number}.tar": layer.decode() for number, layer in enumerate(layers)}
    table = json.dumps([{"Config": "c.json", "RepoTags": [name], "Layers": list(members)}])

    async def body():
        yield tar(**members, **{"c.json": config, "manifest.json": table})

    await images.loader.load_images(body())
    return images.get_image(name)


def marks(images):
    return dict(images.stores.layers._state.rows("SELECT chain_id, unflushed_boot FROM layers"))


async def after_power_loss(images, tmp_path, containers=()):
    """An engine that finds the store as another boot has left it."""
    state = images.stores.layers._state
    with state.transaction() as connection:
        connection.execute("UPDATE layers SET unflushed_boot = ? WHERE unflushed_boot != ''", (ELSEWHERE,))
    again = ImageService(tmp_path, state, EventLog(state))
    again.open(containers, Recovery(tmp_path, state))
    await again.recover()
    return again


async def findings(images, containers=()):
    return [one.finding async for one in images.fsck.check(containers, repair=False) if one.finding]


async def test_layers_are_marked_until_they_are_flushed_together(images, monkeypatch):
    synced = []
    monkeypatch.setattr(sync, "sync_file_system", synced.append)
    one = await load(images, "one:1", tar(a="lower"), tar(b="upper"))
    assert marks(images) == dict.fromkeys(one.chain_ids, images.stores.layers.sync.boot)
    assert sorted(images.stores.layers.sync.unsynced()) == sorted(one.chain_ids)
    assert synced == []
    await images.close()
    assert len(synced) == 1
    assert set(marks(images).values()) == {""}
    await images.stores.layers.sync.sync_now()
    assert len(synced) == 1


async def test_a_sync_begins_when_no_layer_comes_any_more(images, monkeypatch):
    monkeypatch.setattr(sync, "_QUIET", 0.01)
    synced = asyncio.Event()
    layers = images.stores.layers.sync
    sync_now = layers.sync_now

    async def and_tell():
        await sync_now()
        synced.set()

    monkeypatch.setattr(layers, "sync_now", and_tell)
    await load(images, "one:1", tar(a="lower"), tar(b="upper"))
    async with asyncio.timeout(20):
        # One of them may have been synced before the other came.
        while layers.unsynced():
            await synced.wait()
            synced.clear()
    assert set(marks(images).values()) == {""}


async def test_what_cannot_be_flushed_stays_marked_and_a_check_tells(images, monkeypatch, caplog):
    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sync, "sync_file_system", fail)
    one = await load(images, "one:1", tar(a="lower"))
    assert await findings(images) == ["it cannot be synced to the disk"]
    assert sorted(images.stores.layers.sync.unsynced()) == sorted(one.chain_ids)
    assert "cannot sync 1 layers to the disk" in caplog.text


async def test_a_layer_that_came_again_meanwhile_is_not_called_flushed(images, monkeypatch):
    one = await load(images, "one:1", tar(a="lower"))
    at_work, go_on = threading.Event(), threading.Event()

    def slow(_):
        at_work.set()
        assert go_on.wait(20)

    monkeypatch.setattr(sync, "sync_file_system", slow)
    flush = asyncio.create_task(images.stores.layers.sync.sync_now())
    assert await asyncio.to_thread(at_work.wait, 20)
    await images.deletion.remove_image("one:1", force=False, prune=True)
    await load(images, "one:1", tar(a="lower"))
    go_on.set()
    await flush
    assert images.stores.layers.sync.unsynced() == list(one.chain_ids)


async def test_after_a_power_loss_whole_layers_stay_and_have_what_no_digest_tells(images, tmp_path):
    one = await load(images, "one:1", tar(a="lower", empty=""), tar(b="upper"))
    root = images.stores.layers.path(one.chain_ids[0])
    # What journals may lose that is no content: a mode, and a file without any.
    (root / "a").chmod(0o777)
    (root / "empty").unlink()
    again = await after_power_loss(images, tmp_path)
    assert again.get_image("one:1").id == one.id
    assert ((root / "a").stat().st_mode & 0o7777, (root / "a").read_text()) == (0o640, "lower")
    assert (root / "empty").stat().st_size == 0
    assert os.listdir(tmp_path / "images/ingest") == []
    assert set(marks(again).values()) == {again.stores.layers.sync.boot}
    assert await findings(again) == []
    assert set(marks(again).values()) == {""}


@pytest.mark.parametrize("spoil", ["content", "truncated", "missing", "recipe", "directory"])
async def test_after_a_power_loss_a_damaged_layer_goes_with_its_images(images, tmp_path, caplog, spoil):
    caplog.set_level(logging.WARNING)
    one = await load(images, "one:1", tar(a="lower"), tar(b="upper"))
    two = await load(images, "two:1", tar(a="lower"), tar(c="another"))
    root = images.stores.layers.path(one.chain_ids[1])
    match spoil:
        case "content":
            (root / "b").write_text("zeros")
        case "truncated":
            os.truncate(root / "b", 0)
        case "missing":
            (root / "b").unlink()
        case "recipe":
            (root.parent / "recipe").write_bytes(b"")
        case "directory":
            os.rename(root.parent, tmp_path / "gone")
    again = await after_power_loss(images, tmp_path)
    with pytest.raises(NotFound, match="No such image"):
        again.get_image("one:1")
    assert again.get_image("two:1").id == two.id
    assert sorted(again.stores.layers.sizes()) == sorted(two.chain_ids)
    assert "pull or load again: one:1" in caplog.text
    assert await findings(again) == []
    assert (await load(again, "one:1", tar(a="lower"), tar(b="upper"))).id == one.id


async def test_a_container_on_a_damaged_layer_stays_and_works_again_when_its_image_is_back(images, tmp_path, caplog):
    one = await load(images, "one:1", tar(a="lower"))
    container = "c" * 64
    images.snapshots.prepare(container, one)
    images.snapshots.make_directories(container)
    (tmp_path / "snapshots" / container / "upper/mine").write_text("mine")
    os.truncate(images.stores.layers.path(one.chain_ids[0]) / "a", 0)
    again = await after_power_loss(images, tmp_path, [container])
    assert f"container {container} cannot start until its image is back" in caplog.text
    assert (tmp_path / "snapshots" / container / "upper/mine").read_text() == "mine"
    await load(again, "one:1", tar(a="lower"))
    (lower,) = again.snapshots.overlay(container).lower
    assert os.listdir(lower) == ["a"]


async def test_a_full_disk_after_a_power_loss_loses_nothing(images, tmp_path, monkeypatch, caplog):
    one = await load(images, "one:1", tar(a="lower"))

    async def full(*_, **__):
        return {"fault": "no space left on device", "errno": errno.ENOSPC}

    monkeypatch.setattr(process, "unpack", full)
    again = await after_power_loss(images, tmp_path)
    assert again.get_image("one:1").id == one.id
    assert again.stores.layers.sync.unverified() == list(one.chain_ids)
    assert "cannot make sure" in caplog.text


async def test_a_crash_of_the_engine_alone_costs_nothing(images, tmp_path):
    one = await load(images, "one:1", tar(a="lower"))
    inode = images.stores.layers.path(one.chain_ids[0]).stat().st_ino
    state = images.stores.layers._state
    again = ImageService(tmp_path, state, EventLog(state))
    again.open([], Recovery(tmp_path, state))
    await again.recover()
    assert again.get_image("one:1").id == one.id
    assert again.stores.layers.path(one.chain_ids[0]).stat().st_ino == inode
    assert again.stores.layers.sync._timer is not None
    await again.close()
    assert set(marks(again).values()) == {""}


def test_an_engine_that_stops_in_order_has_flushed(new_engine):
    engine = new_engine()
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    engine.stop()
    with sqlite3.connect(engine.data_root / "state.sqlite") as database:
        assert {mark for (mark,) in database.execute("SELECT unflushed_boot FROM layers")} == {""}
    engine.up()
    engine.docker("image", "inspect", BUSYBOX).ok()
