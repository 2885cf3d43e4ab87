"""darse's own `/darse/import-docker`: takes over what is in the data root of a dockerd on this host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from darse import aiohttp_server as web
from darse.api.body import read_json
from darse.api.responses import stream
from darse.api.routing import Call, Routes
from darse.wire.system import DockerImportRequest, ImportMessage

ROUTES = Routes()


@ROUTES.add("POST", "/darse/import-docker")
async def import_docker(call: Call) -> web.StreamResponse:
    """Import, or say what would be; what becomes of each object as it is known, a JSON document each."""
    body = await read_json(call.request, DockerImportRequest)
    messages = call.engine.system.import_docker(Path(body.DataRoot), dry_run=body.DryRun)
    return await stream(call.request, _lines(messages), "application/json", error_timeout=None)


async def _lines(messages: AsyncIterator[ImportMessage]) -> AsyncIterator[bytes]:
    async for message in messages:
        yield msgspec.json.encode(message) + b"\n"
