"""Archives that came before are not unpacked again; every other one is, whatever it has in common with them."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from darse.build.context import archive_reuse, context_trees
from darse.build.context.archive_reuse import ArchiveReuse
from darse.build.context.context_trees import ContextTrees
from darse.build.context.local import MAIN, ReceivedContexts
from darse.build.context.reception import ContextStore
from darse.build.graph import LocalSource
from darse.core.errors import InvalidParameter
from darse.runtime.rootfs.trash import Trash

LARGE = random.Random(1).randbytes(5_000_000)


class Receiver:
    """An engine's part that receives; a second one of a directory is that of the next engine."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        trash = Trash(root / "trash")
        trash.open()
        self.store = ContextStore(root, trash)
        self.trees = ContextTrees(root, trash)
        self.archives = ArchiveReuse(self.trees, self.store)
        self.unpacked = 0
        receive = self.store.receive

        async def counted(pieces: AsyncIterator[bytes], directory: Path) -> int:
            self.unpacked += 1
            return await receive(pieces, directory)

        monkeypatch.setattr(self.store, "receive", counted)

    async def files(self, data: bytes, dockerfile: str = "Dockerfile") -> tuple[bytes | None, dict[str, bytes], str]:
        """The Dockerfile, the files of the context, and their digest."""
        async with self.store.directory() as root:
            contexts = ReceivedContexts(self.store, root)
            async with self.archives.received(pieces(data), contexts, dockerfile) as content:
                found = contexts.directory(MAIN)
                files = {name: (found / name).read_bytes() for name in os.listdir(found)}
                return content, files, await contexts.digest(MAIN, LocalSource(name=MAIN))


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    return Receiver(tmp_path, monkeypatch)


async def pieces(data: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("more", [b"", LARGE], ids=["small", "large"])
async def test_the_same_archive_is_unpacked_once(receiver: Receiver, more: bytes) -> None:
    data = archive({"Dockerfile": b"FROM x\n", "a": b"1", "more": more})
    first = await receiver.files(data)
    assert first[:2] == (b"FROM x\n", {"Dockerfile": b"FROM x\n", "a": b"1", "more": more})
    assert await receiver.files(data) == first
    assert receiver.unpacked == 1


@pytest.mark.parametrize("at", [700, 1_200_000, 4_900_000])
async def test_another_archive_is_never_taken_for_it(receiver: Receiver, at: int) -> None:
    first = {"Dockerfile": b"FROM x\n", "more": LARGE}
    other = {"Dockerfile": b"FROM x\n", "more": LARGE[:at] + b"?" + LARGE[at + 1 :]}
    assert (await receiver.files(archive(first)))[1] == first
    assert (await receiver.files(archive(other)))[1] == other
    assert (await receiver.files(archive(first)))[1] == first
    assert receiver.unpacked == 2


async def test_one_that_ends_early_or_goes_on_is_another(receiver: Receiver) -> None:
    data = archive({"Dockerfile": b"FROM x\n", "more": LARGE})
    await receiver.files(data)
    assert (await receiver.files(data + bytes(2_000_000)))[1]["more"] == LARGE
    with pytest.raises(InvalidParameter, match="Error processing tar file"):
        await receiver.files(data[: 3 << 20])


async def test_the_builders_own_files_are_those_of_the_dockerfile_that_is_asked_for(receiver: Receiver) -> None:
    data = archive({".dockerignore": b"*file\n", "Dockerfile": b"one", "Otherfile": b"two"})
    for _ in range(2):
        content, files, _ = await receiver.files(data)
        assert (content, sorted(files)) == (b"one", [".dockerignore", "Otherfile"])
        content, files, _ = await receiver.files(data, "Otherfile")
        assert (content, sorted(files)) == (b"two", [".dockerignore", "Dockerfile"])
    assert (await receiver.files(data, "none"))[0] is None


async def test_the_next_engine_knows_it(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive({"Dockerfile": b"FROM x\n", "more": LARGE})
    first = await receiver.files(data)
    after = Receiver(tmp_path, monkeypatch)
    assert await after.files(data) == first
    assert not after.unpacked


async def test_no_client_gets_it_by_a_key(receiver: Receiver) -> None:
    await receiver.files(archive({"Dockerfile": b"FROM x\n"}))
    (kept,) = receiver.trees.all()
    assert receiver.trees.find(kept.key.removeprefix("archive.")) is None
    with pytest.raises(InvalidParameter, match="hexadecimal"):
        receiver.trees.find(kept.key)


async def test_few_are_kept(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_trees, "MOST_ARCHIVES", 2)
    for number in range(4):
        await receiver.files(archive({"Dockerfile": b"%d" % number}))
    assert len(receiver.trees.all()) == 2
    await receiver.files(archive({"Dockerfile": b"3"}))
    assert receiver.unpacked == 4
    await receiver.files(archive({"Dockerfile": b"0"}))
    assert receiver.unpacked == 5


async def test_a_large_one_is_unpacked_while_it_comes(receiver: Receiver) -> None:
    """What has nothing in common with those before is not held until its end."""
    await receiver.files(archive({"Dockerfile": b"FROM x\n", "more": LARGE}))
    other = archive({"Dockerfile": b"FROM y\n", "more": LARGE})
    taken = 0

    async def slow() -> AsyncIterator[bytes]:
        nonlocal taken
        async for piece in pieces(other):
            taken += len(piece)
            yield piece

    read, held = archive_reuse._Read(), io.BytesIO()
    assert not await receiver.archives._is_over(slow(), read, held)
    assert taken <= archive_reuse.MARK_BYTES + 70_000
