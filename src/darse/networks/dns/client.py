"""The engine's connection to the name server: keeps one running, and has it know what is to be known.

The engine says what is desired, sandbox by sandbox; this class sees to it. What is sent is acknowledged when every
lookup sees it, and `settled` waits for that. When the connection breaks, the process is looked for, started or
replaced, and everything is compared: what it lacks is sent again, with new sockets where it has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from darse.core.errors import EngineError, SystemFault
from darse.networks.companions.companion import START_SECONDS, Companion
from darse.networks.companions.connection import CompanionConnection, CompanionLost, View, close_all
from darse.networks.dns.process import NameServerProcess
from darse.resolver import protocol

#: Descriptors for a `set`, see darse.resolver.listeners; None: the container does not run.
MakeDescriptors = Callable[[str], Awaitable[list[int] | None]]
_log = logging.getLogger(__name__)


class NameServer(Companion):
    """The name server of this engine."""

    def __init__(self, process: NameServerProcess, make_descriptors: MakeDescriptors) -> None:
        """`make_descriptors` makes new ones for a container that runs, when the name server has lost its own."""
        super().__init__(process, "name server")
        self._make_descriptors = make_descriptors
        self._views: dict[str, View] = {}
        #: Of sandboxes that are being registered.
        self._pending: dict[str, Sequence[int]] = {}
        self._changes: set[asyncio.Future[View]] = set()

    def start(self, views: Iterable[View]) -> None:
        """Find what runs of an engine before this one, and have it know `views`; nothing is done for nothing."""
        self._views = {view["id"]: view for view in views}
        self._find()

    def _is_needed(self) -> bool:
        return bool(self._views)

    async def register(self, view: View, descriptors: Sequence[int]) -> None:
        """Have the name server serve a sandbox, with descriptors that the caller closes then.

        Raises SystemFault when it cannot be started; it is registered then when it can.
        """
        self._views[view["id"]] = view
        self._keep()
        self._pending[view["id"]] = descriptors
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    await self._synchronized.wait()
                    assert self._connection is not None
                    with contextlib.suppress(CompanionLost):
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
        if error is None or isinstance(error, CompanionLost):
            return
        # A container that has ended has no sockets any more; the engine hears of its end a moment later.
        if protocol.NO_SOCKETS not in str(error):
            _log.error("the name server has not taken a change: %s", error)

    async def settled(self) -> None:
        """Return when lookups see all that was changed, or after some seconds without a name server."""
        if self._keeper is None:
            return
        try:
            async with asyncio.timeout(START_SECONDS):
                while not self._synchronized.is_set() or self._changes:
                    if self._changes:
                        await asyncio.wait(list(self._changes))
                    else:
                        await self._synchronized.wait()
        except TimeoutError:
            _log.warning("names of containers are changed later: the name server does not run")

    async def explain(self, id_: str, name: str, type_: int) -> View:
        """How a name is looked up from a sandbox, see darse.resolver.worker. Raises SystemFault."""
        return await self._ask({"do": "explain", "id": id_, "name": name, "type": type_})

    async def _synchronize(self, connection: CompanionConnection) -> None:
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

    async def _register_again(self, connection: CompanionConnection, id_: str) -> None:
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
            close_all(descriptors or ())
