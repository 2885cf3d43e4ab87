"""`GET /metrics`, on an address of its own as dockerd's `metrics-addr`: no request of the API is served there."""

from __future__ import annotations

import asyncio
import logging

from darse.aiohttp_server import BaseRequest, RequestHandler, Response, Server, StreamResponse
from darse.core.errors import SystemFault
from darse.core.exhaustion import reason
from darse.observing.metrics.exposition import OPEN_METRICS, PROMETHEUS, accepts_open_metrics
from darse.observing.metrics.service import MetricsService

_log = logging.getLogger("darse.observing")
_CLOSE_SECONDS = 1.0


class MetricsListener:
    """Serves the metrics on tcp."""

    def __init__(self, metrics: MetricsService) -> None:
        self._metrics = metrics
        self._server = Server(self._serve, access_log=None)
        self._listener: asyncio.Server | None = None

    async def listen(self, address: str) -> None:
        """Open the listener; `address` is ADDRESS:PORT. Raises SystemFault."""
        name, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._protocol, name.strip("[]") or None, int(port))
        except OSError as error:
            raise SystemFault(f"cannot serve metrics on {address}: {reason(error)}") from error
        for listening in self._listener.sockets:
            _log.info("metrics are served on http://%s:%d/metrics", *listening.getsockname()[:2])

    def _protocol(self) -> RequestHandler:
        return self._server()

    async def _serve(self, request: BaseRequest) -> StreamResponse:
        if request.path != "/metrics":
            return Response(status=404, text="404 page not found\n")
        if request.method not in ("GET", "HEAD"):
            return Response(status=405, headers={"Allow": "GET, HEAD"}, text="405 method not allowed\n")
        open_metrics = accepts_open_metrics(request.headers.get("Accept", ""))
        compressed = "gzip" in request.headers.get("Accept-Encoding", "") and not _is_local(request)
        response = StreamResponse(headers={"Content-Type": OPEN_METRICS if open_metrics else PROMETHEUS})
        if compressed:
            response.headers["Content-Encoding"] = "gzip"
        pieces = await self._metrics.text(open_metrics=open_metrics, compressed=compressed)
        response.content_length = sum(map(len, pieces))
        await response.prepare(request)
        if request.method == "GET":
            for piece in pieces:
                await response.write(piece)
        await response.write_eof()
        return response

    async def close(self) -> None:
        """Answer no more."""
        if self._listener is not None:
            self._listener.close()
        await self._server.shutdown(_CLOSE_SECONDS)


def _is_local(request: BaseRequest) -> bool:
    """Whether a client is on this host: it takes longer to compress and decompress the text than to copy it there."""
    transport = request.transport
    return transport is not None and transport.get_extra_info("sockname")[0] == request.remote
