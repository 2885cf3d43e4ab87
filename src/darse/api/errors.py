"""What every answer carries, the API's error body, and the HTTP status of each of the engine's errors."""

from __future__ import annotations

import msgspec

from darse import __version__
from darse import aiohttp_server as web
from darse.core.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidParameter,
    NotFound,
    NotImplementedHere,
    NotModified,
    SystemFault,
    Unauthorized,
    Unavailable,
)

API_VERSION = (1, 55)
HEADERS = {
    "Api-Version": ".".join(map(str, API_VERSION)),
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"darse/{__version__} (linux)",
}


class TooLarge(EngineError):
    """The body of a request is larger than any document of the API."""


#: A class that is not listed has the status of the nearest one that it derives from.
STATUSES: dict[type[EngineError], int] = {
    NotModified: 304,
    InvalidParameter: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    SystemFault: 500,
    NotImplementedHere: 501,
    Unavailable: 503,
}


def status_of(error: EngineError) -> int:
    """The HTTP status of an error's answer."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)


def error_response(status: int, message: str) -> web.Response:
    """The API's error body."""
    if status == 304:
        return web.Response(status=304)
    body = msgspec.json.encode({"message": message}) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")
