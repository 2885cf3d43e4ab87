"""The HTTP server under the API: limits, the API's error bodies for what is no HTTP, and clients' departures."""

from __future__ import annotations

import asyncio
from typing import Any

from darse.api import aiohttp_server as web
from darse.api.aiohttp_server import RequestHandler
from darse.api.errors import error_response

# A registry credential in a header is some kilobytes; nothing larger is meant well.
_LINE_LIMIT = 64 * 1024
_FIELD_LIMIT = 64 * 1024
_HEADERS_LIMIT = 128


class _Connection(RequestHandler):
    """One client's connection."""

    __slots__ = ("gone",)

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.gone = asyncio.Event()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.gone.set()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused as the API answers errors, and end the connection."""
        if status == 500:
            return super().handle_error(request, status, exc, message)
        response = error_response(status, f"invalid request: {_first_line(message or str(exc))}")
        response.force_close()
        return response


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:200]


class ApiServer(web.Server):
    """Makes connections."""

    def __init__(self, handler: Any) -> None:
        super().__init__(handler, access_log=None)

    def __call__(self) -> RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            max_line_size=_LINE_LIMIT,
            max_field_size=_FIELD_LIMIT,
            max_headers=_HEADERS_LIMIT,
            auto_decompress=False,
        )


async def until_gone(request: web.BaseRequest) -> None:
    """Return when the client has closed its connection."""
    connection = request.protocol
    assert isinstance(connection, _Connection)
    await connection.gone.wait()
