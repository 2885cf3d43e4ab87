"""What every answer carries, and the API's error body."""

from __future__ import annotations

import msgspec

from darse import __version__
from darse.api import aiohttp_server as web

API_VERSION = (1, 55)
HEADERS = {
    "Api-Version": ".".join(map(str, API_VERSION)),
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"darse/{__version__} (linux)",
}


def error_response(status: int, message: str) -> web.Response:
    """The API's error body."""
    if status == 304:
        return web.Response(status=304)
    body = msgspec.json.encode({"message": message}) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")
