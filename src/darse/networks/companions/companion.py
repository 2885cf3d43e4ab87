"""Keeps a companion running: finds, starts, replaces, restarts and ends its process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import ClassVar

from darse.core import executors
from darse.core.errors import EngineError, SystemFault
from darse.core.tasks import begin_lasting
from darse.linux.proc.process import Process
from darse.networks.companions.connection import CompanionConnection, CompanionLost, View
from darse.networks.companions.process import CompanionProcess

#: How long who needs a companion waits for one that is being started.
START_SECONDS = 5.0
_SYNCHRONIZE_SECONDS = 20.0
_RETRY_SECONDS = 0.25
_END_SECONDS = 3.0
_log = logging.getLogger(__name__)


class Companion:
    """The engine's side of a companion. A subclass knows what is desired of it."""

    #: Whether the process ends when nothing is desired of it for some time, rather than with the engine.
    ends_when_idle: ClassVar = False

    def __init__(self, process: CompanionProcess, name: str) -> None:
        """`name` is what it is called in errors and in the log."""
        self._process = process
        self._name = name
        #: While there is one; what is desired is sent by it, also while it is being synchronized.
        self._connection: CompanionConnection | None = None
        self._synchronized = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._ending = False
        #: Whether the process was just started: it has nothing of what is desired, and nothing else.
        self._fresh = False
        self._children: set[asyncio.Task[None]] = set()

    def _is_needed(self) -> bool:
        """Whether anything is desired."""
        raise NotImplementedError

    async def _synchronize(self, connection: CompanionConnection) -> None:
        """Have a process know what is desired, and nothing else. Raises SystemFault and OSError."""
        raise NotImplementedError

    def _find(self) -> None:
        """Find what runs of an engine before this one; nothing is done for nothing."""
        if self._is_needed() or self._process.exists():
            self._keep()

    def _keep(self) -> None:
        if self._keeper is None:
            self._keeper = begin_lasting(self._run(), name=self._name)

    async def _run(self) -> None:
        while not self._ending:
            try:
                async with asyncio.timeout(_SYNCHRONIZE_SECONDS):
                    connection = await self._connect()
                if connection is not None:
                    await self._serve(connection)
            except (EngineError, OSError, TimeoutError) as error:
                _log.warning("the %s does not run yet: %s", self._name, error or type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                if self.ends_when_idle and not self._is_needed() and not self._ending:
                    self._process.remove()
                    self._keeper = None
                    return
                if not self._ending:
                    _log.info("the connection to the %s has ended: looking for it", self._name)

    async def _serve(self, connection: CompanionConnection) -> None:
        """Have a process know what is desired until the connection to it ends."""
        self._connection = connection
        try:
            async with asyncio.timeout(_SYNCHRONIZE_SECONDS):
                await self._synchronize(connection)
            self._synchronized.set()
            await connection.lost.wait()
        finally:
            self._synchronized.clear()
            self._connection = None
            connection.close()

    async def _connect(self) -> CompanionConnection | None:
        """Connect to a process of our version, whatever has to be done for that; None when none runs or is needed."""
        try:
            connection = CompanionConnection(self._process.connect(), self._name)
        except (FileNotFoundError, ConnectionRefusedError):
            if self.ends_when_idle and not self._is_needed():
                # One that has handed over may still serve connections; of one that was killed nothing is left.
                return None
            self._follow(await executors.kernel.run(self._process.start))
            _log.info("the %s was started", self._name)
            # It is of this version; what it is sent from now on waits in its socket while the program is loaded.
            self._fresh = True
            return CompanionConnection(self._process.connect(), self._name)
        self._fresh = False
        try:
            hello = await connection.call({"do": "hello"})
            if hello["version"] != self._process.version:
                connection = await self._replace(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _replace(self, old: CompanionConnection) -> CompanionConnection:
        """Have a new process take over, socket by socket; it answers the connection that is made meanwhile."""
        with self._process.connect() as control:
            self._follow(self._process.succeed(control))
        await old.lost.wait()
        connection = CompanionConnection(self._process.connect(), self._name)
        await connection.call({"do": "hello"})
        _log.info("the %s was replaced by one of this version", self._name)
        return connection

    def _follow(self, pid: int) -> None:
        """Reap the process when it ends: it is our child."""

        async def wait() -> None:
            process = Process(pid)
            try:
                await process.wait()
                process.reap()
            finally:
                process.close()

        task = asyncio.create_task(wait(), name=f"{self._name}'s end")
        self._children.add(task)
        task.add_done_callback(self._children.discard)

    async def _ask(self, document: View) -> View:
        """Ask for something that changes nothing: the next process is asked when one ends meanwhile."""
        if self._keeper is None:
            raise SystemFault(f"the {self._name} does not run: no container needs it")
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    await self._synchronized.wait()
                    connection = self._connection
                    assert connection is not None
                    try:
                        return await connection.call(document)
                    except CompanionLost:
                        if self._connection is connection:
                            self._synchronized.clear()  # as the task that keeps it is about to do
        except TimeoutError:
            raise SystemFault(f"the {self._name} does not run: see the engine's log") from None

    async def statistics(self) -> View:
        """What the process has done. Raises SystemFault."""
        return await self._ask({"do": "statistics"})

    async def close(self) -> None:
        """Let go; when nothing is desired the process ends, by force where it does not, else it goes on."""
        keeper = self._keeper
        if keeper is not None:
            is_needed = self._is_needed()
            ended = is_needed or await self._end_process()
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
            if not ended:
                await executors.kernel.run(self._process.kill)
            if not is_needed:
                self._process.remove()
                if self._children:
                    await asyncio.wait(self._children, timeout=_END_SECONDS)
        for child in list(self._children):
            child.cancel()

    async def _end_process(self) -> bool:
        """Ask the process to end, and wait for that; whether it has."""
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._synchronized.wait()  # it may just be starting
                connection = self._connection
                assert connection is not None
                self._ending = True
                with contextlib.suppress(CompanionLost):  # it may end before it answers
                    await connection.call({"do": "end"})
                await connection.lost.wait()
        except (EngineError, TimeoutError) as error:
            _log.warning("the %s does not end, and is killed: %s", self._name, error or type(error).__name__)
            return False
        return True
