"""What `darse build` sends when one archive does not say it all: secrets, and several contexts.

Parts in frames, as docker multiplexes streams: eight bytes (the part's number, three zeros, the length, big-endian) and
so many bytes. Part 0 is a JSON document, whole in one frame: `secrets` by id, base64; the names of `contexts`; the ids
of `agents` that are forwarded. Part N is the archive of the N-th context; a frame of length 0 ends it. Secrets come so
because they must reach no file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator

import msgspec

from darse.build.errors import BuildError
from darse.core.errors import InvalidParameter

MEDIA_TYPE = "application/vnd.darse.build.parts.v1"
_HEADER = 8
_HEAD_LIMIT = 32 << 20


class _Head(msgspec.Struct):
    secrets: dict[str, str] = {}
    contexts: list[str] = []
    agents: list[str] = []


class BuildParts:
    """The parts of one request's body, in order."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._buffer = bytearray()
        self._contexts: list[str] = []
        self.agents: frozenset[str] = frozenset()
        """The ids of agents, once the head is read."""

    async def head(self) -> dict[str, bytes]:
        """Read the first part; return the secrets. Raises InvalidParameter."""
        part, length = await self._frame()
        if part != 0 or length > _HEAD_LIMIT:
            raise InvalidParameter("the parts of the build do not begin with their list")
        try:
            found = msgspec.json.decode(await self._exactly(length), type=_Head)
            self._contexts, self.agents = found.contexts, frozenset(found.agents)
            return {name: base64.b64decode(value, validate=True) for name, value in found.secrets.items()}
        except (msgspec.MsgspecError, binascii.Error, RecursionError) as error:
            raise InvalidParameter(f"invalid list of the build's parts: {error}") from None

    async def archives(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """Yield each context's name and archive, which must be read before the next is asked for."""
        for number, name in enumerate(self._contexts, 1):
            yield name, self._archive(number)

    async def _archive(self, number: int) -> AsyncIterator[bytes]:
        while True:
            part, length = await self._frame()
            if part != number:
                raise BuildError(f"part {part} of the build comes in the place of part {number}")
            if not length:
                return
            while length:
                piece = await self._some(length)
                length -= len(piece)
                yield piece

    async def _frame(self) -> tuple[int, int]:
        header = await self._exactly(_HEADER)
        return header[0], int.from_bytes(header[4:], "big")

    async def _exactly(self, count: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < count:
            pieces += await self._some(count - len(pieces))
        return bytes(pieces)

    async def _some(self, most: int) -> bytes:
        if not self._buffer:
            piece = await anext(self._body, b"")
            if not piece:
                raise InvalidParameter("the parts of the build end before they are over")
            self._buffer += piece
        found = bytes(self._buffer[:most])
        del self._buffer[:most]
        return found
