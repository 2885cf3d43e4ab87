"""The engine's connection to the name server: keeps one running, and has it know what is to be known.

The engine says what is desired, sandbox by sandbox; this class sees to it. What is sent is acknowledged when every
lookup sees it, and `settled` waits for that. When the connection breaks, the process is looked for, started or
replaced, and everything is compared: what it lacks is sent again, with new sockets where it has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from darse.core import executors
from darse.core.errors import EngineError, SystemFault
from darse.core.exhaustion import reason
from darse.linux.descriptors import DescriptorClosed, FileDescriptor
from darse.linux.proc.process import Process
from darse.networks.dns.process import NameServerProcess
from darse.resolver import protocol

View = dict[str, Any]
#: Descriptors for a `set`, see darse.resolver.listeners; None: the container does not run.
MakeDescriptors = Callable[[str], Awaitable[list[int] | None]]
# How long who registers a sandbox waits for a name server that is being started.
_START_SECONDS = 5.0
_SYNCHRONIZE_SECONDS = 20.0
_RETRY_SECONDS = 0.25
_END_SECONDS = 3.0
_log = logging.getLogger(__name__)


class NameServerLost(SystemFault):
    """The connection to the name server has ended."""


class NameServer:
    """The name server of this engine."""

    def __init__(self, process: NameServerProcess, make_descriptors: MakeDescriptors) -> None:
        """`make_descriptors` makes new ones for a container that runs, when the name server has lost its own."""
        self._process = process
        self._make_descriptors = make_descriptors
        self._views: dict[str, View] = {}
        #: Of sandboxes that are being registered.
        self._pending: dict[str, Sequence[int]] = {}
        self._connection: _Connection | None = None
        self._synchronized = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._ending = False
        self._changes: set[asyncio.Future[View]] = set()
        self._children: set[asyncio.Task[None]] = set()

    def start(self, views: Iterable[View]) -> None:
        """Find what runs of an engine before this one, and have it know `views`; nothing is done for nothing."""
        self._views = {view["id"]: view for view in views}
        if self._views or self._process.exists():
            self._keep()

    def _keep(self) -> None:
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._run(), name="name server")

    async def register(self, view: View, descriptors: Sequence[int]) -> None:
        """Have the name server serve a sandbox, with descriptors that the caller closes then.

        Raises SystemFault when it cannot be started; it is registered then when it can.
        """
        self._keep()
        self._views[view["id"]] = view
        self._pending[view["id"]] = descriptors
        try:
            async with asyncio.timeout(_START_SECONDS):
                while True:
                    await self._synchronized.wait()
                    assert self._connection is not None
                    with contextlib.suppress(NameServerLost):
                        await self._connection.call({"do": "set", "view": view}, descriptors)
                        return
                    # The keeper hears of the loss in this same round of the loop.
                    await asyncio.sleep(0)
        except TimeoutError:
            raise SystemFault("the name server does not start: see the engine's log") from None
        finally:
            del self._pending[view["id"]]

    def update(self, view: View) -> None:
        """Replace the view of a sandbox that is registered; `settled` waits until lookups see it."""
        self._views[view["id"]] = view
        self._send({"do": "set", "view": view})

    def drop(self, id_: str) -> None:
        """Forget a sandbox; fine when it is not registered. `settled` as in `update`."""
        if self._views.pop(id_, None) is not None:
            self._send({"do": "drop", "id": id_})

    def registered(self, id_: str) -> bool:
        """Whether a sandbox is to be served."""
        return id_ in self._views

    def _send(self, document: View) -> None:
        # While there is no connection nothing is lost: everything is compared when there is one.
        if self._connection is not None:
            change = asyncio.ensure_future(self._connection.call(document))
            self._changes.add(change)
            change.add_done_callback(self._changed)

    def _changed(self, change: asyncio.Future[View]) -> None:
        self._changes.discard(change)
        error = None if change.cancelled() else change.exception()
        if error is None or isinstance(error, NameServerLost):
            return
        # A container that has ended has no sockets any more; the engine hears of its end a moment later.
        if protocol.NO_SOCKETS not in str(error):
            _log.error("the name server has not taken a change: %s", error)

    async def settled(self) -> None:
        """Return when lookups see all that was changed, or after some seconds without a name server."""
        if self._keeper is None:
            return
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not self._synchronized.is_set() or self._changes:
                    if self._changes:
                        await asyncio.wait(list(self._changes))
                    else:
                        await self._synchronized.wait()
        except TimeoutError:
            _log.warning("names of containers are changed later: the name server does not run")

    async def explain(self, id_: str, name: str, type_: int) -> View:
        """How a name is looked up from a sandbox, see darse.resolver.worker. Raises SystemFault."""
        return await self._call({"do": "explain", "id": id_, "name": name, "type": type_})

    async def statistics(self) -> View:
        """What the name server has done. Raises SystemFault."""
        return await self._call({"do": "statistics"})

    async def _call(self, document: View) -> View:
        """Ask for something that changes nothing: the next name server is asked when one ends meanwhile."""
        if self._keeper is None:
            raise SystemFault("the name server does not run: no container is on a user-defined network")
        try:
            async with asyncio.timeout(_START_SECONDS):
                while True:
                    await self._synchronized.wait()
                    connection = self._connection
                    assert connection is not None
                    try:
                        return await connection.call(document)
                    except NameServerLost:
                        if self._connection is connection:
                            self._synchronized.clear()  # as the task that keeps it is about to do
        except TimeoutError:
            raise SystemFault("the name server does not run: see the engine's log") from None

    # Keeping it running

    async def _run(self) -> None:
        while not self._ending:
            try:
                async with asyncio.timeout(_SYNCHRONIZE_SECONDS):
                    connection = await self._connect()
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
            except (EngineError, OSError, TimeoutError) as error:
                _log.warning("the name server does not run yet: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                if not self._ending:
                    _log.info("the connection to the name server has ended: looking for it")

    async def _connect(self) -> _Connection:
        """Connect to a process of our version, whatever has to be done for that."""
        try:
            connection = _Connection(self._process.connect())
        except (FileNotFoundError, ConnectionRefusedError):
            self._follow(await executors.kernel.run(self._process.start))
            connection = _Connection(self._process.connect())
            _log.info("the name server was started")
        try:
            hello = await connection.call({"do": "hello"})
            if hello["version"] != self._process.version:
                connection = await self._replace(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _replace(self, old: _Connection) -> _Connection:
        """Have a new process take over, socket by socket; it answers the connection that is made meanwhile."""
        with self._process.connect() as control:
            self._follow(self._process.succeed(control))
        await old.lost.wait()
        connection = _Connection(self._process.connect())
        await connection.call({"do": "hello"})
        _log.info("the name server was replaced by one of this version")
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

        task = asyncio.create_task(wait(), name="name server's end")
        self._children.add(task)
        task.add_done_callback(self._children.discard)

    async def _synchronize(self, connection: _Connection) -> None:
        """Have it know what is desired, and nothing else."""
        held: set[str] = set()
        last, more = "", True
        while more:
            page = await connection.call({"do": "list", "after": last})
            held.update(page["ids"])
            last, more = max(page["ids"], default=""), page["more"]
        calls = [connection.call({"do": "drop", "id": id_}) for id_ in held - self._views.keys()]
        for id_ in list(self._views):
            # It may have been changed or dropped meanwhile, which was sent then.
            view = self._views.get(id_)
            if view is not None and id_ in held:
                calls.append(connection.call({"do": "set", "view": view}))
            elif view is not None and id_ not in self._pending:
                await self._register_again(connection, id_)
        for call in calls:
            await call

    async def _register_again(self, connection: _Connection, id_: str) -> None:
        try:
            descriptors = await self._make_descriptors(id_)
        except (EngineError, OSError) as error:
            _log.error("container %s has no name server: %s", id_[:12], error)
            return
        try:
            view = self._views.get(id_)
            if descriptors is not None and view is not None:
                await connection.call({"do": "set", "view": view}, descriptors)
        finally:
            _close(descriptors or ())

    async def close(self) -> None:
        """Let go; without anything registered the process ends, by force where it does not, else it goes on."""
        if self._keeper is None:
            return
        is_needed = bool(self._views)
        ended = is_needed or await self._end_process()
        self._keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeper
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
                with contextlib.suppress(NameServerLost):  # it may end before it answers
                    await connection.call({"do": "end"})
                await connection.lost.wait()
        except (EngineError, TimeoutError) as error:
            _log.warning("the name server does not end, and is killed: %s", error or type(error).__name__)
            return False
        return True


class _Connection:
    """A connection to the process: calls, and their answers."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._descriptor = FileDescriptor(sock.fileno(), sock.close)
        self._serials = itertools.count(1)
        self._answers: dict[int, asyncio.Future[View]] = {}
        #: With descriptors of our own: those who call may give up, and close theirs, before a packet leaves.
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._sender: asyncio.Task[None] | None = None
        #: Set when the other side is gone.
        self.lost = asyncio.Event()
        self._descriptor.listen(self._readable)

    def call(self, document: Mapping[str, Any], descriptors: Sequence[int] = ()) -> asyncio.Future[View]:
        """Send a message, in the order of calls, and return its answer to come; `descriptors` stay the caller's.

        That raises NameServerLost, and SystemFault for an error.
        """
        serial = next(self._serials)
        answer: asyncio.Future[View] = asyncio.get_running_loop().create_future()
        # Of several answers that are waited for in turn, one may never be looked at.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self.lost.is_set():
            answer.set_exception(NameServerLost("the name server has ended"))
            return answer
        self._answers[serial] = answer
        packet = protocol.pack(serial, dict(document))
        if self._sender is not None or not self._sent(packet, descriptors):
            try:
                self._unsent.append((packet, _copies(descriptors)))
            except OSError as error:
                del self._answers[serial]
                answer.set_exception(SystemFault(f"the name server is busy, and this cannot wait: {reason(error)}"))
            else:
                if self._sender is None:
                    self._sender = asyncio.create_task(self._send_later(), name="name server's changes")
        return answer

    def _sent(self, packet: bytes, descriptors: Sequence[int]) -> bool:
        """Send a packet; False when the other side does not take it yet. A connection that is lost takes all."""
        try:
            protocol.send(self._socket, packet, descriptors)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lose(error.strerror or str(error))
        return True

    def _flush(self) -> None:
        while self._unsent and self._sent(*self._unsent[0]):
            if self._unsent:
                _close(self._unsent.popleft()[1])

    async def _send_later(self) -> None:
        with contextlib.suppress(DescriptorClosed):
            while self._unsent:
                await self._descriptor.writable()
                self._flush()
        self._sender = None

    def _readable(self) -> None:
        try:
            packet, descriptors = protocol.receive(self._socket)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        _close(descriptors)
        if not packet:
            self._lose("it has ended")
            return
        serial, document = protocol.unpack(packet)
        answer = self._answers.pop(serial, None)
        if answer is None or answer.done():
            return
        if "error" in document:
            answer.set_exception(SystemFault(f"the name server: {document['error']}"))
        else:
            answer.set_result(document)

    def _lose(self, why: str) -> None:
        self._descriptor.stop_listening()
        self.lost.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(NameServerLost(f"the connection to the name server has ended: {why}"))
        self._answers.clear()
        while self._unsent:
            _close(self._unsent.popleft()[1])

    def close(self) -> None:
        """Close it; who waits for answers gets NameServerLost."""
        if not self._descriptor.closed:
            self._lose("it is closed")
            self._descriptor.close()


def _copies(descriptors: Sequence[int]) -> list[int]:
    """Descriptors of one's own for the same files. Raises OSError, and leaves none then."""
    copies: list[int] = []
    try:
        for descriptor in descriptors:
            copies.append(os.dup(descriptor))
    except OSError:
        _close(copies)
        raise
    return copies


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
