"""A client's directory in part: what is in it comes as a list, and then the files that were not sent before.

    STAT, STAT, …   ──▶   the list (`darse.build.context_list`), compared with that of the tree that is kept
    REQ             ◀──   the files that are not in it, or were changed
    DATA            ──▶   their contents, for the confined worker

`darse.build.context.transfer` has the rest: keys, trees, and who checks what. fsutil tells a changed file by its kind,
mode, size and time; it has no more to say of one. So one that was changed at the time when it was sent may be another
already, without a trace: the next build asks for it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import stat
import time
from array import array
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from grpclib.client import Stream

from darse.archive.entry_files import CAPABILITY
from darse.archive.tree_changes import LONGEST_PIECE
from darse.build.context.transfer import FilePiece, PieceKind
from darse.build.context_list import MOST_ENTRIES, encode
from darse.build.errors import BuildError
from darse.build.graph import LocalSource
from darse.buildkit.sessions.lists import SentList, list_runs, next_packet, run_entries
from darse.buildkit.sessions.packets import has_content
from darse.buildkit.transport import MessageRun
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat
from darse.go_modes import (
    GO_SOCKET,
    GO_TYPES,
    KERNEL_KINDS,
    permissions,
)

# Files that are asked for ahead of what has come.
_WINDOW = 64
# Bytes beyond a file's listed size, of those that grow while they are sent; they are dropped.
_MOST_GROWTH = 64 << 20
# Nanoseconds in which a file may change twice with one time.
_SAME_TIME = 20_000_000
# Sockets are in no tree.
_KINDS = {kind: kernels for kind, kernels in KERNEL_KINDS.items() if kind != GO_SOCKET}
# Attributes that files have for what is on their host.
_OF_THE_HOST = ("trusted.", "security.")
_CAPABILITY = CAPABILITY.decode()


class NotIncremental(Exception):
    """A directory has owners or attributes that no list has: it is to be sent whole."""


def tree_keys(owner: object, source: LocalSource) -> tuple[str, str]:
    """The key of what a source asks for, and what those of the same directory begin with, whatever their patterns.

    owner: a client's shared key, or something else that is no text.
    """
    directory = _digest((owner, source.name, source.shared_key_hint))
    return directory + _digest((source.include_patterns, source.exclude_patterns, source.follow_paths)), directory


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


class IncrementalDirectory:
    """A client's end of one transfer (`darse.build.context.transfer.ContextSource`)."""

    def __init__(self, stream: Stream[Any, Any], listed: SentList | None = None) -> None:
        """listed: what of the client's list has come already."""
        self._stream = stream
        self._listed = listed
        self._sizes = array("q")
        self._times = array("q")
        self._capabilities: dict[int, bytes] = {}
        self.sent_files = 0
        self.sent_bytes = 0

    async def entries(self) -> AsyncIterator[bytes]:
        """See ContextSource. Raises NotIncremental, too."""
        listed, self._listed = self._listed, None
        if listed is not None:
            for run in listed.runs():
                yield self._records(run)
                await asyncio.sleep(0)
            if listed.is_complete:
                return
            del listed
        async for run in list_runs(self._stream):
            yield self._records(run)

    def _records(self, run: MessageRun) -> bytes:
        if len(self._sizes) + len(run.starts) > MOST_ENTRIES:
            raise BuildError(f"the context has more than {MOST_ENTRIES} entries")
        return b"".join([self._record(one) for one in run_entries(run)])

    def _record(self, one: Stat) -> bytes:
        if one.uid or one.gid:
            raise NotIncremental
        identity = self._attributes(one) if one.xattrs else b""
        kind = _KINDS.get(one.mode & GO_TYPES)
        if kind is None:
            raise BuildError(f"{one.path!r} of the context is of no kind that can be sent")
        path, link = one.path.encode(), one.linkname.encode()
        if b"\0" in path or b"\0" in link:
            raise BuildError(f"invalid path {one.path!r} in the context")
        if kind in (stat.S_IFBLK, stat.S_IFCHR):
            link = b"%d:%d" % (one.devmajor, one.devminor)
        size = one.size if has_content(one) else 0
        self._sizes.append(size)
        self._times.append(one.modTime)
        return encode(path, kind | permissions(one.mode), size, one.modTime, identity, link)

    def _attributes(self, one: Stat) -> bytes:
        """What says of an entry's attributes that they have changed."""
        if any(not name.startswith(_OF_THE_HOST) for name in one.xattrs):
            raise NotIncremental
        capability: bytes | None = one.xattrs.get(_CAPABILITY)
        if capability is None or not has_content(one):
            return b""
        self._capabilities[len(self._sizes)] = capability
        return capability.hex().encode()

    async def contents(self, numbers: Sequence[int]) -> AsyncIterator[bytes]:
        """See ContextSource."""
        waiting = deque(numbers)
        left: dict[int, int] = {}
        while waiting or left:
            while waiting and len(left) < _WINDOW:
                number = waiting.popleft()
                left[number] = self._sizes[number]
                await self._stream.send_message(Packet(type=Packet.PACKET_REQ, ID=number))
            packet = await next_packet(self._stream)
            number, data = packet.ID, packet.data
            if packet.type != Packet.PACKET_DATA or number not in left:
                raise BuildError("the client sent data of a file that it was not asked for")
            if not data:
                yield self._end(number, left.pop(number))
                continue
            self.sent_bytes += len(data)
            kept = data[: max(0, left[number])]
            left[number] -= len(data)
            if left[number] < -_MOST_GROWTH:
                raise BuildError("a file of the context grows while it is sent: build again")
            for start in range(0, len(kept), LONGEST_PIECE):
                yield FilePiece(number, kept[start : start + LONGEST_PIECE]).encode()

    def _end(self, number: int, left: int) -> bytes:
        """The last pieces of a file. left: bytes that have not come; below zero, those beyond what was listed."""
        size = self._sizes[number]
        if size and left == size:
            raise BuildError("a file of the context cannot be read by the client, or was removed: build again")
        self.sent_files += 1
        found = b""
        if (capability := self._capabilities.get(number)) is not None:
            found = FilePiece(number, capability, PieceKind.CAPABILITY).encode()
        is_new = abs(time.time_ns() - self._times[number]) < _SAME_TIME
        kind = PieceKind.CHANGED if left or is_new else PieceKind.END
        return found + FilePiece(number, b"", kind).encode()
