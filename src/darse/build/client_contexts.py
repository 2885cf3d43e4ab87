"""Contexts of `darse build`: the client's end of a transfer, on a connection that it opens because it is asked to.

    the list's length in eight bytes, big-endian; the list    ──▶
                         ◀──   how many files are missing, and their numbers, in four bytes each
    the contents (`darse.build.context.transfer`), cut anywhere,
    each part behind its length in four bytes; one of 0       ──▶

A client says beforehand which key its context has, and the digest of its list: it is asked only where the tree is
another one.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from functools import partial

from darse.build.client_agents import AgentCalls
from darse.build.context_list import MOST_BYTES, InvalidList
from darse.build.errors import BuildError
from darse.build.progress import BuildReport, ContextRequested, VertexNote

_PIECE = 256 * 1024
_LENGTH = struct.Struct(">Q")


class ClientContext:
    """One context of a client (`darse.build.context.transfer.ContextSource`)."""

    def __init__(self, name: str, calls: AgentCalls, report: BuildReport, vertex: str) -> None:
        """vertex: the one that says how it goes."""
        self._name = name
        self._calls = calls
        self._report = report
        self._vertex = vertex
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def entries(self) -> AsyncIterator[bytes]:
        """See ContextSource."""
        event = partial(ContextRequested, self._name)
        self._streams = await self._calls.ask_for(event, f"for its context {self._name!r}", self._report)
        reader = self._streams[0]
        left = _LENGTH.unpack(await self._exactly(_LENGTH.size))[0]
        if left > MOST_BYTES:
            raise InvalidList(f"it has more than {MOST_BYTES} bytes")
        while left:
            piece = await reader.read(min(left, _PIECE))
            if not piece:
                raise BuildError(f"the client went away before its context {self._name!r} had come")
            left -= len(piece)
            yield piece

    async def contents(self, numbers: Sequence[int]) -> AsyncIterator[bytes]:
        """See ContextSource."""
        assert self._streams is not None
        writer = self._streams[1]
        writer.write(struct.pack(f">I{len(numbers)}I", len(numbers), *numbers))
        size = 0
        while length := int.from_bytes(await self._exactly(4), "big"):
            size += length
            while length:
                piece = await self._exactly(min(length, _PIECE))
                length -= len(piece)
                yield piece
        self._report(VertexNote(self._vertex, f"transferring {self._name}: {len(numbers)} files, {size} bytes"))

    async def close(self) -> None:
        """Nothing more is asked for."""
        if self._streams is not None:
            self._streams[1].close()

    async def _exactly(self, count: int) -> bytes:
        assert self._streams is not None
        try:
            return await self._streams[0].readexactly(count)
        except asyncio.IncompleteReadError:
            raise BuildError(f"the client went away before its context {self._name!r} had come") from None
