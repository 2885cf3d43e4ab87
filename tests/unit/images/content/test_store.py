"""Documents are durable before they are recorded, and the event loop does not wait for the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from darse.image_spec.digests import digest_of
from darse.images.content.store import ContentStore

DOCUMENTS = [b"config", b"manifest", b"config"]


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path)
    store.open()
    return store


def staged(content: ContentStore) -> list[Path]:
    return list(content.staging.iterdir())


async def test_documents_are_linked_until_they_are_recorded(content: ContentStore, tmp_path: Path) -> None:
    async with content.stored(DOCUMENTS):
        assert content.read(digest_of(b"config")) == b"config"
        assert len(staged(content)) == 2
        crashed = ContentStore(tmp_path)
        assert set(crashed._linked()) == {digest_of(b"config"), digest_of(b"manifest")}
    assert staged(content) == []
    assert sorted(content.digests()) == sorted({digest_of(one) for one in DOCUMENTS})
    async with content.stored(DOCUMENTS):
        assert staged(content) == []


async def test_syncs_are_not_in_the_event_loop(content: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        threads.append(threading.get_ident())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    async with content.stored(DOCUMENTS):
        pass
    assert len(threads) == 3  # two documents, and their directory
    assert threading.get_ident() not in threads


async def test_a_full_disk_leaves_nothing_staged(content: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        async with content.stored(DOCUMENTS):
            raise AssertionError
    assert staged(content) == []
    assert content.digests() == []


async def test_the_same_documents_at_once(content: ContentStore) -> None:
    async def store() -> None:
        async with content.stored(DOCUMENTS):
            assert content.has(digest_of(b"manifest"))

    await asyncio.gather(*(store() for _ in range(8)))
    assert staged(content) == []


async def test_who_is_cancelled_meanwhile_leaves_nothing_staged(
    content: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs, go_on = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        syncs.set()
        assert go_on.wait(20)

    monkeypatch.setattr(os, "fsync", slow)

    async def store() -> None:
        async with content.stored([b"config"]):
            raise AssertionError

    task = asyncio.create_task(store())
    assert await asyncio.to_thread(syncs.wait, 20)
    task.cancel()
    asyncio.get_running_loop().call_later(0.01, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert staged(content) == []


async def test_what_is_not_needed_is_out_of_the_store_before_it_is_deleted(content: ContentStore) -> None:
    async with content.stored(DOCUMENTS):
        pass
    gone = digest_of(b"manifest")
    removed, freed = content.take_out([gone, gone])
    assert content.digests() == [digest_of(b"config")]
    assert [path.read_bytes() for path in removed] == [b"manifest"]
    assert freed >= 0
    async with content.stored([b"manifest"]):
        assert content.read(digest_of(b"manifest")) == b"manifest"
