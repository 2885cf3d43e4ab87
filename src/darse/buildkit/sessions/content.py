"""A client's content store: blobs by their digests, in one of the directories that a client offers in its session.

Clients that import or export a cache of the type `local`, or have an OCI layout as a context, offer the directory as
containerd's content service; a header of each call says which of them (`session/content` of BuildKit). What is read is
not verified here: whoever uses it has the digest.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from darse.build.errors import BuildError
from darse.buildkit.sessions.pool import ClientSession
from darse.buildkit.wire import content_pb2
from darse.buildkit.wire.content_grpc import ContentStub
from darse.core import executors

_SERVICE = "/containerd.services.content.v1.Content"
_PIECE = 1 << 20


class ClientContentStore:
    """One of them."""

    def __init__(self, session: ClientSession, name: str) -> None:
        """name: as the client knows it, `local:DIRECTORY` or `oci:NAME`. Raises BuildError."""
        session.require(f"{_SERVICE}/Read", name)
        self._stub = ContentStub(session.channel)
        self._metadata = {"buildkit-attachable-store-id": name}
        self._name = name

    async def pieces(self, digest: str, limit: int = -1) -> AsyncGenerator[bytes]:
        """Yield a blob. Raises BuildError where there is none, or it is longer than a limit."""
        request = content_pb2.ReadContentRequest(digest=digest)
        size = 0
        try:
            async with self._stub.Read.open(metadata=self._metadata) as stream:
                await stream.send_message(request, end=True)
                while (message := await stream.recv_message()) is not None:
                    size += len(message.data)
                    if 0 <= limit < size:
                        raise BuildError(f"{digest} of {self._name} has more than {limit} bytes")
                    yield message.data
        except GRPCError as error:
            raise BuildError(f"failed to read {digest} of {self._name}: {error.message}") from error

    async def read(self, digest: str, limit: int) -> bytes:
        """A small blob. Raises BuildError."""
        return b"".join([piece async for piece in self.pieces(digest, limit)])

    async def write(self, digest: str, path: Path) -> None:
        """Give the client a blob, unless it has it. Raises BuildError."""
        try:
            await self._stub.Info(content_pb2.InfoRequest(digest=digest), metadata=self._metadata)
        except GRPCError as error:
            if error.status is not Status.NOT_FOUND:
                raise BuildError(f"failed to write to {self._name}: {error.message}") from error
        else:
            return
        try:
            with path.open("rb") as file:
                await self._write(digest, file)
        except GRPCError as refused:
            if refused.status is not Status.ALREADY_EXISTS:
                raise BuildError(f"failed to write {digest} to {self._name}: {refused.message}") from refused

    async def _write(self, digest: str, file: BinaryIO) -> None:
        offset, name = 0, f"{digest}-{secrets.token_hex(4)}"
        async with self._stub.Write.open(metadata=self._metadata) as stream:
            while True:
                data = await executors.storage.run(file.read, _PIECE)
                action = content_pb2.WRITE if data else content_pb2.COMMIT
                request = content_pb2.WriteContentRequest(action=action, ref=name, offset=offset, data=data)
                if not data:
                    request.total, request.expected = offset, digest
                # The client's end of the call is over with the commit.
                await stream.send_message(request, end=not data)
                answer = await stream.recv_message()
                offset += len(data)
                if answer is None or answer.offset != offset:
                    raise BuildError(f"failed to write {digest} to {self._name}: the client took too little of it")
                if not data:
                    break
