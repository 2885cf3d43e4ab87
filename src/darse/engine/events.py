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
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from darse.engine.errors import EngineError
from darse.engine.state import Schema, State

LOG_LENGTH = 4096
_TRIM_EVERY = 256
_SUBSCRIBER_BACKLOG = 16384
_GATHER_SECONDS = 0.1
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


class EventLog:
    """Publishes events and serves them to subscribers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._subscribers: set[asyncio.Queue[Event | None]] = set()
        self._decode = msgspec.json.Decoder(Event).decode
        self._published = 0
        self._gathered: list[tuple[int, bytes]] = []
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
        actor = Actor(id_, {key: str(value) for key, value in (attributes or {}).items()})
        deprecated: dict[str, str] = {}
        if type_ == "container":
            deprecated = {"status": action, "id": id_, "from_": actor.Attributes.get("image", "")}
        elif type_ == "image":
            deprecated = {"status": action, "id": id_}
        event = Event(type_, action, actor, scope, now // 1_000_000_000, now, **deprecated)
        row = (now, msgspec.json.encode(event))
        if self._state.in_transaction:
            self._write([row])
        else:
            self._gathered.append(row)
            if self._writing is None:
                self._writing = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self.flush)
        self._state.on_commit(functools.partial(self._tell, event))
        return event

    def _tell(self, event: Event) -> None:
        for queue in self._subscribers:
            if queue.qsize() < _SUBSCRIBER_BACKLOG:
                queue.put_nowait(event)

    def between(self, since_ns: int, until_ns: int) -> list[Event]:
        """Return the logged events of a time span, oldest first."""
        self.flush()
        rows = self._state.rows(
            "SELECT number, document FROM events WHERE time_ns >= ? AND time_ns <= ? ORDER BY time_ns, number",
            (since_ns, until_ns),
        )
        logged = [event for _, event in self._state.decoded("events", rows, self._decode)]
        # What the disk does not take yet came after all that it has.
        unwritten = [document for time_ns, document in self._gathered if since_ns <= time_ns <= until_ns]
        return [*logged, *map(self._decode, unwritten)]

    async def follow(self, since_ns: int | None) -> AsyncIterator[Event]:
        """Yield logged events from `since_ns` on, then every new one; ends when the log is closed."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._subscribers.add(queue)
        try:
            newest = 0
            if since_ns is not None:
                for event in self.between(since_ns, time.time_ns()):
                    newest = event.timeNano
                    yield event
            while (event_or_end := await queue.get()) is not None:
                if event_or_end.timeNano > newest:
                    yield event_or_end
        finally:
            self._subscribers.discard(queue)

    @property
    def listeners(self) -> int:
        """How many subscriptions there are."""
        return len(self._subscribers)

    def close(self) -> None:
        """End every subscription."""
        for queue in self._subscribers:
            queue.put_nowait(None)

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

    def _write(self, rows: list[tuple[int, bytes]]) -> None:
        # An enclosing transaction makes an event as durable as the change that it reports.
        with self._state.transaction(durable=False) as connection:
            connection.executemany("INSERT INTO events (time_ns, document) VALUES (?, ?)", rows)
            before, self._published = self._published, self._published + len(rows)
            if before // _TRIM_EVERY != self._published // _TRIM_EVERY:
                connection.execute(
                    "DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?", (LOG_LENGTH,)
                )
