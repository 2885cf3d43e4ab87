"""What `darse build` sends when one archive does not say it all: secrets, and several contexts.

Parts in frames, as docker multiplexes streams: eight bytes (the part's number, three zeros, the length, big-endian) and
so many bytes. Part 0 is a JSON document, whole in one frame: `secrets` by id, base64; the names of `contexts`; the ids
of `agents` that are forwarded; `trees`, the contexts that are sent in part, by name with key and digest
(`darse.build.client_contexts`); and the `dockerfile`, base64, where it does not come with the context. Part N is the
archive of the N-th context; a frame of length 0 ends it. Secrets come so because they must reach no file.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator

import msgspec

from darse.build.errors import BuildError
from darse.build.request import BuildRequest, ContextClaim
from darse.core.errors import InvalidParameter

MEDIA_TYPE = "application/vnd.darse.build.parts.v1"
_HEADER = 8
_HEAD_LIMIT = 32 << 20


class _Head(msgspec.Struct):
    secrets: dict[str, str] = {}
    contexts: list[str] = []
    agents: list[str] = []
    trees: dict[str, ContextClaim] = {}
    dockerfile: str | None = None


class BuildParts:
    """The parts of one request's body, in order."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._buffer = bytearray()
        self._contexts: list[str] = []

    async def read_head(self, request: BuildRequest) -> BuildRequest:
        """Read the first part; return the request with what it says. Raises InvalidParameter."""
        part, length = await self._frame()
        if part != 0 or length > _HEAD_LIMIT:
            raise InvalidParameter("the parts of the build do not begin with their list")
        try:
            found = msgspec.json.decode(await self._exactly(length), type=_Head)
            self._contexts = found.contexts
            return msgspec.structs.replace(
                request,
                secrets={name: base64.b64decode(value, validate=True) for name, value in found.secrets.items()},
                agents=frozenset(found.agents),
                trees=found.trees,
                dockerfile_content=base64.b64decode(found.dockerfile) if found.dockerfile is not None else None,
            )
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
