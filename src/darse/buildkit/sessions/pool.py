"""The sessions of all clients, by the ids that these have chosen.

A client opens its session and its build at the same time: whoever needs a session waits for it a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from darse.build.errors import BuildError
from darse.buildkit.transport import TransportChannel
from darse.core.errors import Conflict

# Seconds in which a session that a build names must be there.
_TIMEOUT_SECONDS = 5.0


class ClientSession:
    """One client's."""

    def __init__(self, identifier: str, name: str, shared_key: str, methods: Sequence[str]) -> None:
        """methods: paths of what the client answers. shared_key: which of a client's directories it is."""
        self.id = identifier
        self.name = name
        self.shared_key = shared_key
        self.methods = frozenset(method.lower() for method in methods)
        self.user: int | None = None
        """Whose process has opened it; None where that is not known."""
        self.channel = TransportChannel()

    def has(self, method: str) -> bool:
        """Whether the client answers a method, `/SERVICE/METHOD`."""
        return method.lower() in self.methods

    def require(self, method: str, what: str) -> None:
        """Raise BuildError, which names `what` is asked for, where the client does not answer a method."""
        if not self.has(method):
            raise BuildError(f"the client offers no {method.lstrip('/')} in its session: it is needed for {what}")


class SessionPool:
    """Those that are open."""

    def __init__(self) -> None:
        self._sessions: dict[str, ClientSession] = {}
        self._changed = asyncio.Event()

    def add(self, session: ClientSession) -> None:
        """Take a session. Raises Conflict where its id is another's."""
        if session.id in self._sessions:
            raise Conflict(f"session {session.id} exists")
        self._sessions[session.id] = session
        self._changed.set()
        self._changed = asyncio.Event()

    def remove(self, session: ClientSession) -> None:
        """Its connection is over."""
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]
        session.channel.close()

    def find(self, identifier: str) -> ClientSession | None:
        """A session that is open."""
        return self._sessions.get(identifier)

    async def get(self, identifier: str) -> ClientSession:
        """A session; waits for it. Raises GRPCError where there is none."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                while (found := self._sessions.get(identifier)) is None:
                    await self._changed.wait()
        except TimeoutError:
            raise GRPCError(
                Status.UNAVAILABLE, f"no active session for {identifier}: context deadline exceeded"
            ) from None
        return found
