"""Directories of clients, honest and hostile ones."""

from __future__ import annotations

import asyncio
import io
import socket
import tarfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest
from grpclib.server import Stream

from darse.build.context.transfer import FilePiece, PieceKind
from darse.build.context_list import encode, records
from darse.build.errors import BuildError
from darse.buildkit.sessions import directory_archive, incremental
from darse.buildkit.sessions.directory_archive import archived, listed
from darse.buildkit.sessions.documents import NotInMemory, received_documents
from darse.buildkit.sessions.incremental import IncrementalDirectory, NotIncremental
from darse.buildkit.sessions.packets import DirectoryPatterns, opened_directory, transfer_metadata
from darse.buildkit.sessions.pool import ClientSession
from darse.buildkit.transport import service_protocol
from darse.buildkit.wire.filesync_grpc import FileSyncBase
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat
from darse.go_modes import go_mode, permissions

_DIRECTORY, _SYMLINK = 1 << 31, 1 << 27
Client = Callable[[Stream[Any, Any]], Coroutine[Any, Any, None]]


class Files(FileSyncBase):
    """A client that does what it is made with."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.metadata: Any = None

    async def DiffCopy(self, stream: Stream[Any, Any]) -> None:  # noqa: N802
        self.metadata = stream.metadata
        await self._client(stream)

    async def TarStream(self, stream: Stream[Any, Any]) -> None:  # noqa: N802
        raise NotImplementedError


def stat(path: str, mode: int = 0o644, **fields: Any) -> Packet:
    return Packet(type=Packet.PACKET_STAT, stat=Stat(path=path, mode=mode, **fields))


def is_file(record: tuple[bytes, ...]) -> bool:
    return record[1].startswith(b"10") and not record[5]


async def in_part(session: ClientSession, patterns: DirectoryPatterns) -> AsyncGenerator[bytes]:
    """All that a directory has, the list and the pieces, for who has nothing of it."""
    async with opened_directory(session, patterns) as stream:
        source = IncrementalDirectory(stream)
        listed = [piece async for piece in source.entries()]
        numbers = [number for number, record in enumerate(records(listed)) if is_file(record)]
        yield b"".join(listed)
        async for piece in source.contents(numbers):
            yield piece


async def whole(session: ClientSession, patterns: DirectoryPatterns) -> AsyncGenerator[bytes]:
    """An archive."""
    async with opened_directory(session, patterns) as stream:
        async for piece in archived(stream, await listed(stream)):
            yield piece


async def documents(session: ClientSession, patterns: DirectoryPatterns) -> AsyncGenerator[bytes]:
    """The names and contents of small files."""
    for name, content in (await received_documents(session, patterns)).items():
        yield name.encode() + b"=" + content + b";"


Way = Callable[[ClientSession, DirectoryPatterns], AsyncGenerator[bytes]]
all_ways = pytest.mark.parametrize("way", [whole, in_part, documents], ids=["whole", "in part", "in memory"])


async def received(client: Client, way: Way = whole, **patterns: Any) -> tuple[bytes, Files]:
    files = Files(client)
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    session = ClientSession("id", "", "", [])
    ends = [(await loop.create_connection(asyncio.Protocol, sock=one))[0] for one in (ours, theirs)]
    protocol = service_protocol([files])
    protocol.serve(ends[1])
    session.channel.open(ends[0])
    try:
        async with asyncio.timeout(20):
            pieces = [piece async for piece in way(session, DirectoryPatterns("context", **patterns))]
        return b"".join(pieces), files
    finally:
        session.channel.close()
        await protocol.ended()


def sending(contents: dict[str, bytes]) -> Client:
    """A client that has these files, and sends what it is asked for in pieces."""
    names = sorted({*contents, *(name.rpartition("/")[0] for name in contents if "/" in name)})

    async def client(stream: Stream[Any, Any]) -> None:
        for name in names:
            content = contents.get(name)
            await stream.send_message(
                stat(name, _DIRECTORY | 0o755) if content is None else stat(name, size=len(content))
            )
        await stream.send_message(Packet(type=Packet.PACKET_STAT))
        while (packet := await stream.recv_message()) is not None:
            if packet.type == Packet.PACKET_FIN:
                await stream.send_message(packet)
                return
            content = contents[names[packet.ID]]
            for start in range(0, len(content), 1000):
                piece = content[start : start + 1000]
                await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=packet.ID, data=piece))
            await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=packet.ID))

    return client


async def test_a_directory_becomes_an_archive() -> None:
    contents = {"a": b"1", "d/empty": b"", "d/large": b"x" * 3_000_000, "e": b"2" * 5000}
    contents |= {f"many{number:03}": bytes([number]) * number for number in range(200)}
    archive, files = await received(sending(contents), exclude=("*.log", "ä"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        members = {one.name: one for one in opened}
        found = {name: opened.extractfile(one).read() for name, one in members.items() if one.isreg()}  # type: ignore[union-attr]
    assert found == contents
    assert members["d"].isdir()
    assert files.metadata["dir-name"] == "context"
    assert files.metadata.getall("exclude-patterns") == ["%2A.log", "%C3%A4"]
    assert files.metadata["exclude-patterns-encoded"] == "1"


async def test_links_and_modes() -> None:
    async def client(stream: Stream[Any, Any]) -> None:
        await stream.send_message(stat("a", (1 << 23) | 0o755))
        await stream.send_message(stat("b", linkname="a"))
        await stream.send_message(stat("c", _SYMLINK | 0o777, linkname="/etc/passwd"))
        await stream.send_message(Packet(type=Packet.PACKET_STAT))
        await stream.recv_message()
        await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=0))
        await stream.send_message(await stream.recv_message())

    archive, _ = await received(client)
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        one, two, three = opened
    assert (one.mode, two.islnk(), two.linkname, three.issym(), three.linkname) == (
        0o4755,
        True,
        "a",
        True,
        "/etc/passwd",
    )


async def test_small_files_come_into_memory() -> None:
    found, files = await received(sending({"Dockerfile": b"FROM x", "d/empty": b""}), documents, follow=("Dockerfile",))
    assert found == b"Dockerfile=FROM x;d/empty=;"
    assert files.metadata["followpaths"] == "Dockerfile"


@pytest.mark.parametrize(
    "packets",
    [
        [stat("a", _SYMLINK | 0o777, linkname="b")],
        [stat("a"), stat("b", linkname="a")],
        [stat("a", size=2 << 20)],
        [stat(f"f{number:03}") for number in range(65)],
    ],
    ids=["link", "hard link", "large", "many"],
)
async def test_what_may_be_more_than_small_files_does_not(packets: list[Packet]) -> None:
    async def client(stream: Stream[Any, Any]) -> None:
        for packet in packets:
            await stream.send_message(packet)
        await stream.recv_message()

    with pytest.raises(NotInMemory):
        await received(client, documents)


@pytest.mark.parametrize("way", [whole, documents], ids=["whole", "in memory"])
@pytest.mark.parametrize(
    "paths",
    [
        ["../x"],
        ["/etc/passwd"],
        ["a/../../x"],
        ["a//b"],
        ["."],
        [""],
        ["a", "a"],
        ["b", "a"],
        ["missing/a"],
        ["file", "file/a"],
        ["a\0b"],
    ],
    ids=repr,
)
async def test_paths_that_no_tree_has_are_refused(paths: list[str], way: Way) -> None:
    async def client(stream: Stream[Any, Any]) -> None:
        for path in paths:
            await stream.send_message(stat(path))
        await stream.send_message(Packet(type=Packet.PACKET_STAT))
        await stream.recv_message()

    with pytest.raises(BuildError, match="path"):
        await received(client, way)


async def sent(answers: list[Packet], way: Way) -> bytes:
    """What comes of a file of three bytes, which the client sends so."""

    async def client(stream: Stream[Any, Any]) -> None:
        await stream.send_message(stat("a", size=3))
        await stream.send_message(Packet(type=Packet.PACKET_STAT))
        await stream.recv_message()
        for answer in answers:
            await stream.send_message(answer)
        if answers[-1:] == [ENDED]:
            await stream.send_message(await stream.recv_message())

    return (await received(client, way))[0]


ENDED = Packet(type=Packet.PACKET_DATA, ID=0)


@all_ways
@pytest.mark.parametrize(
    "answers",
    [
        [Packet(type=Packet.PACKET_DATA, ID=7, data=b"x")],
        [stat("more")],
        [Packet(type=Packet.PACKET_ERR, data=b"no such file")],
        [ENDED],
        [],
    ],
    ids=["never asked", "another file", "error", "nothing", "end"],
)
async def test_data_that_was_not_asked_for_ends_the_transfer(answers: list[Packet], way: Way) -> None:
    with pytest.raises(BuildError):
        await sent(answers, way)


@pytest.mark.parametrize("content", [b"1", b"too much"], ids=["too little", "too much"])
async def test_a_file_that_changes_while_it_is_sent_is_asked_for_again(content: bytes) -> None:
    """Where it can be: an archive has said how long it is."""
    answers = [Packet(type=Packet.PACKET_DATA, ID=0, data=content), ENDED]
    with pytest.raises(BuildError):
        await sent(answers, whole)
    pieces = FilePiece(0, content[:3]).encode() + FilePiece(0, b"", PieceKind.CHANGED).encode()
    assert (await sent(answers, in_part)).endswith(pieces)


async def test_a_file_without_end_is_refused() -> None:
    async def client(stream: Stream[Any, Any]) -> None:
        await stream.send_message(stat("a", size=3))
        await stream.send_message(Packet(type=Packet.PACKET_STAT))
        await stream.recv_message()
        while True:
            await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=0, data=bytes(4 << 20)))

    with pytest.raises(BuildError, match="grows"):
        await received(client, in_part)


@pytest.mark.parametrize("fields", [{"uid": 1}, {"gid": 1}, {"xattrs": {"user.x": b"1"}}], ids=str)
async def test_what_no_list_has_is_not_sent_in_part(fields: dict[str, Any]) -> None:
    async def client(stream: Stream[Any, Any]) -> None:
        await stream.send_message(stat("a", **fields))
        await stream.recv_message()

    with pytest.raises(NotIncremental):
        await received(client, in_part)


async def test_capabilities_are_sent_in_part_and_what_is_of_the_host_is_not() -> None:
    async def client(stream: Stream[Any, Any]) -> None:
        attributes = {"security.capability": b"\1\2", "security.selinux": b"x"}
        await stream.send_message(stat("a", size=1, xattrs=attributes))
        await stream.send_message(Packet(type=Packet.PACKET_STAT))
        await stream.recv_message()
        await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=0, data=b"x"))
        await stream.send_message(ENDED)
        await stream.send_message(await stream.recv_message())

    found = (await received(client, in_part))[0]
    capability = FilePiece(0, b"\1\2", PieceKind.CAPABILITY).encode()
    assert found.startswith(encode(b"a", 0o100644, 1, 0, b"0102"))
    assert found.endswith(FilePiece(0, b"x").encode() + capability + FilePiece(0, b"", PieceKind.END).encode())


@all_ways
async def test_data_before_the_end_of_the_list_is_refused(way: Way) -> None:
    async def client(stream: Stream[Any, Any]) -> None:
        await stream.send_message(stat("a", size=3))
        await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=0, data=b"123"))
        await stream.recv_message()

    with pytest.raises(BuildError, match="not asked for"):
        await received(client, way)


@pytest.mark.parametrize(
    ("entries", "size", "way"),
    [(100, 1 << 20, whole), (1_000_000, 2000, whole), (100, 1 << 20, in_part)],
)
async def test_a_list_without_end_is_refused_early(
    monkeypatch: pytest.MonkeyPatch, entries: int, size: int, way: Way
) -> None:
    monkeypatch.setattr(incremental, "MOST_ENTRIES", entries)
    monkeypatch.setattr(directory_archive, "MOST_ENTRIES", entries)
    monkeypatch.setattr(directory_archive, "MOST_BYTES", size)
    sent = 0

    async def client(stream: Stream[Any, Any]) -> None:
        nonlocal sent
        for number in range(10_000_000):
            await stream.send_message(stat(f"f{number:08}"))
            sent = number
            if number % 100 == 0:
                await asyncio.sleep(0)  # both ends are on one loop

    with pytest.raises(BuildError, match="more than"):
        await received(client, way)
    assert sent < 100_000


def test_modes_go_both_ways() -> None:
    for mode in (0o644, 0o4755, 0o2755, 0o1777, 0):
        assert permissions(go_mode(mode, _DIRECTORY)) == mode
    assert go_mode(0o1777, _DIRECTORY) == _DIRECTORY | (1 << 20) | 0o777


def test_metadata_of_plain_texts_is_plain() -> None:
    assert list(transfer_metadata("context", followpaths=("a b",)).items()) == [
        ("dir-name", "context"),
        ("followpaths", "a b"),
    ]
