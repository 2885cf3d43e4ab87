"""Directories of clients: `moby.filesync.v1.FileSync/DiffCopy`, as fsutil speaks it.

    the client sends STAT for each file, in order; an empty one is the end
    we send REQ with the number of a file; the client sends DATA of that number, an empty one at the end
    we send FIN; the client sends FIN

What comes is not to be trusted: paths are compared in order, so that none comes twice, and each is in a directory that
came before; data that nobody has asked for, or more of it than was said, ends the transfer. What is read here becomes
an archive, which the confined worker unpacks: no path of a client's is opened by the engine.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any
from urllib.parse import quote_plus

from grpclib.client import Stream
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from multidict import MultiDict

from darse.archive.headers import END, entry_headers
from darse.archive.tar import BLOCK, BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK
from darse.build.errors import BuildError
from darse.buildkit.sessions.pool import ClientSession
from darse.buildkit.wire.filesync_grpc import FileSyncStub
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat

#: Of one directory: entries, and bytes of their paths, in memory until all are known.
MOST_ENTRIES, MOST_BYTES = 1_000_000, 256 << 20
# What is asked for ahead: files, and bytes.
_WINDOW_FILES, _WINDOW_BYTES = 64, 1 << 20
_PIECE = 256 * 1024
# Go's bits of a mode (io/fs.FileMode).
_GO_DIRECTORY, _GO_SYMLINK, _GO_DEVICE, _GO_FIFO, _GO_SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
_GO_SETUID, _GO_SETGID, _GO_CHARACTER, _GO_STICKY, _GO_IRREGULAR = 1 << 23, 1 << 22, 1 << 21, 1 << 20, 1 << 19
_GO_TYPES = _GO_DIRECTORY | _GO_SYMLINK | _GO_DEVICE | _GO_FIFO | _GO_SOCKET | _GO_CHARACTER | _GO_IRREGULAR


#: Go's kind of a file, by the kernel's.
GO_KINDS = {
    stat.S_IFDIR: _GO_DIRECTORY,
    stat.S_IFLNK: _GO_SYMLINK,
    stat.S_IFBLK: _GO_DEVICE,
    stat.S_IFCHR: _GO_DEVICE | _GO_CHARACTER,
    stat.S_IFIFO: _GO_FIFO,
    stat.S_IFSOCK: _GO_SOCKET,
}


def transfer_metadata(name: str, **patterns: Iterable[str]) -> MultiDict[str]:
    """The metadata of a call: which directory, and which of its files. Keys have `-` for `_`."""
    found: MultiDict[str] = MultiDict()
    for key, values in {"dir_name": (name,), **patterns}.items():
        texts = list(values)
        if not all(text.isascii() for text in texts):
            texts = [quote_plus(text) for text in texts]
            found.add(f"{key.replace('_', '-')}-encoded", "1")
        for text in texts:
            found.add(key.replace("_", "-"), text)
    return found


async def received_directory(
    session: ClientSession,
    name: str,
    *,
    include_patterns: Sequence[str] = (),
    exclude_patterns: Sequence[str] = (),
    follow_paths: Sequence[str] = (),
) -> AsyncGenerator[bytes]:
    """Yield a directory of a client as an archive. Raises BuildError."""
    metadata = transfer_metadata(
        name, include_patterns=include_patterns, exclude_patterns=exclude_patterns, followpaths=follow_paths
    )
    try:
        async with FileSyncStub(session.channel).DiffCopy.open(metadata=metadata) as stream:
            async for piece in _archived(stream):
                yield piece
            await stream.send_message(Packet(type=Packet.PACKET_FIN), end=True)
            while await stream.recv_message() is not None:
                pass
    except GRPCError as error:
        if error.status is Status.UNIMPLEMENTED:
            raise BuildError(f"local context {name} was not sent by the client") from error
        raise BuildError(f"failed to load {name}: {error.message}") from error


async def _archived(stream: Stream[Any, Any]) -> AsyncGenerator[bytes]:
    entries = await _listed(stream)
    files = deque((number, one.size) for number, one in enumerate(entries) if _has_content(one))
    transfer = _Transfer(stream, files)
    piece = bytearray()
    for number, one in enumerate(entries):
        piece += _header(one)
        if _has_content(one):
            async for data in transfer.content(number, one.size):
                piece += data
                if len(piece) >= _PIECE:
                    yield bytes(piece)
                    piece.clear()
            piece += bytes(-one.size % BLOCK)
    yield bytes(piece) + END


async def _listed(stream: Stream[Any, Any]) -> list[Stat]:
    """What the client has: its packets up to the empty STAT. Raises BuildError for what is no tree."""
    entries: list[Stat] = []
    directories = {""}
    last: tuple[str, ...] = ()
    room = MOST_BYTES
    # The call begins with its metadata alone.
    await stream.send_request()
    while True:
        packet = await _next(stream)
        if packet.type != Packet.PACKET_STAT:
            raise BuildError("the client sent data of a file that it was not asked for")
        if not packet.HasField("stat"):
            return entries
        one = packet.stat
        parts = tuple(one.path.split("/"))
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise BuildError(f"invalid path {one.path!r} in the context")
        if parts <= last or "/".join(parts[:-1]) not in directories:
            raise BuildError(f"the path {one.path!r} of the context comes twice, or out of order")
        last = parts
        if one.mode & _GO_DIRECTORY:
            directories.add(one.path)
        if one.size < 0:
            raise BuildError(f"invalid size of {one.path!r}")
        room -= len(one.path) + len(one.linkname) + sum(len(key) + len(value) for key, value in one.xattrs.items())
        if len(entries) >= MOST_ENTRIES or room < 0:
            raise BuildError(f"the context has more than {MOST_ENTRIES} entries, or too long names")
        entries.append(one)


async def _next(stream: Stream[Any, Any]) -> Any:
    packet = await stream.recv_message()
    if packet is None:
        raise BuildError("the client ended the transfer of its context before its end")
    if packet.type == Packet.PACKET_ERR:
        raise BuildError(f"the client failed to send its context: {packet.data.decode('utf-8', 'replace')}")
    return packet


class _Transfer:
    """The contents of files: several asked for at a time where they are small, and given in order."""

    def __init__(self, stream: Stream[Any, Any], files: deque[tuple[int, int]]) -> None:
        """files: numbers and sizes, in order."""
        self._stream = stream
        self._files = files
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
        packet = await _next(self._stream)
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


def _has_content(one: Stat) -> bool:
    return not one.mode & _GO_TYPES and not one.linkname


def permissions(mode: int) -> int:
    """The bits of chmod(2) in a mode of Go's."""
    found = mode & 0o777
    for bit, posix in ((_GO_SETUID, 0o4000), (_GO_SETGID, 0o2000), (_GO_STICKY, 0o1000)):
        found |= posix if mode & bit else 0
    return found


def go_mode(mode: int, kind: int) -> int:
    """A mode of Go's: the bits of chmod(2), and of `kind`, which is one of Go's."""
    found = (mode & 0o777) | kind
    for bit, posix in ((_GO_SETUID, 0o4000), (_GO_SETGID, 0o2000), (_GO_STICKY, 0o1000)):
        found |= bit if mode & posix else 0
    return found


def _kind(one: Stat) -> bytes:
    types = one.mode & _GO_TYPES
    if types & _GO_DIRECTORY:
        return DIRECTORY
    if types & _GO_SYMLINK:
        return SYMLINK
    if types & _GO_DEVICE:
        return CHARACTER if types & _GO_CHARACTER else BLOCK_DEVICE
    if types & _GO_FIFO:
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
