"""darse's own `/darse/check`: records and data held against each other; and `/darse/orphans`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from darse import aiohttp_server as web
from darse.api.responses import stream
from darse.api.routing import Call, Routes
from darse.wire.images import CheckMessage

ROUTES = Routes()


@ROUTES.add("GET", "/darse/check")
async def check(call: Call) -> web.StreamResponse:
    """Check, and change nothing; findings and progress as they come, a JSON document each."""
    return await stream(call.request, _lines(call.engine.system.check_store(repair=False)), "application/json")


@ROUTES.add("POST", "/darse/check")
async def repair(call: Call) -> web.StreamResponse:
    """Check, and repair what can be."""
    return await stream(call.request, _lines(call.engine.system.check_store(repair=True)), "application/json")


@ROUTES.add("DELETE", "/darse/orphans")
async def remove_orphans(call: Call) -> web.StreamResponse:
    """Remove for good what the engine has moved aside, for no record names it."""
    return await stream(call.request, _lines(call.engine.system.remove_orphans()), "application/json")


async def _lines(messages: AsyncIterator[CheckMessage]) -> AsyncIterator[bytes]:
    async for message in messages:
        yield msgspec.json.encode(message) + b"\n"
