"""A client's directory as an archive: whole, with owners and attributes, for the confined worker to unpack.

So come directories that are not kept: of clients without a shared key, and those with what a list of files has no
field for (`darse.buildkit.sessions.incremental`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from grpclib.client import Stream

from darse.archive.headers import END, entry_headers
from darse.archive.tar import BLOCK, BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK
from darse.build.errors import BuildError
from darse.buildkit.sessions.lists import SentList, list_runs, next_packet
from darse.buildkit.sessions.packets import has_content
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat
from darse.go_modes import GO_CHARACTER, GO_DEVICE, GO_DIRECTORY, GO_FIFO, GO_SYMLINK, GO_TYPES, permissions

#: Of one directory: entries, and bytes of the packets that list them, in memory until all are known.
MOST_ENTRIES, MOST_BYTES = 1_000_000, 256 << 20
# What is asked for ahead: files, and bytes.
_WINDOW_FILES, _WINDOW_BYTES = 64, 1 << 20
_PIECE = 256 * 1024


async def archived(stream: Stream[Any, Any], entries: SentList) -> AsyncGenerator[bytes]:
    """Yield what was listed as an archive. Raises BuildError."""
    check, files = EntryCheck(), []
    async for number, one in entries.in_turns():
        check.add(one)
        if has_content(one):
            files.append((number, one.size))
    transfer = FileTransfer(stream, files)
    piece = bytearray()
    async for number, one in entries.in_turns():
        piece += _header(one)
        if has_content(one):
            async for data in transfer.content(number, one.size):
                piece += data
                if len(piece) >= _PIECE:
                    yield bytes(piece)
                    piece.clear()
            piece += bytes(-one.size % BLOCK)
    yield bytes(piece) + END


async def listed(stream: Stream[Any, Any]) -> SentList:
    """What the client has. Raises BuildError where it is too much."""
    found = SentList()
    await found.receive(list_runs(stream), MOST_ENTRIES, MOST_BYTES)
    if not found.is_complete:
        raise BuildError(f"the context has more than {MOST_ENTRIES} entries, or too long names")
    return found


class EntryCheck:
    """Whether the entries of a list, one after the other, are a tree."""

    def __init__(self) -> None:
        self._directories = {""}
        self._last: tuple[str, ...] = ()

    def add(self, one: Stat) -> None:
        """Look at the next one. Raises BuildError."""
        parts = tuple(one.path.split("/"))
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise BuildError(f"invalid path {one.path!r} in the context")
        if parts <= self._last or "/".join(parts[:-1]) not in self._directories:
            raise BuildError(f"the path {one.path!r} of the context comes twice, or out of order")
        self._last = parts
        if one.mode & GO_DIRECTORY:
            self._directories.add(one.path)
        if one.size < 0:
            raise BuildError(f"invalid size of {one.path!r}")


class FileTransfer:
    """The contents of files: several asked for at a time where they are small, and given in order."""

    def __init__(self, stream: Stream[Any, Any], files: Iterable[tuple[int, int]]) -> None:
        """files: numbers and sizes, in order."""
        self._stream = stream
        self._files = deque(files)
        self._expected: dict[int, int] = {}
        """Bytes that are to come, by number, of those that were asked for."""
        self._data: dict[int, list[bytes]] = {}
        self._asked = 0

    async def content(self, number: int, size: int) -> AsyncGenerator[bytes]:
        """Yield the bytes of the next file. Raises BuildError where they are more or fewer than was said."""
        await self._ask()
        while True:
            for data in self._data[number]:
                yield data
            self._data[number].clear()
            if number not in self._expected:
                break
            await self._receive()
        del self._data[number]
        self._asked -= size

    async def _ask(self) -> None:
        while self._files and (
            not self._expected
            or (len(self._expected) < _WINDOW_FILES and self._asked + self._files[0][1] <= _WINDOW_BYTES)
        ):
            number, size = self._files.popleft()
            self._expected[number] = size
            self._data[number] = []
            self._asked += size
            await self._stream.send_message(Packet(type=Packet.PACKET_REQ, ID=number))

    async def _receive(self) -> None:
        packet = await next_packet(self._stream)
        left = self._expected.get(packet.ID)
        if packet.type != Packet.PACKET_DATA or left is None:
            raise BuildError("the client sent data of a file that it was not asked for")
        if len(packet.data) > left or (not packet.data and left):
            raise BuildError("a file of the context has changed while it was sent: build again")
        if packet.data:
            self._expected[packet.ID] = left - len(packet.data)
            self._data[packet.ID].append(packet.data)
        else:
            del self._expected[packet.ID]


def _kind(one: Stat) -> bytes:
    types = one.mode & GO_TYPES
    if types & GO_DIRECTORY:
        return DIRECTORY
    if types & GO_SYMLINK:
        return SYMLINK
    if types & GO_DEVICE:
        return CHARACTER if types & GO_CHARACTER else BLOCK_DEVICE
    if types & GO_FIFO:
        return FIFO
    if types:
        raise BuildError(f"{one.path!r} of the context is of no kind that can be sent")
    return LINK if one.linkname else REGULAR


def _header(one: Stat) -> bytes:
    kind = _kind(one)
    return entry_headers(
        one.path.encode() + (b"/" if kind == DIRECTORY else b""),
        kind,
        mode=permissions(one.mode),
        uid=one.uid,
        gid=one.gid,
        size=one.size if kind == REGULAR else 0,
        seconds=one.modTime // 1_000_000_000,
        link=one.linkname.encode(),
        device=(one.devmajor, one.devminor),
        xattrs={key.encode(): value for key, value in one.xattrs.items()},
    )
