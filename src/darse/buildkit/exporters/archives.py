"""The exporters `tar`, `oci` and `docker`: an archive, sent to the client as it is made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from grpclib.exceptions import GRPCError

from darse.build.errors import BuildError
from darse.buildkit.sessions import ClientSession
from darse.buildkit.wire.filesync_grpc import FileSendStub
from darse.buildkit.wire.filesync_pb2 import BytesMessage

#: The client's method that takes what is exported.
SEND = "/moby.filesync.v1.FileSend/DiffCopy"
_PIECE = 1 << 20


async def send_archive(
    session: ClientSession, number: int, pieces: AsyncIterator[bytes], attributes: Mapping[str, str]
) -> None:
    """Send an archive to the exporter of a number. The client gets `attributes` with it. Raises BuildError."""
    session.require(SEND, "what is exported to it")
    metadata = {"buildkit-attachable-exporter-id": str(number)}
    metadata |= {f"exporter-md-{name.lower()}": value for name, value in attributes.items() if value.isascii()}
    try:
        async with FileSendStub(session.channel).DiffCopy.open(metadata=metadata) as stream:
            await stream.send_request()
            async for piece in pieces:
                for start in range(0, len(piece), _PIECE):
                    await stream.send_message(BytesMessage(data=piece[start : start + _PIECE]))
            await stream.end()
            while await stream.recv_message() is not None:
                pass
    except GRPCError as error:
        raise BuildError(f"the client took no archive: {error.message}") from error
