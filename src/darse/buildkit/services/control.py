"""`moby.buildkit.v1.Control`: builds, their progress, their cache and their history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from grpclib.server import Stream

from darse.build.history import BuildState
from darse.build.service import BuildService
from darse.build.solver import CacheFilter, PrunePolicy
from darse.buildkit.errors import as_status, not_implemented
from darse.buildkit.services.history_filters import HistoryFilters
from darse.buildkit.services.records import history_event, status_messages, usage_record
from darse.buildkit.services.worker import VERSION
from darse.buildkit.sessions import ClientSession, SessionPool
from darse.buildkit.solving.pool import BuildPool
from darse.buildkit.solving.requests import SolveRequests
from darse.buildkit.transport import request_of
from darse.buildkit.transport.peers import peer_user
from darse.buildkit.transport.tunnel import tunnelled
from darse.buildkit.wire import control_pb2, worker_pb2
from darse.buildkit.wire.control_grpc import ControlBase

# In what a client says of its session, when that is inside a call.
_SESSION = "x-docker-expose-session-"


class ControlService(ControlBase):
    """What clients ask of the engine as a whole."""

    def __init__(
        self,
        service: BuildService,
        sessions: SessionPool,
        builds: BuildPool,
        requests: SolveRequests,
        worker: Callable[[], worker_pb2.WorkerRecord],
    ) -> None:
        self._service = service
        self._sessions = sessions
        self._builds = builds
        self._requests = requests
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
        assert stream.peer is not None
        session.user = peer_user(stream.peer._transport)
        async with tunnelled(stream) as (connection, tasks):
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=connection)
            session.channel.open(transport)
            with as_status():
                self._sessions.add(session)
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._sessions.remove(session)

    async def DiskUsage(self, stream: Stream[Any, Any]) -> None:
        """What the cache takes."""
        request = await request_of(stream)
        with as_status():
            filters = _filters(request.filter)
            records = [
                usage_record(record, in_use=in_use)
                for record, in_use in await self._service.cache_records()
                if all(one.matches(record, {"inuse": in_use, "shared": False}) for one in filters)
            ]
        await stream.send_message(control_pb2.DiskUsageResponse(record=records))

    async def Prune(self, stream: Stream[Any, Any]) -> None:
        """Remove what of the cache is not used."""
        request = await request_of(stream)
        with as_status():
            policy = PrunePolicy(
                _filters(request.filter),
                request.all,
                request.keepDuration / 1e9,
                request.maxUsedSpace,
                request.reservedSpace,
            )
            removed = await self._service.prune(policy)
        for record in removed:
            await stream.send_message(usage_record(record, in_use=False))

    async def Solve(self, stream: Stream[Any, Any]) -> None:
        """A build, from its request to what it has exported. It ends with the call."""
        request = await request_of(stream)
        with as_status():
            exporter_response = await self._requests.solve(request)
        await stream.send_message(control_pb2.SolveResponse(ExporterResponse=exporter_response))

    async def Status(self, stream: Stream[Any, Any]) -> None:
        """The progress of a build, to its end; of one that has ended what the history has of it."""
        request = await request_of(stream)
        history = self._service.history
        if not self._builds.has(request.Ref) and history.has_ended(request.Ref):
            for message in status_messages(history.record(request.Ref), history.logs(request.Ref)):
                await stream.send_message(message)
            return
        build = await self._builds.get(request.Ref)
        async for message in build.progress.follow():
            await stream.send_message(message)

    async def ListenBuildHistory(self, stream: Stream[Any, Any]) -> None:
        """The builds that run and those that were, the newest first; and, unless it is all at once, what changes."""
        request = await request_of(stream)
        history = self._service.history
        with as_status():
            filters = HistoryFilters(request.Filter)
        shown: dict[str, tuple[BuildState, bool]] = {}
        while True:
            changed = history.changed
            with as_status():
                found = [
                    one
                    for one in history.summaries()
                    if request.Ref in ("", one.id)
                    and (not request.ActiveOnly or one.state is BuildState.RUNNING)
                    and filters.matches(one, history.collected(one).attributes)
                ]
            pinned = history.pinned()
            for one in found[: request.Limit or None]:
                now = (one.state, one.id in pinned)
                if shown.get(one.id) != now:
                    shown[one.id] = now
                    await stream.send_message(history_event(one, history.collected(one), pinned=one.id in pinned))
            if request.EarlyExit:
                return
            await changed.wait()

    async def UpdateBuildHistory(self, stream: Stream[Any, Any]) -> None:
        """Forget a build, pinned or not; or pin it, or no more. What belongs to one that has ended is all there."""
        request = await request_of(stream)
        with as_status():
            if request.Delete:
                self._service.history.remove(request.Ref)
            elif not request.Finalize:
                self._service.history.pin(request.Ref, pinned=request.Pinned)
        await stream.send_message(control_pb2.UpdateBuildHistoryResponse())


def _filters(given: Sequence[str]) -> tuple[CacheFilter, ...]:
    """Conditions of which all must be fulfilled: commas join them. Raises BuildError and GRPCError."""
    alternatives = [one for one in given if one]
    if len(alternatives) > 1:
        raise not_implemented("a choice among several filters")
    return tuple(CacheFilter.parse(one) for one in ",".join(alternatives).split(",") if one)
