"""The gRPC server: which services a connection has, and the sessions that clients have opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from darse.build.graph import Definition
from darse.build.service import BuildService
from darse.buildkit.services.bridge import BridgeService, FrontendBridge
from darse.buildkit.services.content import ContentService
from darse.buildkit.services.control import ControlService
from darse.buildkit.services.health import HealthService
from darse.buildkit.services.worker import worker_document, worker_record
from darse.buildkit.sessions import ClientSession, SessionPool
from darse.buildkit.solving.client_build import ClientBuild
from darse.buildkit.solving.lazy_references import BuildResult
from darse.buildkit.solving.pool import BuildPool
from darse.buildkit.solving.requests import SolveRequests
from darse.buildkit.transport import Servicer, service_protocol
from darse.buildkit.transport.connection import BoundedProtocol
from darse.buildkit.transport.peers import peer_user
from darse.containers.dependencies import Dependencies
from darse.containers.networking.etc_files import host_gateway


class BuildKitConnection(Protocol):
    """A connection that the API hands over."""

    @property
    def protocol(self) -> BoundedProtocol:
        """Of HTTP/2."""
        ...

    def open(self, transport: asyncio.Transport, early: bytes) -> None:
        """Take the transport. early: what the client has sent already."""
        ...

    async def ended(self) -> None:
        """Return when it is over."""
        ...


class _Served:
    """A connection on which the client asks."""

    def __init__(self, services: Sequence[Servicer]) -> None:
        self.protocol = self._served = service_protocol(services)

    def open(self, transport: asyncio.Transport, early: bytes) -> None:
        """See BuildKitConnection."""
        self._served.serve(transport, early)

    async def ended(self) -> None:
        """See BuildKitConnection."""
        await self._served.ended()


class _Answering:
    """A connection on which the client answers."""

    def __init__(self, pool: SessionPool, session: ClientSession) -> None:
        self._pool = pool
        self._session = session
        self.protocol = session.channel.protocol

    def open(self, transport: asyncio.Transport, early: bytes) -> None:
        """See BuildKitConnection."""
        self._session.user = peer_user(transport)
        self._session.channel.open(transport, early)
        self._pool.add(self._session)

    async def ended(self) -> None:
        """See BuildKitConnection."""
        try:
            await self.protocol.lost.wait()
        finally:
            self._pool.remove(self._session)


class BuildKitServer:
    """What clients of BuildKit talk to; one for the engine."""

    def __init__(self, builds: BuildService, dependencies: Dependencies) -> None:
        self.sessions = SessionPool()
        worker = partial(worker_record, dependencies.config, lambda: host_gateway(dependencies))
        self._builds = BuildPool()
        self._worker = worker
        requests = SolveRequests(builds, self.sessions, self._builds, self._for_frontend)
        self._services: list[Servicer] = [
            ControlService(builds, self.sessions, self._builds, requests, worker),
            BridgeService(self._builds, worker),
            ContentService(builds),
            HealthService(),
        ]

    def _for_frontend(
        self, build: ClientBuild, inputs: Mapping[str, Definition], returned: asyncio.Future[BuildResult]
    ) -> tuple[Sequence[Servicer], dict[str, Any]]:
        """See FrontendServices."""
        services: list[Servicer] = [
            FrontendBridge(self._builds, self._worker, build, inputs, returned),
            HealthService(),
        ]
        return services, worker_document(self._worker())

    def serve(self) -> BuildKitConnection:
        """A connection on which the client asks."""
        return _Served(self._services)

    def session(
        self, identifier: str, *, name: str, shared_key: str, methods: Sequence[str]
    ) -> Callable[[], BuildKitConnection]:
        """What makes a connection on which the client answers."""
        return lambda: _Answering(self.sessions, ClientSession(identifier, name, shared_key, methods))

    async def close(self) -> None:
        """Forget what has ended."""
        self._builds.close()
