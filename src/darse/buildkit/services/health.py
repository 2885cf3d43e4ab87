"""`grpc.health.v1.Health`: every service that is here works."""

from __future__ import annotations

import asyncio

from grpclib.server import Stream

from darse.buildkit.wire.health_grpc import HealthBase
from darse.buildkit.wire.health_pb2 import HealthCheckRequest, HealthCheckResponse

_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)


class HealthService(HealthBase):
    """Answers as long as the engine does."""

    async def Check(self, stream: Stream[HealthCheckRequest, HealthCheckResponse]) -> None:
        """Say so once."""
        await stream.recv_message()
        await stream.send_message(_SERVING)

    async def Watch(self, stream: Stream[HealthCheckRequest, HealthCheckResponse]) -> None:
        """Say so, and what changes, which nothing does."""
        await stream.recv_message()
        await stream.send_message(_SERVING)
        await asyncio.get_running_loop().create_future()
