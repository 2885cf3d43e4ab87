"""darse's own `/darse/import-docker`: takes over what is in the data root of a dockerd on this host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from darse import aiohttp_server as web
from darse.api.body import read_json
from darse.api.responses import stream
from darse.api.routing import Call, Routes
from darse.wire.system import DockerImportRequest

if TYPE_CHECKING:
    from darse.docker_import.service import DockerImport

ROUTES = Routes()


@ROUTES.add("POST", "/darse/import-docker")
async def import_docker(call: Call) -> web.StreamResponse:
    """Import, or say what would be; what becomes of each object as it is known, a JSON document each."""
    from darse.docker_import.service import DockerImport  # noqa: PLC0415 - few engines ever do

    body = await read_json(call.request, DockerImportRequest)
    engine = call.engine
    work = DockerImport(engine.context, engine.containers, Path(body.DataRoot), dry_run=body.DryRun)
    return await stream(call.request, _lines(work), "application/json", patience=None)


async def _lines(work: DockerImport) -> AsyncIterator[bytes]:
    async for message in work.run():
        yield msgspec.json.encode(message) + b"\n"
