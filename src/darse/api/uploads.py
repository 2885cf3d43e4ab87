"""Archives that clients send: read piece by piece, or by those whom they are for, straight off the connection.

The second is how half a gigabyte comes in without the event loop touching it; see `darse.archive.request_body`. It
takes a connection of our own kernel's (a unix or TCP socket, no TLS) of which we know that nothing was read beyond the
head: `Connection` keeps what follows such a request aside until it is clear who reads it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from darse.aiohttp_server import BaseRequest
from darse.api.server import connection_of
from darse.archive.process import OnConnection
from darse.archive.request_body import CHUNKED
from darse.runtime.rootfs.helper_main import START_LIMIT


class Upload:
    """The archive in a request's body; as `darse.containers.filesystem.archives.Source` has it."""

    def __init__(self, request: BaseRequest) -> None:
        self._request = request

    def take(self, limit: int = START_LIMIT) -> OnConnection | None:
        """Hand over the connection; None when it must be read by pieces, as when more than `limit` bytes were read.

        Afterwards nothing more is read from it here, and it is closed after the answer.
        """
        length = _length(self._request)
        connection = connection_of(self._request)
        transport, start = connection.transport, connection.body_aside
        if length is None or transport is None or start is None or len(start) > limit:
            return None
        if transport.get_extra_info("ssl_object") is not None:
            return None
        if start.endswith(b"\r\n0\r\n\r\n") if length == CHUNKED else len(start) >= length:
            return None  # it is all there: the connection can serve other requests
        connection.hand_over()
        return OnConnection(transport.get_extra_info("socket").fileno(), start, length)

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield what comes."""
        connection_of(self._request).keep()
        return self._request.content.iter_any()


def _length(request: BaseRequest) -> int | None:
    """The body's length, or CHUNKED; None where its end is said in another way."""
    codings = request.headers.getall("Transfer-Encoding", [])
    lengths = request.headers.getall("Content-Length", [])
    if request.version < (1, 1):
        return None
    if not lengths and [coding.lower() for coding in codings] == ["chunked"]:
        return CHUNKED
    if not codings and len(lengths) == 1 and lengths[0].isascii() and lengths[0].isdigit():
        return int(lengths[0])
    return None
