"""`/containers/{id}/top`, `/stats`, `/changes` and `/update`: looking at what runs, and changing its limits.

Also darse's own `/darse/usage`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec

from darse import aiohttp_server as web
from darse.api import query, versions
from darse.api.body import read_json
from darse.api.responses import json_response, stream
from darse.api.routing import Call, Routes
from darse.containers.stats.service import StatsSample
from darse.core.errors import InvalidParameter
from darse.core.times import ZERO, rfc3339
from darse.wire.observation import (
    BlkioStats,
    CPUStats,
    CPUUsage,
    MemoryStats,
    PidsStats,
    StatsResponse,
    ThrottlingData,
    UpdateRequest,
)

ROUTES = Routes()
_NO_CPU = CPUStats(CPUUsage(total_usage=0, usage_in_kernelmode=0, usage_in_usermode=0), ThrottlingData())
_encode = msgspec.json.Encoder().encode


@ROUTES.add("GET", "/containers/{id}/top")
async def top(call: Call) -> web.StreamResponse:
    """List a container's processes."""
    arguments = query.text(call.request, "ps_args")
    return json_response(await call.engine.containers.observation.top(call.match["id"], arguments))


@ROUTES.add("GET", "/containers/{id}/stats")
async def stats(call: Call) -> web.StreamResponse:
    """Sample what a container uses, once or as a stream."""
    request, service = call.request, call.engine.containers.observation
    one_shot = query.flag(request, "one-shot") and versions.has(call.version, "containers/stats one-shot")
    if query.flag(request, "stream", default=True):
        if one_shot:
            raise InvalidParameter("cannot have stream=true and one-shot=true")
        return await stream(request, _documents(service.stats_stream(call.match["id"])), "application/json")
    return json_response(stats_response(await service.stats(call.match["id"], one_shot=one_shot)))


async def _documents(samples: AsyncGenerator[StatsSample]) -> AsyncGenerator[bytes]:
    async with aclosing(samples):
        async for sample in samples:
            yield _encode(stats_response(sample)) + b"\n"


def stats_response(sample: StatsSample) -> StatsResponse:
    """A sample as the API shows it: all zeros for a container that does not run."""
    usage, before = sample.usage, sample.before
    return StatsResponse(
        name=f"/{sample.name}",
        id=sample.id,
        read=rfc3339(usage.taken_ns) if usage else ZERO,
        preread=rfc3339(before.taken_ns) if before else ZERO,
        pids_stats=usage.pids if usage else PidsStats(),
        blkio_stats=usage.block_io if usage else BlkioStats(),
        storage_stats={},
        cpu_stats=usage.cpu if usage else _NO_CPU,
        precpu_stats=before.cpu if before else _NO_CPU,
        memory_stats=usage.memory if usage else MemoryStats(),
        networks=usage.networks if usage and usage.networks is not None else msgspec.UNSET,
    )


@ROUTES.add("GET", "/darse/usage")
async def usage(call: Call) -> web.StreamResponse:
    """Sample the host and all running containers at once (darse's own)."""
    return json_response(await call.engine.containers.observation.usage())


@ROUTES.add("GET", "/containers/{id}/changes")
async def changes(call: Call) -> web.StreamResponse:
    """List what a container has changed in its files."""
    changed = call.engine.containers.observation.changes(call.match["id"])
    first = await anext(changed)
    second = await anext(changed, None)
    if second is None:
        return json_response(first)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"[" + msgspec.json.encode(first)[1:-1]
        if second:
            yield b"," + msgspec.json.encode(second)[1:-1]
        async for some in changed:
            if some:
                yield b"," + msgspec.json.encode(some)[1:-1]
        yield b"]\n"

    return await stream(call.request, pieces(), "application/json")


@ROUTES.add("POST", "/containers/{id}/update")
async def update(call: Call) -> web.StreamResponse:
    """Change a container's limits and restart policy."""
    body = await read_json(call.request, UpdateRequest)
    versions.update_request(call.version, body)
    return json_response(await call.engine.containers.observation.update(call.match["id"], body))
