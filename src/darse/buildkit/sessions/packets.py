"""Directories of clients: `moby.filesync.v1.FileSync/DiffCopy`, as fsutil speaks it.

    the client sends STAT for each file, in order; an empty one is the end
    we send REQ with the number of a file; the client sends DATA of that number, an empty one at the end
    we send FIN; the client sends FIN

What comes is not to be trusted: paths are compared in order, so that none comes twice, and each is in a directory that
came before; data that nobody has asked for, or more of it than was said, ends the transfer. What is read here becomes
an archive, which the confined worker unpacks: no path of a client's is opened by the engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote_plus

import msgspec
from grpclib.client import Stream
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from multidict import MultiDict

from darse.build.errors import BuildError
from darse.buildkit.sessions.pool import ClientSession
from darse.buildkit.wire.filesync_grpc import FileSyncStub
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat
from darse.go_modes import GO_TYPES


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


class DirectoryPatterns(msgspec.Struct, frozen=True):
    """Which directory of a client, and which of its files."""

    name: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()


@asynccontextmanager
async def opened_directory(session: ClientSession, patterns: DirectoryPatterns) -> AsyncIterator[Stream[Any, Any]]:
    """A transfer for the block, which reads all of it, and which ends well with the block. Raises BuildError."""
    metadata = transfer_metadata(
        patterns.name,
        include_patterns=patterns.include,
        exclude_patterns=patterns.exclude,
        followpaths=patterns.follow,
    )
    try:
        async with FileSyncStub(session.channel).DiffCopy.open(metadata=metadata) as stream:
            # The call begins with its metadata alone.
            await stream.send_request()
            yield stream
            await stream.send_message(Packet(type=Packet.PACKET_FIN), end=True)
            while await stream.recv_message() is not None:
                pass
    except GRPCError as error:
        if error.status is Status.UNIMPLEMENTED:
            raise BuildError(f"local context {patterns.name} was not sent by the client") from error
        raise BuildError(f"failed to load {patterns.name}: {error.message}") from error


def has_content(one: Stat) -> bool:
    """Whether an entry is a regular file whose content can be asked for."""
    return not one.mode & GO_TYPES and not one.linkname
