"""SSH agents of a build's client, which stay there: each connection to one is a connection that the client opens.

    a process connects to its socket → the client is asked for a connection, by an event with a token
    → it opens one to the engine (`POST /build/agents?connection=TOKEN`) and one to its agent, and carries bytes

Keys never come here, and what agents say goes from the process to the client and back: into no file, no log, no cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial

from darse.build.errors import BuildError
from darse.build.progress import AgentRequested, BuildEvent, BuildReport
from darse.containers.streams.output import STDOUT, Batch
from darse.core.errors import NotFound

# Seconds in which a client opens a connection that it was asked for.
_TIMEOUT_SECONDS = 20.0
_PIECE = 64 * 1024

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class AgentCalls:
    """The connections that clients of all builds were asked for: to their agents, and for their contexts."""

    def __init__(self) -> None:
        self._expected: dict[str, asyncio.Future[_Streams]] = {}

    async def ask(self, agent: str, report: BuildReport) -> _Streams:
        """Ask a client for a connection to an agent, and wait for it. Raises BuildError."""
        return await self.ask_for(partial(AgentRequested, agent), f"to its SSH agent {agent!r}", report)

    async def ask_for(self, event: Callable[[str], BuildEvent], what: str, report: BuildReport) -> _Streams:
        """As `ask`; `event` makes a token's event. Raises BuildError, which has `what` in it."""
        token = secrets.token_hex(16)
        future = self._expected[token] = asyncio.get_running_loop().create_future()
        try:
            report(event(token))
            return await asyncio.wait_for(future, _TIMEOUT_SECONDS)
        except TimeoutError:
            raise BuildError(f"the client opened no connection {what}") from None
        finally:
            del self._expected[token]

    async def answer(self, token: str) -> AgentStream:
        """The engine's end of a connection that a client has opened because it was asked to. Raises NotFound."""
        future = self._expected.get(token)
        if future is None or future.done():
            raise NotFound("no build waits for this connection")
        one, other = socket.socketpair()
        ours = await asyncio.open_connection(sock=one)
        theirs = await asyncio.open_connection(sock=other)
        if future.done():
            ours[1].close()
            theirs[1].close()
            raise NotFound("no build waits for this connection")
        future.set_result(ours)
        return AgentStream(*theirs)


class ClientAgents:
    """The agents that the client of one build forwards (`darse.build.executor.session.AgentConnections`)."""

    def __init__(self, agents: Collection[str], calls: AgentCalls, report: BuildReport) -> None:
        self._agents = frozenset(agents)
        self._calls = calls
        self._report = report

    def has(self, agent: str) -> bool:
        """See AgentConnections."""
        return agent in self._agents

    async def connect(self, agent: str) -> _Streams:
        """See AgentConnections."""
        if agent not in self._agents:
            raise BuildError(f"unset ssh forward key {agent}")
        return await self._calls.ask(agent, self._report)


class AgentStream:
    """What goes to the client and comes from it; as a hijacked connection carries it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def output(self) -> AsyncIterator[Batch]:
        """Yield what the process asks its agent."""
        while piece := await self._reader.read(_PIECE):
            yield [(STDOUT, piece)]

    async def write(self, data: bytes) -> None:
        """Take what the agent answers."""
        with contextlib.suppress(ConnectionError):  # the process has gone, and the end of `output` says so
            self._writer.write(data)
            await self._writer.drain()

    async def close_stdin(self) -> None:
        """The agent says nothing more."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def close(self) -> None:
        """The client is gone."""
        self._writer.close()

    def when_let_go(self, leave: Callable[[], None]) -> None:
        """A client that does not read keeps nobody but its own build waiting."""
        del leave
