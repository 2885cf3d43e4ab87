"""`containerd.services.content.v1.Content`: blobs that belong to builds of the history, and the image store's. To read.

Clients look into what a build came to (`buildx history inspect attachment`), and take it with them (`export`).
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from darse.build.service import BuildService
from darse.buildkit.errors import as_status, not_implemented
from darse.buildkit.transport import request_of
from darse.buildkit.wire import content_pb2
from darse.buildkit.wire.content_grpc import ContentBase
from darse.core import executors

_PIECE = 1 << 20
_MOST_LISTED = 200


class ContentService(ContentBase):
    """Reads; the engine writes."""

    def __init__(self, service: BuildService) -> None:
        self._service = service

    async def Info(self, stream: Stream[Any, Any]) -> None:
        """The size of a blob."""
        request = await request_of(stream)
        with as_status():
            size = await self._size(request.digest)
        info = content_pb2.Info(digest=request.digest, size=size)
        await stream.send_message(content_pb2.InfoResponse(info=info))

    async def _size(self, digest: str) -> int:
        """Raises GRPCError where there is no such blob."""
        size = self._service.history.attachments.size(digest)
        if size is None and self._service.images.has_blob(digest):
            size = await executors.storage.run(self._service.images.blob_size, digest)
        if size is None:
            raise GRPCError(Status.NOT_FOUND, f"content {digest}: not found")
        return int(size)

    async def List(self, stream: Stream[Any, Any]) -> None:
        """The blobs that belong to builds."""
        request = await request_of(stream)
        if any(request.filters):
            raise not_implemented("a list of content with filters")
        found = [
            content_pb2.Info(digest=digest, size=size)
            for digest, size in sorted(self._service.history.attachments.sizes().items())
        ]
        for start in range(0, len(found), _MOST_LISTED):
            await stream.send_message(content_pb2.ListContentResponse(info=found[start : start + _MOST_LISTED]))

    async def Read(self, stream: Stream[Any, Any]) -> None:
        """A part of a blob: `size` 0 is all from the offset on."""
        request = await request_of(stream)
        with as_status():
            size = await self._size(request.digest)
            if request.offset < 0 or request.size < 0 or request.offset > size:
                raise GRPCError(Status.OUT_OF_RANGE, f"read past end of content {request.digest}, size {size}")
            end = min(size, request.offset + request.size) if request.size else size
            if (content := self._service.history.attachments.read(request.digest)) is not None:
                for start in range(request.offset, end, _PIECE):
                    await _send(stream, start, content[start : min(start + _PIECE, end)])
            else:
                await self._read_file(stream, request.digest, request.offset, end)

    async def _read_file(self, stream: Stream[Any, Any], digest: str, offset: int, end: int) -> None:
        descriptor = os.open(self._service.images.blob_path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            while offset < end:
                piece = await executors.storage.run(os.pread, descriptor, min(_PIECE, end - offset), offset)
                if not piece:
                    raise GRPCError(Status.DATA_LOSS, f"content {digest} is shorter than it was")
                await _send(stream, offset, piece)
                offset += len(piece)
        finally:
            os.close(descriptor)

    async def Status(self, stream: Stream[Any, Any]) -> None:
        """Of something that is written: there is nothing."""
        request = await request_of(stream)
        raise GRPCError(Status.NOT_FOUND, f"no status for ref {request.ref}: not found")

    async def ListStatuses(self, stream: Stream[Any, Any]) -> None:
        """Of all that is written: there is nothing."""
        await request_of(stream)
        await stream.send_message(content_pb2.ListStatusesResponse())

    async def Update(self, stream: Stream[Any, Any]) -> None:
        """See _refuse."""
        _refuse()

    async def Delete(self, stream: Stream[Any, Any]) -> None:
        """See _refuse."""
        _refuse()

    async def Write(self, stream: Stream[Any, Any]) -> None:
        """See _refuse."""
        _refuse()

    async def Abort(self, stream: Stream[Any, Any]) -> None:
        """See _refuse."""
        _refuse()


async def _send(stream: Stream[Any, Any], offset: int, data: bytes) -> None:
    await stream.send_message(content_pb2.ReadContentResponse(offset=offset, data=data))


def _refuse() -> NoReturn:
    raise not_implemented("a change of the engine's content")
