"""Contexts that clients send: unpacked by the confined worker, contained, bounded, and gone with the build."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard

from darse.build.context import reception
from darse.build.context.local import MAIN, ReceivedContexts
from darse.build.context.reception import ContextStore
from darse.build.errors import BuildError
from darse.build.graph import LocalSource
from darse.core.errors import InvalidParameter
from darse.runtime.rootfs.trash import Trash


@pytest.fixture
def store(tmp_path: Path) -> ContextStore:
    trash = Trash(tmp_path / "trash")
    trash.open()
    return ContextStore(tmp_path, trash)


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


def directory(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=0o755)


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry, content in members:
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def received(store: ContextStore, root: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    contexts = ReceivedContexts(store, root)
    await contexts.receive(MAIN, pieces(archive(*members)))
    return contexts.directory(MAIN)


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
async def test_every_compression_of_the_api(store: ContextStore, compress: Callable[[bytes], bytes]) -> None:
    data = compress(archive(member("Dockerfile", b"FROM scratch\n", mode=0o640, uid=1000, gid=1000)))
    async with store.directory() as root:
        await store.receive(pieces(data), root / "context")
        found = root / "context" / "Dockerfile"
        assert found.read_bytes() == b"FROM scratch\n"
        assert (found.stat().st_mode & 0o777, found.stat().st_uid, found.stat().st_gid) == (0o640, 0, 0)


async def test_a_context_is_gone_with_its_build(store: ContextStore) -> None:
    async with store.directory() as root:
        await received(store, root, member("a", b"x"))
    assert os.listdir(store.root) == []


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([member("../out", b"x")], "outside of the destination"),
        ([member("a/../../out", b"x")], "outside of the destination"),
        ([link("hard", "../../etc/passwd", tarfile.LNKTYPE)], "outside of the destination"),
    ],
)
async def test_an_archive_that_climbs_is_refused(
    store: ContextStore, members: list[tuple[tarfile.TarInfo, bytes]], words: str
) -> None:
    async with store.directory() as root:
        with pytest.raises(InvalidParameter, match=words):
            await received(store, root, *members)


async def test_links_lead_on_within_the_context(store: ContextStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    async with store.directory() as root:
        found = await received(
            store,
            root,
            directory("inside"),
            link("absolute", "/inside"),
            member("absolute/file", b"1"),
            link("up", "../../../../../../../../inside"),
            member("up/other", b"2"),
            link("passwd", "/etc/passwd"),
        )
        assert (found / "inside" / "file").read_bytes() == b"1"
        assert (found / "inside" / "other").read_bytes() == b"2"
    assert not list(outside.iterdir())


async def test_the_engine_reads_a_context_by_its_own_root(store: ContextStore) -> None:
    async with store.directory() as root:
        contexts = ReceivedContexts(store, root)
        await contexts.receive(
            MAIN,
            pieces(
                archive(link("Dockerfile", "/etc/passwd"), link("fifo", "x"), member("fifo", type=tarfile.FIFOTYPE))
            ),
        )
        assert contexts.read(MAIN, "Dockerfile") is None
        assert contexts.read(MAIN, "fifo") is None
        with pytest.raises(BuildError, match="other was not sent"):
            contexts.read("other", "x")


async def test_what_is_no_archive_is_refused(store: ContextStore) -> None:
    async with store.directory() as root:
        with pytest.raises(InvalidParameter, match="Error processing tar file"):
            await store.receive(pieces(b"FROM scratch\n" * 100), root / "context")


async def test_too_many_entries_are_refused(store: ContextStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MOST_ENTRIES", 3)
    async with store.directory() as root:
        with pytest.raises(InvalidParameter, match="more than 3 entries"):
            await received(store, root, *(member(str(number)) for number in range(4)))


async def test_the_digest_is_that_of_what_is_not_ignored(store: ContextStore) -> None:
    async with store.directory() as root:
        contexts = ReceivedContexts(store, root)
        await contexts.receive("one", pieces(archive(member("a", b"1"), member("log", b"1"))))
        await contexts.receive("other", pieces(archive(member("a", b"1"), member("log", b"2"))))
        ignoring = LocalSource(name="x", exclude_patterns=("log",))
        assert await contexts.digest("one", ignoring) == await contexts.digest("other", ignoring)
        everything = LocalSource(name="x")
        assert await contexts.digest("one", everything) != await contexts.digest("other", everything)


async def test_the_builders_own_files_go_where_they_are_ignored(store: ContextStore) -> None:
    async with store.directory() as root:
        contexts = ReceivedContexts(store, root)
        files = (
            member(".dockerignore", b"Dockerfile\n.dockerignore\nkept\n"),
            member("Dockerfile", b"x"),
            member("kept"),
        )
        await contexts.receive(MAIN, pieces(archive(*files)))
        contexts.remove_builder_files(MAIN, "Dockerfile")
        # The client decides about all others.
        assert os.listdir(contexts.directory(MAIN)) == ["kept"]
