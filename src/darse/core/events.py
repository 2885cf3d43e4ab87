"""The event stream of the API: published once, kept in a bounded log, replayed by `since`.

Events are written in the transaction of the change that they report, so that a change and its event are both
there or both missing, also after a crash; subscribers hear of it once the transaction is through. Events that report
no change of what is stored, those of execs say, are written together, a tenth of a second later at most. The log keeps
the newest `LOG_LENGTH` events.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from darse.core.documents import DocumentCodec
from darse.core.errors import EngineError
from darse.core.state import Schema, State

LOG_LENGTH = 4096
_TRIM_EVERY = 256
# What a subscriber may be behind, in bytes of events. Documents are shared, so that many subscribers cost no more.
BACKLOG_BYTES = 4 << 20
_GATHER_SECONDS = 0.1
# A full log is filtered in some 50 ms: nobody else waits for more than a slice of it.
_SLICE = 256
# The highest that SQLite compares with. The present is no bound: the clock may have been set back.
_END_OF_TIME = (1 << 63) - 1
_log = logging.getLogger("darse.engine")

SCHEMA = Schema(
    "events",
    (
        """
        CREATE TABLE events (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            time_ns INTEGER NOT NULL,
            document BLOB NOT NULL
        );
        CREATE INDEX events_time ON events (time_ns)
        """,
    ),
)


class Actor(msgspec.Struct, frozen=True):
    """The object an event is about."""

    ID: str
    Attributes: dict[str, str]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event as the API's `EventMessage` has it, with the deprecated fields that old clients read."""

    Type: str
    Action: str
    Actor: Actor
    scope: str
    time: int
    timeNano: int
    status: str = ""
    id: str = ""
    from_: str = msgspec.field(name="from", default="")


EVENT_DOCUMENTS = DocumentCodec(Event)


class _Subscription:
    """What one subscriber has not taken yet."""

    def __init__(self) -> None:
        self.ended = False
        self._waiting: deque[tuple[Event, int]] = deque()
        self._size = 0
        self._available = asyncio.Event()

    def offer(self, event: Event, size: int) -> bool:
        """Give it an event of `size` bytes; False when it is too far behind, which ends it."""
        self._waiting.append((event, size))
        self._size += size
        if self._size > BACKLOG_BYTES:
            self._waiting.clear()
            self.end()
            return False
        self._available.set()
        return True

    def end(self) -> None:
        """No more comes; what waits is still delivered."""
        self.ended = True
        self._available.set()

    async def take(self) -> Event | None:
        """The next event; None at the end."""
        while not self._waiting:
            if self.ended:
                return None
            self._available.clear()
            await self._available.wait()
        event, size = self._waiting.popleft()
        self._size -= size
        return event


class EventLog:
    """Publishes events and serves them to subscribers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._subscribers: set[_Subscription] = set()
        self._published = 0
        #: How many events there were since the start, whoever listened.
        self.count = 0
        # Numbers are given at publication: what is gathered is written after what a transaction brought meanwhile.
        self._number = 0
        self._gathered: list[tuple[int, int, bytes]] = []
        self._writing: asyncio.TimerHandle | None = None

    def publish(
        self,
        type_: str,
        action: str,
        id_: str,
        attributes: Mapping[str, Any] | None = None,
        *,
        scope: str = "local",
    ) -> Event:
        """Record an event, and hand it to whoever listens.

        Call it inside the transaction of the change it reports. `attributes` values become strings.
        """
        now = time.time_ns()
        self.count += 1
        actor = Actor(id_, {key: str(value) for key, value in (attributes or {}).items()})
        deprecated: dict[str, str] = {}
        if type_ == "container":
            deprecated = {"status": action, "id": id_, "from_": actor.Attributes.get("image", "")}
        elif type_ == "image":
            deprecated = {"status": action, "id": id_}
        event = Event(type_, action, actor, scope, now // 1_000_000_000, now, **deprecated)
        row = (self._next_number(), now, EVENT_DOCUMENTS.encode(event))
        if self._state.in_transaction:
            self._write([row])
        else:
            self._gathered.append(row)
            if self._writing is None:
                self._writing = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self.flush)
        self._state.on_commit(functools.partial(self._deliver, event, len(row[2])))
        return event

    def _next_number(self) -> int:
        if self._number == 0:
            ((newest,),) = self._state.rows("SELECT max(number) FROM events")
            self._number = newest or 0
        self._number += 1
        return self._number

    def _deliver(self, event: Event, size: int) -> None:
        behind = [one for one in self._subscribers if not one.offer(event, size)]
        if behind:
            self._subscribers.difference_update(behind)
            _log.warning(
                "%d subscribers of events do not read: they are %d bytes behind, and end", len(behind), BACKLOG_BYTES
            )

    def between(self, since_ns: int, until_ns: int) -> list[Event]:
        """Return the logged events of a time span, in the order in which they happened, whatever the clock said."""
        self.flush()
        rows = self._state.rows(
            "SELECT number, document FROM events WHERE time_ns >= ? AND time_ns <= ? ORDER BY number",
            (since_ns, until_ns),
        )
        logged = [event for _, event in self._state.decoded("events", rows, EVENT_DOCUMENTS.decode)]
        # What the disk does not take yet came after all that it has.
        unwritten = [document for _, time_ns, document in self._gathered if since_ns <= time_ns <= until_ns]
        return [*logged, *map(EVENT_DOCUMENTS.decode, unwritten)]

    def logged(self, since_ns: int, until_ns: int) -> AsyncIterator[Event]:
        """Yield what `between` returns, and let others have the event loop between slices of it."""
        return _in_turns(self.between(since_ns, until_ns))

    async def follow(self, since_ns: int | None) -> AsyncIterator[Event]:
        """Yield logged events from `since_ns` on, then every new one; ends when the log is closed."""
        subscription = _Subscription()
        # In one turn of the event loop, so that each event is either logged already or offered.
        logged = self.between(since_ns, _END_OF_TIME) if since_ns is not None else []
        self._subscribers.add(subscription)
        try:
            async for event in _in_turns(logged):
                yield event
            while (batch := await subscription.take()) is not None:
                yield batch
        finally:
            self._subscribers.discard(subscription)

    @property
    def listeners(self) -> int:
        """How many subscriptions there are."""
        return len(self._subscribers)

    def close(self) -> None:
        """End every subscription."""
        for subscription in self._subscribers:
            subscription.end()

    def flush(self) -> None:
        """Write what was gathered; what the disk refuses is kept, and tried again with the next."""
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        if not self._gathered:
            return
        try:
            self._write(self._gathered)
        except EngineError as error:
            _log.warning("%d events are not on record yet: %s", len(self._gathered), error)
            del self._gathered[:-LOG_LENGTH]
        else:
            self._gathered = []

    def _write(self, rows: list[tuple[int, int, bytes]]) -> None:
        # An enclosing transaction makes an event as durable as the change that it reports.
        with self._state.transaction(durable=False) as connection:
            connection.executemany("INSERT INTO events (number, time_ns, document) VALUES (?, ?, ?)", rows)
            before, self._published = self._published, self._published + len(rows)
            if before // _TRIM_EVERY != self._published // _TRIM_EVERY:
                connection.execute(
                    "DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?", (LOG_LENGTH,)
                )


async def _in_turns(events: list[Event]) -> AsyncIterator[Event]:
    for number, event in enumerate(events, 1):
        yield event
        if number % _SLICE == 0:
            await asyncio.sleep(0)
