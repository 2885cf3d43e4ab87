"""`moby.buildkit.v1.Control`: builds, their progress, their cache and their history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from grpclib.server import Stream

from darse.buildkit.errors import not_implemented
from darse.buildkit.services.worker import VERSION
from darse.buildkit.sessions import ClientSession, SessionPool
from darse.buildkit.transport.tunnel import tunnelled
from darse.buildkit.wire import control_pb2, worker_pb2
from darse.buildkit.wire.control_grpc import ControlBase

# In what a client says of its session, when that is inside a call.
_SESSION = "x-docker-expose-session-"


class ControlService(ControlBase):
    """What clients ask of the engine as a whole."""

    def __init__(self, sessions: SessionPool, worker: Callable[[], worker_pb2.WorkerRecord]) -> None:
        self._sessions = sessions
        self._worker = worker

    async def ListWorkers(self, stream: Stream[Any, Any]) -> None:
        """The worker. It is what its filters ask for, or clients would find none."""
        await stream.recv_message()
        await stream.send_message(control_pb2.ListWorkersResponse(record=[self._worker()]))

    async def Info(self, stream: Stream[Any, Any]) -> None:
        """The version of the API."""
        await stream.recv_message()
        await stream.send_message(control_pb2.InfoResponse(buildkitVersion=VERSION))

    async def Session(self, stream: Stream[Any, Any]) -> None:
        """A client's session inside a call, for as long as it lasts."""
        metadata = stream.metadata
        assert metadata is not None
        identifier, name, shared_key = (
            str(metadata.get(f"{_SESSION}{part}", "")) for part in ("uuid", "name", "sharedkey")
        )
        methods = [str(one) for one in metadata.getall(f"{_SESSION}grpc-method", [])]
        session = ClientSession(identifier, name, shared_key, methods)
        async with tunnelled(stream) as (connection, tasks):
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=connection)
            session.channel.open(transport)
            self._sessions.add(session)
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._sessions.remove(session)

    async def DiskUsage(self, stream: Stream[Any, Any]) -> None:
        """See not_implemented."""
        raise not_implemented("DiskUsage")

    async def Prune(self, stream: Stream[Any, Any]) -> None:
        """See not_implemented."""
        raise not_implemented("Prune")

    async def Solve(self, stream: Stream[Any, Any]) -> None:
        """See not_implemented."""
        raise not_implemented("Solve")

    async def Status(self, stream: Stream[Any, Any]) -> None:
        """See not_implemented."""
        raise not_implemented("Status")

    async def ListenBuildHistory(self, stream: Stream[Any, Any]) -> None:
        """See not_implemented."""
        raise not_implemented("ListenBuildHistory")

    async def UpdateBuildHistory(self, stream: Stream[Any, Any]) -> None:
        """See not_implemented."""
        raise not_implemented("UpdateBuildHistory")
